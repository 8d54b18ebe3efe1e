import pytest

from promptcard_ext.core.card import Card, Example, Message, ModelSettings, Variable
from promptcard_ext.core.errors import CardError
from promptcard_ext.widgets.editing.changes import MAX_ROWS, applied, between, same
from promptcard_ext.widgets.editing.form import card_of, form_of

FULL = Card(
    "triage",
    "Sort {{ text }} for {{ who }}: {{ n }}",
    system="Be {{ tone }}.",
    title="Triage",
    description="Sorts.",
    tags=("a", "b, c"),
    variables=(
        Variable("text", trust="untrusted", max_length=500, description="A letter"),
        Variable("who", default="Ada"),
        Variable("n", "integer", default=3, minimum=1),
        Variable("tone", "enum", values=("kind", "curt, and short"), default="kind"),
        Variable("data", "json", default={"a": [1, None]}, schema={"type": "object"}),
        Variable("at", "datetime", default="2026-01-31"),
    ),
    settings=ModelSettings(temperature=0.5, max_tokens=200, stop=("END",), response_format={"type": "json_object"}),
    examples=(Example("A?", "B."),),
)
CHAT = Card("chat", messages=(Message("user", "Hi"), Message("assistant", "Yes?"), Message("user", "{{ q }}")))


@pytest.mark.parametrize("card", [FULL, CHAT, Card("small", "Hi")], ids=lambda card: card.name)
def test_a_card_comes_back_from_its_form_as_it_was(card: Card) -> None:
    back = card_of(card.name, form_of(card))
    assert back == card
    assert back.content_hash == card.content_hash


def test_texts_that_a_card_includes_stay_with_it_as_long_as_they_are_used() -> None:
    includes = {"style@1": 'Be brief. {% include "tone@2" %}', "tone@2": "Be kind."}
    card = Card("ask", '{% include "style@1" %} {{ q }}', includes=includes)
    form = form_of(card)
    assert card_of("ask", form, includes) == card
    done = applied(form, [[["messages", "m0", "content"], 'Now {% include "tone@2" %}']])
    assert done is not None
    assert dict(card_of("ask", done[0], includes).includes) == {"tone@2": "Be kind."}


def test_the_form_has_texts_as_browsers_have_them() -> None:
    form = form_of(Card("c", "a\r\nb\rc \ud800 😀"))
    assert form["messages"][0]["content"] == "a\nb\nc � 😀"
    assert same(form, form_of(Card("c", "a\nb\nc � 😀")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ([["variables", "v2", "default"], "three"], "default of variable 'n' is not JSON"),
        ([["variables", "v2", "default"], '"3"'], "should be of type integer"),
        ([["variables", "v2", "limits"], "[1]"], "limits of variable 'n' are not a mapping"),
        ([["variables", "v2", "limits"], '{"name": "x"}'], "limits of variable 'n' are not a mapping"),
        ([["variables", "v2", "limits"], '{"smallest": 1}'], "variable 'n'"),
        ([["variables", "v0", "name"], "1x"], "variable '1x'"),
        ([["settings", "temperature"], "9"], "temperature"),
        ([["settings", "seed"], "seven"], "Setting 'seed' is not JSON"),
        ([["settings", "other"], "[]"], "other settings are not a mapping"),
        ([["tags"], ["x"] * 30], "triage"),
        ([["messages"], []], "triage"),
    ],
)
def test_a_form_that_is_no_card_says_what_is_wrong(change: list[object], said: str) -> None:
    done = applied(form_of(FULL), [change])
    assert done is not None
    with pytest.raises(CardError, match=said):
        card_of("triage", done[0])


@pytest.mark.parametrize(
    "wrong",
    [
        None, {}, [[]], [["title", "x"]], [[["title"], 3]], [[["name"], "x"]], [[[], "x"]], [[["title", "x"], "y"]],
        [[["settings", "stop"], "x"]], [[["settings"], {}]], [[["messages", "m0"], {}]],
        [[["messages", "m0", "key"], "x"]],
        [[["messages", "m0", "content"], None]], [[["messages"], [{"key": "a"}]]], [[["messages"], "x"]],
        [[["variables"], [{"key": "a", "name": 1}]]], [[["tags"], [1]]], [[[["title"]], "x"]],
        [[["messages"], [{"key": "a", "role": "user", "content": ""}] * 2]],
        [[["messages"], [{"key": str(i), "role": "user", "content": ""} for i in range(MAX_ROWS + 1)]]],
        [[["title"], "x" * 1_300_000]],
    ],
)  # fmt: skip
def test_what_is_no_change_of_ours_changes_nothing(wrong: object) -> None:
    assert applied(form_of(FULL), wrong) is None


def test_a_change_of_a_row_that_is_gone_is_left_out_and_the_others_are_made() -> None:
    done = applied(form_of(CHAT), [[["messages", "gone", "content"], "x"], [["title"], "T"]])
    assert done is not None
    form, made = done
    assert made == [(["title"], "T")]
    assert form["title"] == "T"


def test_the_changes_between_two_forms_make_one_of_the_other() -> None:
    before, after = form_of(FULL), form_of(CHAT)
    done = applied(before, [list(change) for change in between(before, after)])
    assert done is not None
    assert done[0] == after
