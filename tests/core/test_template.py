"""The template language: small, in a sandbox, with the place of every mistake."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.errors import TemplateError
from promptcard_ext.core.template import MAX_OUTPUT_CHARS, MAX_TEMPLATE_CHARS, Template, locate


def failure(source: str, **variables: Any) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        Template(source, "card 'c'").render(variables)
    return caught.value


def place(error: TemplateError) -> tuple[str, int, int]:
    return error.code, error.line, error.column


@given(st.text(alphabet=st.characters(exclude_characters="{\r")))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert Template(text).render({}) == text
    assert Template(text).variables == frozenset()


def test_line_ends_of_any_system_become_one() -> None:
    assert Template("a\r\nb\rc\n").render({}) == "a\nb\nc\n"


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="{\r")))
def test_a_value_is_put_in_unchanged_and_not_read_as_a_template(value: str, around: str) -> None:
    assert Template(around + "{{ v }}" + around).render({"v": value}) == around + value + around


FRAGMENTS = st.sampled_from(
    ["{{", "}}", "{%", "%}", "{#", "#}", " x ", "y", "|", "join", "sort", "round", "unique", "truncate", "(", ")", "'",
     "if ", "for ", "in ", "endif", "endfor", "else", "1", "9", ".", "[", "]", "~", "-", "*", ",", "\n", "__class__",
     "{{ x }}", "{% if x %}", "{% endif %}", "{% for i in x %}", "{% endfor %}", "{{ x|", "{{ y.a", "loop", "self"]
)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=14).map("".join))
def test_any_template_renders_or_says_what_is_wrong(source: str) -> None:
    found = None
    try:
        Template(source).render({"x": [3, 1, 2], "y": {"a": "b"}, "i": 1})
    except TemplateError as error:
        found = error
    assert found is None or 0 <= found.line <= source.count("\n") + 1


class TestWhatItCanDo:
    @pytest.mark.parametrize(
        ("source", "text"),
        [
            ("{{ name|upper }}", "ADA"),
            ("{% if tags %}{{ tags|join(', ') }}{% else %}none{% endif %}", "a, b"),
            ("{% for t in tags %}{{ loop.index }}/{{ loop.length }} {{ t }}{{ '; ' if not loop.last }}{% endfor %}",
             "1/2 a; 2/2 b"),
            ("{{ order.items[0].price }}", "9.5"),
            ("{{ order['items']|length }}", "1"),
            ("{{ order|tojson }}", '{"items": [{"price": 9.5, "name": "<ü>"}]}'),
            ("{{ tags|unique|join }}", "ab"),
            ("{{ ['b', 'a', 'b']|unique }}", "['b', 'a']"),
            ("{{ 2.345|round(1) }} {{ 2.3|round(0, 'ceil')|int }}", "2.3 3"),
            ("{{ name ~ '!' }}", "Ada!"),
            ("{{ gone|default('-') }}", "-"),
            ("{# a comment #}{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
        ],
    )  # fmt: skip
    def test_it_does(self, source: str, text: str) -> None:
        order = {"items": [{"price": 9.5, "name": "<ü>"}]}
        assert Template(source).render({"name": "Ada", "tags": ["a", "b"], "order": order}) == text

    def test_its_variables_are_those_it_does_not_make_itself(self) -> None:
        assert Template("{{ a }}{% for b in c %}{{ b }}{{ loop.index }}{% endfor %}").variables == {"a", "c"}


class TestMistakes:
    @pytest.mark.parametrize(
        ("source", "line", "column"),
        [
            ("{{ who }}", 1, 4),
            ("Hello,\n  dear {{ who }}!", 2, 11),
            ("who? {{ known }} {{ known.who }}", 1, 27),
            ("{# {{ who }} #}{{ who }}", 1, 19),
            ("{% if known and who %}{% endif %}", 1, 17),
            ("a\r\nb\r\n{{ who }}", 3, 4),
        ],
    )
    def test_a_name_without_a_value_has_line_and_column(self, source: str, line: int, column: int) -> None:
        error = failure(source, known={"a": 1})
        assert place(error) == ("missing_variable", line, column)
        assert "'who' of card 'c'" in error.message
        assert error.to_dict()["column"] == column

    @pytest.mark.parametrize(
        ("source", "line", "column"),
        [
            ("{{ who }", 1, 1),
            ("ok\n {{ }} ", 2, 2),
            ("{{ a }} {{ b + }}", 1, 9),
            ("{{ a }}\n{% if %}{% endif %}", 2, 1),
            ("\x0c\u2028 {{ a + }}", 1, 4),
            ("{{ a }} }} {% do a %}", 1, 12),
            ("a %} {% endif %}", 1, 6),
            ("{% if a %}", 1, 1),
            ("a {# open", 1, 3),
        ],
    )
    def test_a_syntax_error_has_line_and_column(self, source: str, line: int, column: int) -> None:
        code, got_line, got_column = place(failure(source, a=1, b=1))
        assert (code, got_line) == ("template_syntax", line)
        assert got_column == column

    @pytest.mark.parametrize("block", ["{% for a in x %}|{% endfor %}", "{% if x %}|{% endif %}", "{{ (|) }}"])
    def test_too_deep_nesting_is_said(self, block: str) -> None:
        opening, closing = block.split("|")
        count = 5000 if "(" in block else 200
        source = "{{" + "(" * count + "x" + ")" * count + "}}" if "(" in block else opening * count + closing * count
        assert failure(source, x=[1]).code == "template_syntax"

    def test_a_value_of_the_wrong_type_is_an_error_of_ours(self) -> None:
        assert failure("{{ x|round }}{{ -x }}", x="text").code == "template_error"
        assert failure("{{ x|truncate(1) }}", x="a text that is longer than that").code == "template_error"
        assert failure("{% for a in x %}{% endfor %}", x=5).code == "template_error"


class TestSandbox:
    @pytest.mark.parametrize(
        "source",
        [
            "{% include 'a' %}", "{% import 'a' as b %}", "{% extends 'a' %}", "{% set a = 1 %}", "{{ x() }}",
            "{% macro f() %}{% endmacro %}", "{{ x * 3 }}", "{{ x + x }}", "{{ 9 ** 9 ** 9 }}", "{{ x % 2 }}",
            "{{ 'x'.format(x) }}", "{{ x.upper() }}", "{{ range(9) }}", "{{ self }}", "{{ x[1:2] }}",
            "{% call x() %}{% endcall %}", "{% filter upper %}{% endfilter %}", "{% block b %}{% endblock %}",
            "{% with a = 1 %}{% endwith %}", "{{ {'a': 1} }}", "{% if x() %}{% endif %}",
            "{% for a in x() %}{% endfor %}", "{% set a %}{% endset %}",
        ],
    )  # fmt: skip
    def test_what_is_not_in_the_language_is_refused_before_it_runs(self, source: str) -> None:
        with pytest.raises(TemplateError) as caught:
            Template("fine {{ x }}\n " + source)
        assert place(caught.value) == ("template_not_allowed", 2, 2)

    @pytest.mark.parametrize(
        "source",
        ["{{ x|attr('a') }}", "{{ x|map('upper') }}", "{{ x|pprint }}", "{{ x|format }}",
         "{% if x is callable %}{% endif %}",
         "{{ x|xmlattr }}", "{% if x|nope %}{% endif %}", "{{ x|select }}", "{{ x|indent(9) }}"],
    )  # fmt: skip
    def test_unknown_filters_and_tests_are_refused(self, source: str) -> None:
        with pytest.raises(TemplateError) as caught:
            Template("fine {{ x }}\n " + source)
        assert place(caught.value) == ("template_not_allowed", 2, 2)
        assert "does not exist here" in caught.value.message

    @pytest.mark.parametrize("name", ["__class__", "__init__", "upper", "format", "items", "_private", "mro"])
    @pytest.mark.parametrize(
        "source", ["{{{{ x.{} }}}}", "{{{{ x['{}'] }}}}", "{{{{ ''['{}'] }}}}", "{{{{ [x]|join(attribute='{}') }}}}"]
    )
    def test_no_attribute_of_python_is_reached(self, source: str, name: str) -> None:
        for value in ("text", {"a": 1}, [1], 5, None):
            assert failure(source.format(name), x=value).code in ("missing_variable", "template_error")

    def test_nothing_it_prints_tells_an_address_in_memory(self) -> None:
        for source in ("{{ x|unique }}", "{{ x|sort }}", "{{ x }}", "{{ x|first }}"):
            assert " at 0x" not in Template(source).render({"x": [1, 2]})


class TestLimits:
    def test_a_long_template_is_refused(self) -> None:
        with pytest.raises(TemplateError) as caught:
            Template("x" * (MAX_TEMPLATE_CHARS + 1))
        assert caught.value.code == "template_too_long"

    def test_a_prompt_may_be_as_long_as_the_limit_and_no_longer(self) -> None:
        assert len(Template("{{ x }}").render({"x": "a" * MAX_OUTPUT_CHARS})) == MAX_OUTPUT_CHARS
        assert failure("{{ x }}.", x="a" * MAX_OUTPUT_CHARS).code == "prompt_too_long"
        assert failure("{% for a in x %}{{ x }}{% endfor %}", x=["a" * 100] * 1000).code == "prompt_too_long"

    @pytest.mark.parametrize(
        "source",
        [
            "{% for a in x %}{% for b in x %}{% for c in x %}{% endfor %}{% endfor %}{% endfor %}",
            "{{ x|join(y) }}",
            "{{ " + " ~ ".join(["y"] * 1000) + " }}",
            "{{ [" + ",".join(["y"] * 1000) + "] }}",
            "{{ 1|round(999999999, 'floor') }}{{ n }}",
            "{{ y|round }}",
        ],
    )
    def test_a_template_cannot_eat_time_or_memory(self, source: str) -> None:
        started = time.thread_time()
        assert failure(source, x=list(range(20_000)), y="z" * 900_000).code.startswith(("template", "missing"))
        assert time.thread_time() - started < 5

    def test_a_place_is_found_in_linear_time(self) -> None:
        started = time.thread_time()
        assert locate("{#" + "{{" * 49_000 + "#}{% if zz %}", "zz") == (1, 98_011)
        assert locate("{{ " * 33_000, "zz") == (0, 0)
        assert time.thread_time() - started < 2
