"""What is said about a card before it is rendered, with its place."""

from __future__ import annotations

from typing import Any

import pytest

from promptcard_ext.core.card import Card, Example, Message, Variable
from promptcard_ext.core.errors import TemplateError
from promptcard_ext.core.static_check import check

Q = Variable("q")


def found(card: Card) -> list[tuple[Any, ...]]:
    return [(one.code, one.severity, one.where, one.line, one.column) for one in check(card)]


@pytest.mark.parametrize(
    "card",
    [
        Card("c", "{{ a }}{% for x in b %}{{ x }}{% endfor %}"),
        Card("c", "{{ q }}", variables=(Q, Variable("token", "secret"))),
        Card("c", "{{ q }}", "Be kind.", variables=(Variable("q", trust="untrusted"),)),
        Card("c", "{% for x in q %}{{ x }}{% endfor %}{% for x in q %}{{ x }}{% endfor %}", variables=(Q,)),
    ],
)
def test_a_card_that_is_in_order_has_no_problem(card: Card) -> None:
    assert found(card) == []


def test_a_variable_that_nothing_uses_is_a_warning() -> None:
    assert found(Card("c", "{{ q }}", variables=(Q, Variable("idle")))) == [
        ("variable_unused", "warning", "variables[1]", 0, 0)
    ]


def test_a_loop_that_hides_a_name_is_a_warning() -> None:
    card = Card("c", "a\n {% for q in q %}{{ q }}{% endfor %}", variables=(Q,))
    assert found(card) == [("variable_shadowed", "warning", "template", 2, 9)]
    loops = Card("c", "{% for x in q %}\n{% for y, x in q %}{{ x }}{{ y }}{% endfor %}{% endfor %}", variables=(Q,))
    assert found(loops) == [("variable_shadowed", "warning", "template", 2, 11)]


def test_what_strangers_write_in_a_system_message_is_a_warning() -> None:
    variables = (Variable("q", trust="untrusted"),)
    assert found(Card("c", "x", "Mind:\n{{ q }}", variables=variables)) == [
        ("untrusted_in_system", "warning", "system", 2, 4)
    ]
    chat = Card("c", messages=(Message("system", "{{ q }}"), Message("user", "{{ q }}")), variables=variables)
    assert [one[2] for one in found(chat)] == ["messages[0]"]


def test_a_text_that_goes_into_a_system_message_is_looked_at_as_one() -> None:
    ask = Card("c", '{% include "a@1" %}', '{% include "a@1" %}', variables=(Variable("q", trust="untrusted"),))
    assert found(ask) == [
        ("include_unresolved", "error", "system", 1, 13),
        ("include_unresolved", "error", "template", 1, 13),
    ]
    composed = ask.compose([Card("a", "Mind {{ q }}", version=1)])
    assert found(composed) == [("untrusted_in_system", "warning", "a@1", 1, 9)]


def test_examples_have_their_places() -> None:
    example = Example("{% for q in [1] %}{% endfor %}", "{{ q }}")
    assert found(Card("c", "x", examples=(example,), variables=(Q,))) == [
        ("variable_shadowed", "warning", "examples[0].user", 1, 8)
    ]


def test_a_card_says_all_names_that_it_does_not_declare() -> None:
    with pytest.raises(TemplateError) as caught:
        Card("c", "{{ a }}\n{{ z }} {{ b }}", variables=(Q,))
    assert (caught.value.code, caught.value.line, caught.value.column) == ("unknown_variable", 1, 4)
    assert "'b' (line 2, column 12), 'z' (line 2, column 4)" in caught.value.hint


def test_a_problem_reads_as_a_line() -> None:
    card = Card("c", "{% for q in [1] %}{{ q }}{% endfor %}", variables=(Q,))
    assert str(check(card)[0]) == (
        "template, line 1, column 8: warning: The loop variable 'q' hides the variable of the same name. "
        "[variable_shadowed]"
    )
