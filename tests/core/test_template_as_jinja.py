"""What both the language and Jinja can read means the same in both.

Jinja is asked with its strict undefined values and in its own sandbox. Where it answers, this language has the same
text; it is stricter in one thing, which is said: a value that is not there is refused wherever it is used.
"""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from promptcard_ext.core import errors
from promptcard_ext.core.template import Template

JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
NAMES = st.sampled_from(["a", "b", "c", "d", "e", "n", "t"])
VALUES: dict[str, Any] = {
    "a": "A text, ümlaut\n and more",
    "b": [3, 1, 2, 1],
    "c": {"x": 1, "y": [{"z": "deep"}]},
    "d": ["b", "A", "a", ""],
    "e": [],
    "n": -2.5,
    "t": True,
}
LITERALS = st.sampled_from(["'x'", "''", "0", "1", "-1", "2.5", "true", "none", "[1, 'a']", "[]"])
FILTERS = st.sampled_from(
    ["upper", "lower", "capitalize", "title", "trim", "trim('A')", "length", "first", "last", "join(', ')", "join",
     "sort", "sort(reverse=true)", "sort(case_sensitive=true)", "unique|join", "int", "float", "round(1)",
     "round(0, 'ceil')", "round(method='floor')", "default('x')", "default('x', true)", "replace('a', 'b')",
     "replace('a', 'b', 1)", "truncate(9)", "truncate(9, true, '..', 0)", "int(5)", "sort|first"]
)  # fmt: skip
TESTS = st.sampled_from(
    ["defined", "undefined", "none", "string", "number", "mapping", "sequence", "boolean", "eq(1)", "gt(0)", "in([1])"]
)
PATHS = st.sampled_from(["c.x", "c.y[0].z", "c['x']", "b[0]", "b[-1]", "d[1]", "c.gone", "a[0]", "loop.index"])


def _combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["==", "!=", "<", ">=", "in", "not in", "and", "or", "~"])
    return st.one_of(
        st.builds("{}|{}".format, inner, FILTERS),
        st.builds("({} {} {})".format, inner, operators, inner),
        st.builds("({} is {})".format, inner, TESTS),
        st.builds("(not {})".format, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
    )


EXPRESSIONS = st.recursive(NAMES | LITERALS | PATHS, _combined, max_leaves=5)
TEXTS = st.sampled_from(["text ", "\n", " ", "}", "ü", "{# note #}", "{% raw %}{{ x }}{% endraw %}"])


def _blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("{{% if {} %}}{}{{% elif {} %}}{}{{% else %}}{}{{% endif %}}".format,
                  EXPRESSIONS, inner, EXPRESSIONS, inner, inner),
        st.builds("{{%- for a in {} -%}}{}{{% else %}}{}{{% endfor %}}".format, EXPRESSIONS, inner, inner),
        st.builds("{{% for n in {} if n %}}{}{{{{ loop.index0 }}}}{{{{ loop.last }}}}{{% endfor %}}".format,
                  EXPRESSIONS, inner),
        st.builds("{{% for a, b in [[{}, {}]] %}}{}{{% endfor %}}".format, EXPRESSIONS, EXPRESSIONS, inner),
    )  # fmt: skip


TEMPLATES = st.recursive(TEXTS | EXPRESSIONS.map("{{{{ {} }}}}".format), _blocks, max_leaves=5)


@settings(max_examples=600)
@given(TEMPLATES)
def test_where_jinja_answers_the_text_is_the_same(source: str) -> None:
    try:
        expected = JINJA.from_string(source).render(VALUES)
    # What a filter of Jinja's raises on a value of another type is not one of its own errors.
    except (TemplateError, TypeError, ValueError, ArithmeticError, AttributeError, LookupError):
        expected = None
    assume(expected is not None)
    try:
        text = Template(source).render(VALUES)
    except errors.TemplateError as error:
        assume(error.code != "missing_variable")
        text = error.message
    assert text == expected
