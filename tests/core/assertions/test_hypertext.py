"""HTML: whole and in parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions.hypertext import ELEMENTS, RAW, VOID
from tests.core.assertions.judged import FAIL, PASS, of, outcome


@pytest.mark.parametrize(
    ("text", "whole", "part"),
    [
        ("<!DOCTYPE html><html><head><title>a<b</title></head><body><p>x<p>y</body></html>", PASS, PASS),
        ("<div>Content</div>", PASS, PASS),
        ("<h1>T</h1>\n<p>P</p>", PASS, PASS),
        ('<img src="a.jpg" />', PASS, PASS),
        ("<br>", PASS, PASS),
        ("<ul><li>1<li>2</ul>", PASS, PASS),
        ("<table><tr><td>1<tr><td>2</table>", PASS, PASS),
        ("<script>if (a<b && c>d) {}</script>", PASS, PASS),
        ("<p title='1 > 0'>1</p>", PASS, PASS),
        ("<!-- c --><p>x</p>", PASS, PASS),
        ("<svg><path d='1'/></svg>", PASS, PASS),
        ("<my-tag>1</my-tag>", PASS, FAIL),
        ("<P>x</p>", PASS, PASS),
        ("Just text", FAIL, FAIL),
        ("Here: <div>b</div>", FAIL, PASS),
        ("<p>a</p> between <p>c</p>", FAIL, PASS),
        ("line<br>break", FAIL, PASS),
        ('<?xml version="1.0"?><root></root>', FAIL, FAIL),
        ("<root><total/></root>", FAIL, FAIL),
        ("<div>Unclosed", FAIL, FAIL),
        ("<div><b>x</b>", FAIL, PASS),
        ("<div><b>x</div></b>", FAIL, PASS),
        ("</p>", FAIL, FAIL),
        ("<p <b>x</b>", FAIL, PASS),
        ("a < b and c > d", FAIL, FAIL),
        ("mail <me@example.org>", FAIL, FAIL),
        ("use a <div> here", FAIL, FAIL),
        ("std::vector<int> x; if (i<n) y->z();", FAIL, FAIL),
        ("<!doctype html>", FAIL, PASS),
        ("", FAIL, FAIL),
        ("<>", FAIL, FAIL),
        ("<p>\x00</p>", PASS, PASS),
    ],
)
def test_what_is_html(text: str, whole: object, part: object) -> None:
    assert (outcome("is-html", None, text), outcome("contains-html", None, text)) == (whole, part)
    assert outcome("not-is-html", None, text) is (FAIL if whole is PASS else PASS)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<div><b>x</div>", "'b' is not closed before 'div'"),
        ("<div>x</div></div>", "'div' is closed and was not open"),
        ("<div><p>x</p>", "'div' is not closed"),
        ("<root></root>", "there is no element 'root'"),
        ("<p>x</p> y <p>z</p>", "there is text around the elements"),
        ("<p>x</p><!-- -- >", "a tag has no end (character 9)"),
    ],
)
def test_the_message_says_why_it_is_none(text: str, why: str) -> None:
    one = of("is-html", None, text)
    assert one.reason == "not_html"
    assert one.message == f"The answer is not HTML: {why}."


PLAIN = sorted(ELEMENTS - VOID - RAW)
HTML = st.recursive(
    st.text("ab é", max_size=4) | st.sampled_from(sorted(VOID)).map("<{}>".format),
    lambda inner: st.builds(
        lambda name, parts: f"<{name}>{''.join(parts)}</{name}>", st.sampled_from(PLAIN), st.lists(inner, max_size=3)
    ),
    max_leaves=8,
).map("<div>{}</div>".format)


@given(HTML)
def test_elements_in_order_are_html_and_are_found_in_text(page: str) -> None:
    assert outcome("is-html", None, page) is PASS
    assert outcome("contains-html", None, f"Here is {page} for you") is PASS
    assert outcome("is-html", None, page.removesuffix("</div>")) is FAIL
