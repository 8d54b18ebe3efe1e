"""Cases that every form of file knows."""

from typing import Any

from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, Variable
from promptcard_ext.core.case import Case

# What begins formulas, guards, templates and types in YAML is drawn often.
LIKELY = st.sampled_from(
    ["=1+1", "'=1", "''-2", "+x", "@a", "\t=1", "-", "＝1", "no", "1e3", "0x1F", "12:30", "null", "~", "[1]", "{{ a }}",
     "{% raw %}", "{# c #}", "a\n---\nb", " lead", "trail ", "\n", "'", '"', "#x", "é😀", "2024-01-31", "true", "7"]
)  # fmt: skip
# As XML and YAML have them: no control characters, no carriage returns, no halves of characters.
PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"), max_size=12) | LIKELY
ANY = st.text(max_size=12) | LIKELY

CARD = Card(
    "c",
    "{{ text }}{{ whole }}{{ real }}{{ flag }}{{ many }}{{ value }}",
    variables=(
        Variable("text"),
        Variable("whole", "integer", default=0),
        Variable("real", "number", default=0),
        Variable("flag", "boolean", default=False),
        Variable("many", "list", default=[]),
        Variable("value", "json", default=None),
    ),
)


def json_values(text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    numbers = st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False, width=32)
    return st.recursive(
        text | numbers | st.booleans() | st.none(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
        ),
        max_leaves=4,
    )


def variables(text: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"text": text},
        optional={
            "whole": st.integers(-(10**12), 10**12),
            "real": st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-99, 99),
            "flag": st.booleans(),
            "many": st.lists(json_values(text), max_size=3),
            "value": json_values(text),
        },
    )


def assertions(text: st.SearchStrategy[str]) -> st.SearchStrategy[Assertion]:
    words = text.map(lambda drawn: drawn.replace("{", "(") or "x")
    more = st.fixed_dictionaries(
        {}, optional={"weight": st.sampled_from([0.0, 0.5, 2.0]), "metric": st.text("ab ", min_size=1, max_size=4)}
    )
    single = st.builds(
        lambda kind, value, more: Assertion(kind, value, **more),
        st.sampled_from(["contains", "not-contains", "icontains", "equals", "starts-with"]), words, more,
    )  # fmt: skip
    measured = st.builds(
        lambda limit: Assertion("latency", threshold=limit), st.sampled_from([0.5, 500.0, 1e-7, 123456.789])
    )
    lists = st.builds(lambda value: Assertion("contains-any", value), st.lists(words, min_size=1, max_size=3))
    schema = st.sampled_from([Assertion("is-json"), Assertion("is-json", {"type": "object"})])
    flat = single | measured | lists | schema
    groups = st.builds(
        lambda inner, limit: Assertion("assert-set", assertions=tuple(inner), threshold=limit),
        st.lists(flat, min_size=1, max_size=2), st.sampled_from([None, 0.5]),
    )  # fmt: skip
    return flat | groups


def cases(text: st.SearchStrategy[str] = PLAIN) -> st.SearchStrategy[list[Case]]:
    """Draw cases of `CARD` with different variables."""
    names = st.text("abc xyz=", min_size=1, max_size=8).filter(lambda name: name == name.strip())
    one = st.builds(
        lambda variables, held, fields: Case(variables, tuple(held), **fields),
        variables(text),
        st.lists(assertions(text), max_size=3),
        st.fixed_dictionaries(
            {},
            optional={
                "name": names,
                "threshold": st.sampled_from([0.0, 0.25, 1.0]),
                "metadata": st.dictionaries(st.text("kl", min_size=1, max_size=2), names, max_size=2),
            },
        ),
    )
    return st.lists(one, min_size=1, max_size=4, unique_by=lambda case: case.uid)
