import pytest

from promptcard_ext.core.card import Card, Message, Variable
from promptcard_ext.widgets.editing.changes import applied
from promptcard_ext.widgets.editing.form import Form, form_of
from promptcard_ext.widgets.editing.marks import MAX_MARKS, Mark, checked


def with_text(card: Card, text: str, key: str = "m0") -> Form:
    done = applied(form_of(card), [[["messages", key, "content"], text]])
    assert done is not None
    return done[0]


def said(form: Form) -> list[tuple[str, str, str]]:
    return [(mark.where, mark.kind, mark.message) for mark in checked("c", form).marks if mark.message]


def seen(text: str, mark: Mark) -> str:
    return text.encode("utf-16-le")[2 * mark.start : 2 * mark.end].decode("utf-16-le")


def test_every_use_of_a_variable_is_marked_where_a_browser_counts_it() -> None:
    text = '😀 {{ who }} {% if who == "who" %}{{ x.who }}{% endif %} {# who #} who'
    found = checked("c", form_of(Card("c", text)))
    assert [seen(text, mark) for mark in found.marks] == ["who", "who", "x"]
    assert found.uses == {"who": 2, "x": 1}
    assert found.card is not None


def test_what_is_not_declared_is_an_error_with_its_line_and_a_guess() -> None:
    card = Card("c", "Hi {{ name }}", variables=[Variable("name")])
    text = "Hi {{ name }}\n{{ nam }}"
    found = checked("c", with_text(card, text))
    error = found.marks[0]
    assert (error.kind, error.line, seen(text, error)) == ("error", 2, "nam")
    assert error.message == "Variable 'nam' is not declared. Did you mean 'name'?"
    assert found.card is None


def test_without_declarations_every_variable_is_one() -> None:
    assert said(form_of(Card("c", "{{ a }} {{ b }}"))) == []


def test_unused_twice_declared_and_wrong_declarations_are_said_beside_their_row() -> None:
    card = Card("c", "{{ a }}", variables=[Variable("a"), Variable("b"), Variable("key", "secret")])
    assert said(form_of(card)) == [("v1", "warning", "Variable 'b' is declared and not used.")]
    done = applied(form_of(card), [[["variables", "v1", "name"], "a"], [["variables", "v2", "default"], "x"]])
    assert done is not None
    assert [(where, kind) for where, kind, _ in said(done[0])] == [("v1", "error"), ("v2", "error")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{% for x in n %}{{ x }}{% endfor %}", "'n' is gone through in a loop, but is of type integer"),
        ("{{ n.size }}", "'n' is asked for a field, but is of type integer"),
        ("{{ n }}", ""),
    ],
)  # fmt: skip
def test_a_variable_is_not_used_as_its_type_cannot_be(text: str, message: str) -> None:
    found = [
        one.partition(", not ")[0] for _, _, one in said(form_of(Card("c", text, variables=[Variable("n", "integer")])))
    ]
    assert found == ([message] if message else [])


def test_half_a_tag_is_an_error_at_its_place_and_other_texts_keep_their_marks() -> None:
    card = Card("c", messages=[Message("system", "Be {{ tone }}."), Message("user", "{{ a }}")])
    found = checked("c", with_text(card, "one\ntwo {{ a", "m1"))
    error = found.marks[0]
    assert (error.where, error.kind, error.line) == ("m1", "error", 2)
    assert seen("one\ntwo {{ a", error) == "{{ a"
    assert [(mark.where, mark.kind) for mark in found.marks[1:]] == [("m0", "variable")]


def test_untrusted_variables_are_told_apart_and_warned_of_in_a_system_message() -> None:
    card = Card("c", "{{ letter }}", system="Obey {{ letter }}.", variables=[Variable("letter", trust="untrusted")])
    marks = checked("c", form_of(card)).marks
    assert [(mark.where, mark.kind) for mark in marks] == [("m0", "warning"), ("m0", "untrusted"), ("m1", "untrusted")]
    assert seen("Obey {{ letter }}.", marks[0]) == "letter"


def test_a_secret_in_a_message_is_an_error() -> None:
    card = Card("c", "Hi", variables=[Variable("key", "secret")])
    assert said(with_text(card, "{{ key }}"))[0][1] == "error"


def test_characters_that_are_not_seen_are_pointed_out() -> None:
    text = "safe \u202etxet\x1b"
    found = said(form_of(Card("c", text)))
    assert [message for _, _, message in found] == [
        "A character that is not seen: U+202E.",
        "A character that is not seen: U+001B.",
    ]


def test_empty_and_endless_messages_are_errors() -> None:
    assert said(with_text(Card("c", "x"), "")) == [("m0", "error", "This message is empty.")]
    assert said(with_text(Card("c", "x"), "x" * 100_001))[0][1] == "error"


def test_wrong_settings_are_said_beside_them() -> None:
    done = applied(form_of(Card("c", "x")), [[["settings", "other"], "{"]])
    assert done is not None
    assert [(where, kind) for where, kind, _ in said(done[0])] == [("settings", "error")]


def test_what_is_only_wrong_with_the_whole_is_said_of_the_whole() -> None:
    done = applied(form_of(Card("c", "x")), [[["settings", "temperature"], "9"]])
    assert done is not None
    ((where, kind, message),) = said(done[0])
    assert (where, kind) == ("", "error")
    assert "temperature" in message


def test_marks_have_a_limit() -> None:
    assert len(checked("c", form_of(Card("c", "{{ a }}" * 5_000))).marks) == MAX_MARKS
