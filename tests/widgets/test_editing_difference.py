import pytest

from promptcard_ext.core.card import Card, Message, ModelSettings, Variable
from promptcard_ext.core.errors import CardError
from promptcard_ext.widgets.editing.difference import MAX_LINES, MAX_SHOWN, choices, compared, lines, resolved
from promptcard_ext.widgets.editing.form import Form, card_of, form_of

BASE = Card("c", "one\ntwo {{ a }}", title="Base", variables=[Variable("a")])


def form(**changed: object) -> Form:
    fields = {name: getattr(BASE, name) for name in BASE.__struct_fields__} | changed
    return form_of(Card(**fields))


def test_lines_come_with_their_signs_and_far_ones_are_left_out() -> None:
    before = "\n".join(str(i) for i in range(30))
    assert lines(before, before.replace("20", "x")) == [
        ("@", ""), (" ", "17"), (" ", "18"), (" ", "19"), ("-", "20"), ("+", "x"), (" ", "21"), (" ", "22"),
        (" ", "23"),
    ]  # fmt: skip
    assert lines("a", "a") == []
    assert lines("", "a\n") == [("+", "a"), ("+", "")]


def test_lines_that_look_like_signs_of_a_difference_are_lines() -> None:
    assert lines("@@ -1", "--- x") == [("-", "@@ -1"), ("+", "--- x")]


def test_long_texts_are_replaced_whole_and_cut() -> None:
    found = lines("a\n" * (MAX_LINES + 1), "b\n" * (MAX_LINES + 1))
    assert len(found) == MAX_SHOWN
    assert found[0] == ("-", "a")


def test_hostile_lines_arrive_as_text() -> None:
    assert lines("", "<img src=x>\x1b\u202e") == [("+", "<img src=x>␛�")]


def test_only_fields_that_differ_are_compared() -> None:
    other = form(
        template="one\n2 {{ a }}", tags=("x",), settings=ModelSettings(seed=1), variables=(Variable("a", "json"),)
    )
    found = {field["label"]: field["lines"] for field in compared(form(), other)}
    assert found == {
        "tags": [("+", "x")],
        "user message": [(" ", "one"), ("-", "two {{ a }}"), ("+", "2 {{ a }}")],
        "variable a": [("-", "type: string"), ("+", "type: json"), (" ", "trust: trusted")],
        "seed": [("+", "1")],
    }
    assert compared(form(), form()) == []


def test_messages_that_came_are_compared_as_one_text() -> None:
    chat = form_of(Card("c", messages=[Message("system", "Be kind."), Message("user", "one\ntwo {{ a }}")]))
    found = {field["label"]: field["lines"] for field in compared(form(), chat)}
    assert found["messages"] == [
        ("+", "[system]"),
        ("+", "Be kind."),
        (" ", "[user]"),
        (" ", "one"),
        (" ", "two {{ a }}"),
    ]


def test_what_only_one_has_changed_is_chosen_and_what_both_have_changed_is_open() -> None:
    theirs = form(template="theirs {{ a }}", title="Theirs", tags=("t",))
    mine = form(template="mine {{ a }}", title="Base", description="Mine")
    found = {choice.id: choice.chosen for choice in choices(form(), theirs, mine)}
    assert found == {"title": "theirs", "description": "mine", "tags": "theirs", "messages.0": None}
    outline = {choice.id: choice.outline() for choice in choices(form(), theirs, mine)}["messages.0"]
    assert outline["theirs"] == [("-", "one"), ("-", "two {{ a }}"), ("+", "theirs {{ a }}")]
    assert outline["mine"][-1] == ("+", "mine {{ a }}")


def test_what_both_have_changed_in_the_same_way_is_no_choice() -> None:
    assert choices(form(), form(title="Same"), form(title="Same")) == []


@pytest.mark.parametrize(
    ("side", "text"), [("theirs", "theirs {{ a }}"), ("mine", "mine {{ a }}"), ("base", BASE.template)]
)
def test_each_field_becomes_what_was_chosen(side: str, text: str) -> None:
    theirs, mine = form(template="theirs {{ a }}", title="Theirs"), form(template="mine {{ a }}")
    open_choices = choices(form(), theirs, mine)
    card = card_of("c", resolved(mine, open_choices, {"messages.0": side}))
    assert (card.template, card.title) == (text, "Theirs")


def test_nothing_is_taken_while_something_is_open() -> None:
    theirs, mine = form(title="Theirs"), form(title="Mine")
    with pytest.raises(CardError, match="title") as refused:
        resolved(mine, choices(form(), theirs, mine), {})
    assert refused.value.code == "merge_open"


def test_variables_messages_and_settings_are_taken_whole() -> None:
    theirs = form_of(
        Card("c", messages=[Message("user", "Q {{ b }}"), Message("assistant", "A"), Message("user", "{{ a }}")],
             variables=[Variable("a", "json"), Variable("b")], settings=ModelSettings(temperature=1))
    )  # fmt: skip
    mine = form(settings=ModelSettings(temperature=0), title="Mine")
    taken = dict.fromkeys(("messages", "variables.a", "settings.temperature"), "theirs") | {"title": "mine"}
    card = card_of("c", resolved(mine, choices(form(), theirs, mine), taken))
    assert [message.content for message in card.messages] == ["Q {{ b }}", "A", "{{ a }}"]
    assert [(one.name, one.type) for one in card.variables] == [("a", "json"), ("b", "string")]
    assert (card.settings.temperature, card.title) == (1.0, "Mine")
    # And back: a variable that they have not is taken out.
    taken = dict.fromkeys(("title", "messages", "variables.a", "variables.b", "settings.temperature"), "theirs")
    back = card_of("c", resolved(theirs, choices(form(), mine, theirs), taken))
    assert [one.name for one in back.variables] == ["a"]
