import gc
import json
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import promptcard_ext as pc
from promptcard_ext.core.card import Card, Variable
from promptcard_ext.core.errors import CardError, TemplateError
from promptcard_ext.kernel import display
from promptcard_ext.widgets.base import Throttle
from promptcard_ext.widgets.card_editor import CardEditor
from promptcard_ext.widgets.editing.local_place import LocalPlace
from promptcard_ext.widgets.editing.places import Place
from promptcard_ext.widgets.still_editor import StillEditor
from tests.widgets.fakes import FakeComm, Hands

GREET = Card("greet", "Hello {{ who }}")
WIDGET = "application/vnd.jupyter.widget-view+json"


class Desk:
    """An editor, its two comms, and what it does in the background, all in the test's hands."""

    def __init__(self, place: Place, comms: list[FakeComm], hands: Hands, mine: Card | None = None) -> None:
        self.hands, self.errands = hands, list[Callable[[], None]]()
        self.editor = CardEditor(
            place,
            mine,
            work=self.errands.append,
            throttle=lambda action, interval_s: Throttle(action, interval_s, later=hands.later, clock=hands.clock),
        )
        found = {one.comm_id: one for one in comms}
        self.stream, self.channel = found[self.editor.model_id], found[self.editor.channel]

    def settle(self) -> None:
        """Let time pass until nothing is left to do."""
        for _ in range(20):
            self.hands.advance(5)
            waiting, self.errands[:] = list(self.errands), []
            for errand in waiting:
                errand()

    def type(self, *changes: list[Any], by: str = "a") -> dict[str, Any]:
        return self.channel.ask("edit", changes=list(changes), by=by)[0]

    def ask(self, kind: str, **more: Any) -> dict[str, Any]:
        """Ask for something that is answered later, and return the answer."""
        self.channel.receive({"kind": kind, "rid": "later", **more})
        self.settle()
        (answer,) = [one["content"] for one in self.channel.sent if one["content"].get("rid") == "later"]
        self.channel.sent.clear()
        return answer

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [one["content"] for one in self.channel.sent if one["content"]["kind"] == kind]

    @property
    def form(self) -> dict[str, Any]:
        return self.channel.ask("ready")[0]["form"]


@pytest.fixture
def desk_of(comms: list[FakeComm], hands: Hands) -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def make(card: Card = GREET, cases: Any = ()) -> Desk:
        made.append(Desk(LocalPlace(card, cases), comms, hands))
        return made[-1]

    yield make
    for one in made:
        if hasattr(one, "editor"):
            one.editor.close()


def text(value: str, key: str = "m0") -> list[Any]:
    return [["messages", key, "content"], value]


# -- the protocol ----------------------------------------------------------------------------------------------------


def test_a_view_that_knows_nothing_gets_everything(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of()
    answer, _ = desk.channel.ask("ready")
    assert answer["form"]["messages"] == [{"key": "m0", "role": "user", "content": "Hello {{ who }}"}]
    assert (answer["revision"], answer["status"]["name"], answer["status"]["changed"]) == (0, "greet", False)


def test_a_change_has_a_number_and_all_views_are_told_of_it(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of()
    told = desk.type(text("Hi {{ who }}"), by="view 1")
    assert (told["kind"], told["revision"], told["by"]) == ("edited", 1, "view 1")
    assert told["changes"] == [(["messages", "m0", "content"], "Hi {{ who }}")]
    assert desk.type([["title"], "Greeting"], by="view 2")["revision"] == 2
    assert (desk.editor.card.template, desk.editor.card.title) == ("Hi {{ who }}", "Greeting")


def test_the_text_is_never_part_of_the_state(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of()
    for i in range(50):
        desk.type(text(f"a secret text {i}"))
    desk.settle()
    assert "secret" not in json.dumps([desk.stream.opened_with["state"], *desk.stream.states])
    assert len(json.dumps(desk.stream.states[-1])) < 1_500


def test_however_fast_somebody_types_there_are_few_messages(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of()
    desk.settle()
    desk.channel.sent.clear()
    desk.stream.sent.clear()
    for i in range(100):
        desk.channel.receive({"kind": "edit", "rid": str(i), "by": "a", "changes": [text(str(i))]})
        desk.hands.advance(0.1)
        while desk.errands:
            desk.errands.pop(0)()
    # Answers aside, which the view paces: at most two a second, and the last state is the last.
    assert len(desk.told("seen")) + len(desk.stream.states) <= 2 * 10 / 0.6 + 4
    desk.settle()
    assert desk.told("seen")[-1]["revision"] == 100


@pytest.mark.parametrize("message", [None, 7, [], {}, {"kind": "delete"}, {"kind": ["edit"]}])
def test_other_messages_are_not_answered(desk_of: Callable[..., Desk], message: object) -> None:
    desk = desk_of()
    desk.channel.receive(message)
    assert desk.channel.sent == []


@pytest.mark.parametrize(
    "changes", [None, "x", [["name", "x"]], [[["name"], "evil"]], [[["messages", "m0", "key"], "x"]]]
)
def test_what_is_no_change_is_refused_and_nothing_changes(desk_of: Callable[..., Desk], changes: object) -> None:
    desk = desk_of()
    answer, _ = desk.channel.ask("edit", changes=changes, by=3)
    assert answer["problem"]
    assert desk.editor.card == GREET


# -- what is seen ----------------------------------------------------------------------------------------------------


def test_marks_uses_and_preview_follow_what_is_typed(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of(GREET, [pc.Case({"who": "Ada"}, name="ada")])
    cases = desk.ask("cases", text="")
    assert [case["name"] for case in cases["cases"]] == ["ada"]
    assert "openai:gpt-4o-mini" in cases["models"]
    desk.channel.ask("look", case=cases["cases"][0]["uid"], model="openai:gpt-4o-mini")
    desk.type(text("Good day {{ who }}"))
    desk.settle()
    seen = desk.told("seen")[-1]
    assert (seen["revision"], seen["valid"], seen["uses"]) == (1, True, {"who": 1})
    assert seen["marks"] == [["m0", 12, 15, "variable", "", 0]]
    assert seen["preview"]["messages"] == [{"role": "user", "text": "Good day Ada", "cut": 0}]
    assert seen["preview"]["tokens"]["low"] <= 12 <= seen["preview"]["tokens"]["high"]
    assert seen["preview"]["cost"]["text"].startswith("$0.0")
    assert desk.channel.ask("ready")[0]["seen"] == seen


def test_without_a_case_the_preview_has_sample_values(desk_of: Callable[..., Desk]) -> None:
    variables = [Variable("a"), Variable("n", "integer"), Variable("e", "enum", values=("x", "y"))]
    card = Card("c", "{{ a }} {{ n }} {{ e }} {{ d }}", variables=[*variables, Variable("d", default="D")])
    desk = desk_of(card)
    desk.settle()
    assert desk.told("seen")[-1]["preview"]["messages"][0]["text"] == "‹a› 1 x D"


def test_an_unknown_price_is_told_as_unknown_and_a_case_that_does_not_fit_as_a_problem(
    desk_of: Callable[..., Desk],
) -> None:
    desk = desk_of(GREET, [pc.Case({"nobody": 1}, name="odd")])
    desk.channel.ask("look", case="", model="nobody:knows")
    desk.settle()
    assert desk.told("seen")[-1]["preview"]["cost"]["text"] == "price not known"
    uid = desk.ask("cases", text="")["cases"][0]["uid"]
    desk.channel.ask("look", case=uid, model="")
    desk.settle()
    assert "'nobody'" in desk.told("seen")[-1]["preview"]["problem"]


def test_hostile_text_arrives_as_text_and_what_is_edited_stays_what_it_is(desk_of: Callable[..., Desk]) -> None:
    hostile = "<img src=x onerror=alert(1)>\x1b[31m\u202e{{ who }}"
    desk = desk_of(Card("c", hostile, title=hostile, note=hostile), [pc.Case({"who": hostile}, name=hostile)])
    desk.settle()
    seen = desk.told("seen")[-1]
    assert seen["preview"]["messages"][0]["text"] == "<img src=x onerror=alert(1)>␛[31m�‹who›"
    assert sum(mark[3] == "warning" for mark in seen["marks"]) == 2
    assert desk.ask("cases", text="")["cases"][0]["name"].endswith("␛[31m�{{ who }}")
    assert desk.ask("history")["versions"][0]["note"].endswith("␛[31m�{{ who }}")
    assert desk.form["messages"][0]["content"] == hostile
    json.dumps(desk.channel.sent, ensure_ascii=False, default=str).encode()


# -- saving without a server -----------------------------------------------------------------------------------------


def test_what_is_edited_is_a_card_and_saving_returns_it(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of()
    assert desk.editor.card == GREET
    desk.type(text("Hi {{ who }}"))
    assert desk.ask("save", note="shorter")["label"] == desk.editor.card.label
    assert (desk.editor.card.template, desk.editor.card.note) == ("Hi {{ who }}", "shorter")
    assert desk.editor.save() == desk.editor.card
    assert not desk.editor.state["changed"]


def test_a_form_that_is_no_card_is_not_saved_and_stays(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of()
    desk.type(text("Hi {{ who"))
    answer = desk.ask("save", note="")
    assert answer["code"] == "template_syntax"
    with pytest.raises(TemplateError):
        desk.editor.save()
    with pytest.raises(CardError):
        _ = desk.editor.card
    assert desk.form["messages"][0]["content"] == "Hi {{ who"


def test_versions_are_compared_taken_and_the_draft_is_discarded(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of()
    desk.type(text("Hi {{ who }}"))
    desk.ask("save", note="two")
    desk.type(text("Bye {{ who }}"))
    assert [(one["version"], one["note"]) for one in desk.ask("history")["versions"]] == [(1, "two"), (0, "")]
    (field,) = desk.ask("compare", base="0", other="draft")["fields"]
    assert field["lines"] == [("-", "Hello {{ who }}"), ("+", "Bye {{ who }}")]
    assert desk.ask("compare", base="9", other="draft")["code"] == "not_found"
    desk.channel.receive({"kind": "take", "rid": "t", "version": "0"})
    desk.settle()
    assert desk.told("edited")[-1]["by"] == ""
    assert desk.editor.card.template == "Hello {{ who }}"
    desk.ask("discard")
    assert desk.editor.card.template == "Hi {{ who }}"
    assert not desk.editor.state["changed"]


def test_what_breaks_in_the_background_is_answered(
    desk_of: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = desk_of()
    monkeypatch.setattr(desk.editor._desk, "history", lambda: 1 / 0)
    desk.channel.receive({"kind": "history", "rid": "h"})
    desk.settle()
    assert desk.told("history")[-1]["code"] == "internal_error"


# -- without a kernel, and the end -----------------------------------------------------------------------------------


def test_it_shows_itself_live_and_as_html_and_as_text(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of()
    desk.type(text("Hi {{ who }} <script>alert(1)</script>"))
    data, _ = desk.editor._repr_mimebundle_()
    assert set(data) == {WIDGET, "text/html", "text/plain"}
    assert "<script" not in data["text/html"]
    assert '<b class="pc-v">{{ who }}</b>' in data["text/html"]
    assert "Hi {{ who }}" in data["text/plain"]
    desk.type(text("Hi {{ who"))
    data, _ = desk.editor._repr_mimebundle_()
    assert "The draft is not a card yet" in data["text/html"]
    assert "Hello" in data["text/html"]


def test_outside_of_a_notebook_there_is_an_editor_without_a_widget(comms: list[FakeComm]) -> None:
    editor = pc.edit(GREET)
    assert isinstance(editor, StillEditor)
    assert editor.card == GREET
    assert set(editor._repr_mimebundle_()[0]) == {"text/html", "text/plain"}
    assert editor.save("x") == GREET
    editor.close()
    assert comms == []


def test_in_a_notebook_it_is_a_widget(comms: list[FakeComm], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptcard_ext.widgets.card_editor.render_mode", lambda: "widget")
    editor = pc.edit(GREET)
    assert isinstance(editor, CardEditor)
    assert display.live_view is not None
    editor.close()
    assert all(one.closed for one in comms)


def test_closing_releases_everything(desk_of: Callable[..., Desk], comms: list[FakeComm]) -> None:
    desk = desk_of()
    desk.type(text("Hi"))
    gone = weakref.ref(desk.editor)
    desk.editor.close()
    desk.editor.close()
    desk.settle()
    assert all(one.closed for one in comms)
    del desk.editor, desk.stream, desk.channel
    comms.clear()
    gc.collect()
    assert gone() is None
