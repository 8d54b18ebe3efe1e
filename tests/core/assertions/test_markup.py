"""XML: whole and in parts, elements that must be there, bombs."""

import time
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.tags import CLOSE, EMPTY, OPEN, tags
from promptcard_ext.core.errors import CardError
from tests.core.assertions.judged import FAIL, PASS, UNSCORED, of, outcome

REQUIRED = {"requiredElements": ["order.total", "order.lines.line"]}
ORDER = "<order><total>4</total><lines><line/></lines></order>"
BOMB = (
    '<!DOCTYPE a [<!ENTITY a "ha">' + "".join(f'<!ENTITY a{i} "&a{i - 1};&a{i - 1};">' for i in range(1, 40)) + "]>"
    "<a>&a39;</a>"
).replace("&a0;", "&a;")


@pytest.mark.parametrize(
    ("text", "whole", "part"),
    [
        ("<a/>", None, None),
        (" <?xml version='1.0' encoding='latin-1'?>\n<a>é</a>\n", None, None),
        ("<!-- c --><a b='1'>x</a>", None, None),
        ("<x:a><x:b/></x:a>", None, None),
        ("Here: <a>1</a>, done", "not_xml", None),
        ("<a>1</a><b>2</b>", "not_xml", None),
        ("use <b> like this: <a><c/></a>", "not_xml", None),
        ("<a>", "not_xml", "no_xml"),
        ("<a><b></a>", "not_xml", "no_xml"),
        ("<p>1<br>2</p>", "not_xml", "no_xml"),
        ("<a b/>", "not_xml", "no_xml"),
        ("<a>&nbsp;</a>", "not_xml", "no_xml"),
        ("<a>1 & 2</a>", "not_xml", "no_xml"),
        ("1 < 2 and 3 > 2", "not_xml", "no_xml"),
        ("", "not_xml", "no_xml"),
        ("<a>\x00</a>", "not_xml", "no_xml"),
        ("<a>\ud800</a>", "not_xml", "no_xml"),
        ("<a><![CDATA[<b>]]></a>", None, None),
    ],
)
def test_what_is_xml(text: str, whole: str | None, part: str | None) -> None:
    assert (of("is-xml", None, text).reason, of("contains-xml", None, text).reason) == (whole, part)
    for kind, reason in (("is-xml", whole), ("contains-xml", part)):
        assert of(f"not-{kind}", None, text).reason == (f"{kind}_held" if reason is None else None)


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        (REQUIRED, ORDER, PASS),
        (REQUIRED, f"Here: {ORDER}.", PASS),
        (REQUIRED, "<order><total>4</total></order>", FAIL),
        (REQUIRED, f"<wrapper>{ORDER}</wrapper>", FAIL),
        (REQUIRED, "<other/> and " + ORDER, PASS),
        (["order"], "<x:order xmlns:x='urn:x'/>", PASS),
        (["x:order.y:a"], "<order><a/></order>", PASS),
        (["a.a"], "<a><b><a/></b></a>", FAIL),
        (["a.b.a"], "<a><b><a/></b></a>", PASS),
        ({}, "<a/>", PASS),
    ],
)
def test_elements_are_paths_from_the_root(value: Any, text: str, expected: Any) -> None:
    assert outcome("contains-xml", value, text) is expected
    if text.startswith("<") and not text.startswith("<other"):
        assert outcome("is-xml", value, text) is expected


def test_a_missing_element_is_named() -> None:
    one = of("is-xml", REQUIRED, "<order><total>4</total></order>")
    assert one.reason == "element_missing"
    assert "order.lines.line" in one.message


@pytest.mark.parametrize("kind", ["is-xml", "not-is-xml"])
@pytest.mark.parametrize(
    "text",
    [BOMB, '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "<!DOCTYPE a [<!ENTITY % x 'y'>]><a/>"],
)
def test_entities_are_not_read(kind: str, text: str) -> None:
    started = time.process_time()
    one = of(kind, None, text)
    assert (one.outcome, one.reason) == (UNSCORED, "entities_refused")
    assert time.process_time() - started < 1


def test_a_document_type_without_entities_is_fine_and_nothing_is_fetched() -> None:
    assert of("is-xml", None, '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><a/>').outcome is PASS


MEGABYTE = 1_000_000
HOSTILE = {
    "open": "<a>" * (MEGABYTE // 3),
    "deep": "<a>" * 150_000 + "</a>" * 150_000,
    "wide": "<r>" + "<a>1</a>" * (MEGABYTE // 8) + "</r>",
    "siblings": "<a b/>" * (MEGABYTE // 6),
    "half attributes": '<a "' * (MEGABYTE // 4),
    "comments": "<!--" * (MEGABYTE // 4),
    "sections": "<![CDATA[" * (MEGABYTE // 9),
    "brackets": "<" * MEGABYTE,
    "one long tag": "<a " + "b " * (MEGABYTE // 2),
    "long name": "<" + "a" * MEGABYTE,
    "quotes": "<a b='" + "<" * MEGABYTE,
    "attributes": "<a " + " ".join(f"a{i}='1'" for i in range(50_000)) + "/>",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("kind", ["is-xml", "contains-xml", "is-html", "contains-html"])
def test_no_answer_takes_long(kind: str, text: str) -> None:
    started = time.process_time()
    one = of(kind, None, text)
    assert time.process_time() - started < 5
    assert one.outcome in (PASS, FAIL) or one.reason in ("answer_too_complex", "answer_too_deep")


@pytest.mark.parametrize("kind", ["is-xml", "not-is-xml", "contains-xml", "is-html", "not-contains-html"])
def test_an_answer_too_long_is_unscored(kind: str) -> None:
    one = of(kind, None, "<a>" + " " * 2_000_000 + "</a>")
    assert (one.outcome, one.reason) == (UNSCORED, "answer_too_long")


def test_a_deep_document_is_unscored() -> None:
    assert of("is-xml", None, "<a>" * 1001 + "</a>" * 1001).reason == "answer_too_deep"
    assert of("is-xml", None, "<a>" * 1000 + "</a>" * 1000).outcome is PASS


@pytest.mark.parametrize(
    "value",
    ["order", {"required": ["a"]}, {"requiredElements": "a"}, {"requiredElements": 5}, [""], ["."], [5], ["a"] * 101],
)
def test_what_cannot_be_used_is_refused(value: Any) -> None:
    for kind in ("is-xml", "contains-xml"):
        with pytest.raises(CardError) as caught:
            Assertion(kind, value)
        assert caught.value.code == "assertion_invalid"


TEXT = st.text("ab &<>\"'é", max_size=5).map(escape)
XML = st.recursive(
    TEXT,
    lambda inner: st.builds(
        lambda name, parts: f"<{name}>{''.join(parts)}</{name}>" if parts else f"<{name}/>",
        st.sampled_from(["a", "b", "x-y", "n:c"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
).map("<r>{}</r>".format)


@given(XML, st.text("ab ,.\n", max_size=5), st.text("ab ,.\n", max_size=5))
def test_a_document_is_found_in_any_text(document: str, before: str, after: str) -> None:
    assert outcome("is-xml", ["r"], document) is PASS
    assert outcome("contains-xml", ["r"], before + document + after) is PASS
    assert outcome("is-xml", None, "x" + document) is FAIL


@given(XML)
def test_the_tags_of_a_document_are_as_many_closed_as_opened(document: str) -> None:
    found = list(tags(document))
    assert sum(tag.kind == OPEN for tag in found) == sum(tag.kind == CLOSE for tag in found)
    assert all(document[tag.start] == "<" and document[tag.end - 1] == ">" for tag in found)
    assert sum(tag.kind in (OPEN, EMPTY) for tag in found) == document.count("<") - document.count("</")
