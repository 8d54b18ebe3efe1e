"""What the magics do in a workspace of a real server."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from promptcard_ext.client.discovery import Address
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import NotFound
from promptcard_ext.kernel import shelf as shelves
from promptcard_ext.kernel import workspace as workspaces
from promptcard_ext.kernel.magic_names import Completion
from promptcard_ext.kernel.shelf import Place, Wanted, WorkspaceShelf
from promptcard_ext.kernel.workspace import Workspace
from tests.notebooks.conftest import Served

ECHO = Wanted(["simulated:echo"])


@pytest.fixture
def shelf(served: Served) -> WorkspaceShelf:
    return WorkspaceShelf(served.workspace)


@pytest.fixture
def card(shelf: WorkspaceShelf) -> Card:
    """A card of its own for each test, with a case."""
    card = shelf.save(Card(f"card-{uuid4().hex[:8]}", "Say hello to {{ who }}.", title="Hello", tags=("demo",))).card
    assert shelf.add_case(card.name, Case({"who": "Ada"}, [Assertion("contains", "Ada")], name="ada")) == "added"
    return card


def test_the_same_content_is_saved_once(shelf: WorkspaceShelf, card: Card) -> None:
    again = shelf.save(card)
    assert (again.card.label, again.new) == (card.label, False)
    other = shelf.save(Card(card.name, "Greet {{ who }}."))
    assert (other.card.version, other.new) == (2, True)
    assert shelf.card(card.name, "latest").version == 2
    assert shelf.card(card.name, "1").template == card.template


def test_a_case_takes_the_place_of_its_namesake_and_of_its_twin(
    shelf: WorkspaceShelf, card: Card, served: Served
) -> None:
    ada = Case({"who": "Ada"}, [Assertion("contains", "Ada")], name="ada")
    assert shelf.add_case(card.name, ada) == "unchanged"
    assert shelf.add_case(card.name, Case({"who": "Grace"}, name="ada")) == "changed"
    assert shelf.add_case(card.name, Case({"who": "Grace"}, name="grace")) == "changed"
    assert shelf.add_case(card.name, Case({"who": "Bo"}, name="gra")) == "added"
    assert [(case.name, case.variables["who"]) for case in served.workspace.cases(card.name)] == [
        ("grace", "Grace"),
        ("gra", "Bo"),
    ]


def test_the_same_is_run_once(shelf: WorkspaceShelf, card: Card) -> None:
    first = shelf.run(card, ECHO).wait(60)
    assert (first.counts.passed, first.reused) == (1, False)
    again = shelf.run(card, ECHO._replace(concurrency=2, name="other"))
    assert (again.id, again.reused) == (first.id, True)
    assert again.wait(60).counts.passed == 1
    new = shelf.run(card, ECHO._replace(again=True))
    assert new.id != first.id
    new.wait(60)
    assert [one.id for one in shelf.runs(5, card.name)] == [new.id, first.id]
    assert shelf.runs(1, card.name)[0].models == ("simulated:echo",)


def test_what_is_not_there_is_not_found(shelf: WorkspaceShelf, card: Card) -> None:
    for ask in (
        lambda: shelf.card("nothing-here", "latest"),
        lambda: shelf.card(card.name, "7"),
        lambda: shelf.runs(1, "nothing-here"),
        lambda: shelf.labels("nothing-here"),
    ):
        with pytest.raises(NotFound):
            ask()


@pytest.fixture
def completion(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Completion]:
    monkeypatch.setattr(workspaces, "latest", served.workspace)
    yield Completion(Place())


def test_names_versions_labels_and_models_of_the_server_are_completed(
    shelf: WorkspaceShelf, card: Card, served: Served, completion: Completion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptcard_ext.kernel.magic_names.PATIENCE_S", 30.0)
    shelf.save(Card(card.name, "Greet {{ who }}."))
    served.workspace.api.labels.set(card.name, "production", 1)
    shelf.run(card, ECHO._replace(models=["simulated:echo", "simulated:steady?latency_ms=1"])).wait(60)

    def offered(line: str) -> list[str]:
        return completion.offers(line, 0, len(line))[1]

    assert offered(f"%run_card {card.name[:9]}") == [card.name]
    assert offered(f"%run_card {card.name}@") == [f"{card.name}@{one}" for one in ("latest", "production", "2", "1")]
    assert "simulated:steady?latency_ms=1" in offered(f"%run_card {card.name} simulated:steady")
    assert offered("%run_card nothing-here@") == []


def test_without_a_connection_the_server_of_the_kernel_is_the_place_and_with_one_its_workspace(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def opened(address: Address) -> Workspace:
        asked.append(address)
        return served.workspace

    monkeypatch.setattr(workspaces, "latest", None)
    monkeypatch.setattr(shelves, "find_server", lambda: served.workspace.api.session.address)
    monkeypatch.setattr(shelves, "opened", opened)
    place = Place()
    found = place.shelf()
    assert found.workspace_id == served.workspace.id
    assert place.shelf() is found
    assert len(asked) == 1
    made = workspaces.connect(served.workspace.api.session.address.url, served.token)
    assert workspaces.latest is made
    assert place.shelf() is not found
    assert place.shelf() is place.shelf()
    made.api.session.close()
