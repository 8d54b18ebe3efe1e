"""Editing a card that a real server keeps, alone and while others do the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec import structs

from promptcard_ext.core.card import Card, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import Conflict, NotFound
from promptcard_ext.kernel.provenance import here
from promptcard_ext.kernel.workspace import Workspace
from promptcard_ext.widgets.base import Throttle
from promptcard_ext.widgets.card_editor import CardEditor
from promptcard_ext.widgets.editing.desk import Desk
from promptcard_ext.widgets.editing.server_place import ServerPlace
from promptcard_ext.widgets.still_editor import StillEditor
from tests.support import GREET, greetings
from tests.widgets.fakes import Hands


class Editor:
    """Somebody who edits; nothing happens until time passes."""

    def __init__(self, workspace: Workspace, card: str | Card) -> None:
        self.hands, self.told = Hands(), list[dict[str, Any]]()
        name = card if isinstance(card, str) else card.name
        self.place = ServerPlace(workspace.api, name, workspace.name)
        self.desk = Desk(
            self.place,
            card if isinstance(card, Card) else None,
            self.told.append,
            lambda: None,
            work=lambda errand: errand(),
            throttle=lambda action, interval_s: Throttle(
                action, interval_s, later=self.hands.later, clock=self.hands.clock
            ),
        )

    def type(self, text: str, key: str = "m0") -> None:
        self.set(["messages", key, "content"], text)

    def set(self, path: list[str], value: Any) -> None:
        assert self.desk.edit([[path, value]], "view")
        self.hands.advance(20)

    @property
    def text(self) -> str:
        return str(self.desk.draft.now().form["messages"][0]["content"])


@pytest.fixture
def edit(workspace: Workspace) -> Iterator[Callable[..., Editor]]:
    made: list[Editor] = []

    def open_editor(card: str | Card = GREET.name) -> Editor:
        made.append(Editor(workspace, card))
        return made[-1]

    yield open_editor
    for one in made:
        one.desk.close()


def test_a_draft_is_kept_as_somebody_types_and_found_again(workspace: Workspace, edit: Callable[..., Editor]) -> None:
    workspace.save(GREET)
    ada = edit()
    ada.type("Good day {{ who }}.")
    assert ada.desk.status()["kept"] == ada.desk.status()["revision"] == 1
    stored = workspace.api.drafts.get("greet").value
    assert stored.content is not None
    assert stored.content["template"] == "Good day {{ who }}."
    # As after a restart of the kernel.
    again = edit()
    assert again.text == "Good day {{ who }}."
    assert again.desk.status()["changed"]
    assert workspace.card("greet").template == GREET.template


def test_half_a_card_is_not_sent_and_what_was_kept_before_stays(
    workspace: Workspace, edit: Callable[..., Editor]
) -> None:
    workspace.save(GREET)
    ada = edit()
    ada.type("Good day {{ who }}.")
    ada.type("Good day {{ who")
    assert ada.desk.status()["kept"] == 1
    assert ada.desk.status()["notice"] == ""
    assert ada.text == "Good day {{ who"
    assert edit().text == "Good day {{ who }}."
    ada.type("Good day {{ who }}!")
    assert edit().text == "Good day {{ who }}!"


def test_saving_makes_a_version_with_its_note_and_the_draft_is_gone(
    workspace: Workspace, edit: Callable[..., Editor]
) -> None:
    workspace.save(GREET)
    ada = edit()
    ada.type("Good day {{ who }}.")
    ada.set(["title"], "Greeting")
    saved = ada.desk.save("more polite")
    assert (saved.version, saved.note, saved.title) == (2, "more polite", "Greeting")
    assert workspace.card("greet").template == "Good day {{ who }}."
    assert workspace.api.drafts.get("greet").value.content is None
    assert not ada.desk.status()["changed"]
    ada.hands.advance(20)
    assert workspace.api.drafts.get("greet").value.content is None
    made, here_now = workspace.api.versions.get("greet", 2).value.provenance, here()
    assert made is not None
    assert here_now is not None
    assert made.environment_hash == here_now.environment_hash
    assert ada.desk.save("nothing new").version == 2
    history = ada.desk.history()
    (name,) = {member.name for member in workspace.api.members.list()}
    assert [(line["version"], line["note"], line["by"]) for line in history] == [
        (2, "more polite", name),
        (1, "", name),
    ]


def test_a_draft_that_is_discarded_is_gone_on_the_server_too(workspace: Workspace, edit: Callable[..., Editor]) -> None:
    workspace.save(GREET)
    ada = edit()
    ada.type("Good day {{ who }}.")
    ada.desk.discard()
    ada.hands.advance(20)
    assert workspace.api.drafts.get("greet").value.content is None


def test_a_version_that_somebody_saved_meanwhile_is_not_overwritten_silently(
    workspace: Workspace, edit: Callable[..., Editor]
) -> None:
    workspace.save(structs.replace(GREET, variables=(Variable("who"),)))
    ada = edit()
    ada.type("Ada says hello to {{ who }}.")
    ada.set(["title"], "Hers")
    workspace.save(structs.replace(GREET, template="Somebody says hello to {{ who }}.", tags=("new",)))
    with pytest.raises(Conflict, match="version 2"):
        ada.desk.save("mine")
    assert workspace.card("greet").version == 2
    found = ada.desk.choices()
    assert found is not None
    assert (found["base"], found["theirs"]) == ("version 1", "version 2")
    chosen = {field["id"]: field["chosen"] for field in found["fields"]}
    assert chosen == {"title": "mine", "tags": "theirs", "messages.0": None, "variables.who": "theirs"}
    # What is typed meanwhile is neither lost nor stored over theirs.
    ada.set(["description"], "still typing")
    ada.desk.resolve({"messages.0": "mine", "variables.who": "mine"})
    saved = ada.desk.save("merged")
    assert (saved.version, saved.template, saved.title) == (3, "Ada says hello to {{ who }}.", "Hers")
    assert (saved.tags, saved.description) == (("new",), "still typing")


def test_a_save_that_waits_for_a_choice_stores_what_was_chosen(
    workspace: Workspace, edit: Callable[..., Editor], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.save(GREET)
    ada = edit()
    ada.type("Ada says hello to {{ who }}.")
    workspace.save(structs.replace(GREET, tags=("new",), template="Somebody says hello to {{ who }}."))
    with pytest.raises(Conflict):
        ada.desk.save("mine")
    saved: list[Card] = []
    saving = threading.Thread(target=lambda: saved.append(ada.desk.save("merged")))
    replace = ada.desk.draft.replace

    def late(form: Any) -> Any:
        saving.start()
        saving.join(1.0)  # it has ended by then unless it waits for us
        return replace(form)

    monkeypatch.setattr(ada.desk.draft, "replace", late)
    ada.desk.resolve({"messages.0": "mine"})
    saving.join(30)
    assert (saved[0].version, saved[0].template, saved[0].tags) == (3, "Ada says hello to {{ who }}.", ("new",))


def test_two_who_draft_at_once_are_told_of_each_other(workspace: Workspace, edit: Callable[..., Editor]) -> None:
    workspace.save(GREET)
    ada, grace = edit(), edit()
    ada.type("Ada: {{ who }}.")
    grace.type("Grace: {{ who }}.")
    assert not ada.desk.status()["conflict"]
    assert grace.desk.status()["conflict"]
    assert edit().text == "Ada: {{ who }}."
    found = grace.desk.choices()
    assert found is not None
    assert found["theirs"] == "a draft"
    grace.desk.resolve({"messages.0": "theirs"})
    assert grace.text == "Ada: {{ who }}."
    assert grace.desk.save().version == 2
    ada.set(["title"], "Later")
    assert ada.desk.save().title == "Later"


def test_a_draft_of_the_same_text_is_no_conflict(workspace: Workspace, edit: Callable[..., Editor]) -> None:
    workspace.save(GREET)
    ada, grace = edit(), edit()
    for one in (ada, grace):
        one.type("The same {{ who }}.")
    assert not grace.desk.status()["conflict"]
    assert grace.desk.save().version == 2


def test_a_new_card_is_made_by_its_first_version(workspace: Workspace, edit: Callable[..., Editor]) -> None:
    with pytest.raises(NotFound):
        edit("nobody-has-it")
    ada = edit(Card("fresh", "Hi {{ who }}"))
    assert (ada.desk.status()["fresh"], ada.desk.status()["keeps"]) == (True, False)
    ada.type("Hello {{ who }}")
    assert ada.desk.save("first").version == 1
    assert ada.desk.status()["keeps"]
    ada.type("Hello, {{ who }}")
    assert edit("fresh").text == "Hello, {{ who }}"


def test_a_card_that_is_given_does_not_take_the_place_of_a_draft(
    workspace: Workspace, edit: Callable[..., Editor]
) -> None:
    workspace.save(GREET)
    edit().type("A draft {{ who }}.")
    given = edit(structs.replace(GREET, template="Given {{ who }}."))
    assert given.desk.status()["conflict"]
    assert given.text == "Given {{ who }}."
    given.hands.advance(20)
    assert edit().text == "A draft {{ who }}."


def test_content_that_an_earlier_version_has_makes_none_and_says_so(
    workspace: Workspace, edit: Callable[..., Editor]
) -> None:
    workspace.save(GREET)
    workspace.save(structs.replace(GREET, template="Two {{ who }}."))
    ada = edit()
    ada.type(GREET.template)
    assert ada.desk.save().version == 1
    assert ada.desk.status()["notice"] == "Version 1 says this already; version 2 stays the latest."


def test_versions_and_labels_are_compared_and_taken(workspace: Workspace, edit: Callable[..., Editor]) -> None:
    workspace.save(GREET)
    workspace.save(structs.replace(GREET, template="Two {{ who }}."))
    workspace.api.labels.set("greet", "production", 1)
    ada = edit()
    (field,) = ada.desk.compare("production", "latest")
    assert field["lines"] == [("-", GREET.template), ("+", "Two {{ who }}.")]
    assert ada.desk.history()[1]["labels"] == ["production"]
    ada.desk.take("production")
    ada.hands.advance(20)
    assert ada.text == GREET.template
    with pytest.raises(NotFound):
        ada.desk.compare("nowhere", "draft")


def test_cases_prices_and_included_texts_are_those_of_the_workspace(
    workspace: Workspace, edit: Callable[..., Editor]
) -> None:
    workspace.save(Card("style", "Be brief."))
    workspace.save(GREET, [*greetings(3), Case({"who": "Zoë"}, name="zoe")])
    ada = edit()
    assert [case["name"] for case in ada.desk.sight.cases("zo")] == ["zoe"]
    assert len(ada.desk.sight.cases("")) == 4
    assert "openai:gpt-4o-mini" in ada.desk.sight.models()
    ada.desk.choose(ada.desk.sight.cases("zo")[0]["uid"], "openai:gpt-4o-mini")
    ada.type('{% include "style@1" %} Say hello to {{ who }}.')
    seen = ada.told[-1]
    assert seen["preview"]["messages"][0]["text"] == "Be brief. Say hello to Zoë."
    assert seen["preview"]["cost"]["text"].startswith("$")
    saved = ada.desk.save()
    assert saved.includes == {"style@1": "Be brief."}
    ada.type('{% include "style@7" %} {{ who }}')
    assert "style@7" in ada.told[-1]["preview"]["problem"]


def test_a_workspace_and_the_package_open_editors(workspace: Workspace) -> None:
    saved = workspace.save(GREET)
    editor = workspace.edit("greet")
    assert isinstance(editor, StillEditor)
    assert editor.card == saved
    assert editor.save("nothing") == saved
    editor.close()


def test_an_editor_that_is_open_is_returned_again_unless_a_card_is_given(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptcard_ext.widgets.card_editor.render_mode", lambda: "widget")
    saved = workspace.save(GREET)
    first = workspace.edit("greet")
    assert workspace.edit("greet") is first
    other = workspace.edit(structs.replace(saved, template="Other {{ who }}."))
    assert other is not first
    assert isinstance(first, CardEditor)
    assert first.comm is None
    assert other.card.template == "Other {{ who }}."
    other.close()
    third = workspace.edit("greet")
    assert third is not other
    third.close()
