"""Where the magics keep cards and find runs: a workspace of the server or, without one, this kernel."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple, Protocol

from msgspec import structs

from promptcard_ext.client.discovery import find_server
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cases import BulkCases
from promptcard_ext.core.errors import CardError, NotFound, Unavailable
from promptcard_ext.core.fingerprint import fingerprint
from promptcard_ext.kernel import workspace as workspaces
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.listing import CardLine, RunLine
from promptcard_ext.kernel.provenance import here
from promptcard_ext.kernel.workspace import Workspace, opened

MAX_NAMED = 500


class Kept(NamedTuple):
    """A card as it is kept.

    Attributes:
        version_id: Id of the version on the server; None in this kernel.
        new: Whether there was no version with this content.
    """

    card: Card
    version_id: str | None
    new: bool


class Wanted(NamedTuple):
    """How a card is to be run."""

    models: Sequence[str]
    repeats: int = 1
    concurrency: int = 16
    budget: str | None = None
    judges: Sequence[str] = ()
    embedder: str | None = None
    name: str = ""
    again: bool = False


class Shelf(Protocol):
    """What the magics ask of a place that keeps cards.

    Attributes:
        where: What to call it: ``workspace 'Support'``.
        workspace_id: Id of the workspace, if it is one.
    """

    where: str
    workspace_id: str | None

    def save(self, card: Card) -> Kept:
        """Save a card as its next version, unless a version has this content."""

    def card(self, name: str, which: str) -> Card:
        """Return a version of a card, by number or label; ``latest`` is the newest."""

    def add_case(self, card: str, case: Case) -> str:
        """Save a case in place of one with its name or its variables; return ``added``, ``changed``, ``unchanged``."""

    def cards(self) -> list[CardLine]:
        """Return the cards, by name."""

    def labels(self, card: str) -> list[str]:
        """Return what may stand behind ``name@``: labels, and numbers, the newest first."""

    def runs(self, number: int, card: str | None = None) -> list[RunLine]:
        """Return the latest runs, newest first."""

    def run(self, card: Card, wanted: Wanted) -> RunHandle:
        """Start a run, or return one that is the same."""


class WorkspaceShelf:
    """A workspace of the server."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._api = workspace, workspace.api
        self.where = f"workspace '{workspace.name}'"
        self.workspace_id: str | None = workspace.id

    def save(self, card: Card) -> Kept:
        """Save a card as its next version, unless a version has this content."""
        saved = self._api.cards.save(card, here())
        return Kept(structs.replace(card, version=saved.version), str(saved.version_id), saved.created)

    def card(self, name: str, which: str) -> Card:
        """Return a version of a card, by number or label."""
        return self._api.versions.get(name, which).value.card

    def add_case(self, card: str, case: Case) -> str:
        """Save a case in place of one with its name or its variables."""
        namesakes = [one.case_uid for one in self._api.cases.list(card, text=case.name[:200]) if one.name == case.name]
        gone = [uid for uid in namesakes if uid != case.uid]
        done = self._api.cases.change(card, BulkCases([case], gone))
        if done.changed or (done.added and gone):
            return "changed"
        return "added" if done.added else "unchanged"

    def cards(self) -> list[CardLine]:
        """Return the cards, by name."""
        return [
            CardLine(one.name, one.latest_version, one.title, tuple(one.tags), one.updated_at)
            for one in self._api.cards.list()
        ]

    def labels(self, card: str) -> list[str]:
        """Return labels and numbers of versions."""
        latest = self._api.cards.get(card).value.latest_version
        return [*(one.label for one in self._api.labels.list(card)), *_numbers(latest)]

    def runs(self, number: int, card: str | None = None) -> list[RunLine]:
        """Return the latest runs, newest first."""
        found = islice(self._api.runs.list(card=card, page=max(1, min(number, 200))), number)
        return [
            RunLine(str(one.id), one.name, one.status, one.counts, tuple(one.plan.models), one.created_at)
            for one in found
        ]

    def run(self, card: Card, wanted: Wanted) -> RunHandle:
        """Start a run, or return one that is the same."""
        return self._workspace.run(
            card,
            wanted.models,
            repeats=wanted.repeats,
            concurrency=wanted.concurrency,
            budget_usd=wanted.budget,
            judge=wanted.judges,
            embedder=wanted.embedder,
            name=wanted.name,
            reuse=not wanted.again,
        )


class KernelShelf:
    """Cards, cases and runs of this kernel; they are gone when it ends."""

    where: str = "this kernel"
    workspace_id: str | None = None

    def __init__(self) -> None:
        self._versions: dict[str, list[Card]] = {}
        self._changed: dict[str, datetime] = {}
        self._cases: dict[str, dict[str, Case]] = {}
        self._runs: list[tuple[str, str, RunLine, RunHandle]] = []

    def save(self, card: Card) -> Kept:
        """Save a card as its next version, unless a version has this content."""
        if card.references:
            card = card.compose(self._version)
        versions = self._versions.setdefault(card.name, [])
        self._changed[card.name] = datetime.now(UTC)
        for index, known in enumerate(versions):
            if known.content_hash == card.content_hash:
                versions[index] = structs.replace(card, version=known.version, note=known.note)
                return Kept(versions[index], None, new=False)
        versions.append(structs.replace(card, version=len(versions) + 1))
        return Kept(versions[-1], None, new=True)

    def card(self, name: str, which: str) -> Card:
        """Return a version of a card, by number."""
        versions = self._versions.get(name, [])
        found = versions[-1] if which == "latest" and versions else None
        if which.isdecimal() and len(which) < 10:
            found = self._version(name, int(which))
        if found is not None:
            return found
        raise NotFound(
            f"There is no version '{name}@{which}' in {self.where}."
            if versions
            else f"There is no card '{name}' here.",
            hint="'%cards' lists those that there are; '%%card' makes one.",
        )

    def _version(self, name: str, number: int) -> Card | None:
        return next((one for one in self._versions.get(name, ()) if one.version == number), None)

    def add_case(self, card: str, case: Case) -> str:
        """Save a case in place of one with its name or its variables."""
        cases = self._cases.setdefault(card, {})
        known = cases.get(case.name)
        if known == case:
            return "unchanged"
        twins = [name for name, one in cases.items() if one.uid == case.uid and name != case.name]
        for name in twins:
            del cases[name]
        cases[case.name] = case
        return "changed" if known is not None or twins else "added"

    def cards(self) -> list[CardLine]:
        """Return the cards, by name."""
        newest = [self._versions[name][-1] for name in sorted(self._versions)]
        return [CardLine(one.name, one.version, one.title, one.tags, self._changed[one.name]) for one in newest]

    def labels(self, card: str) -> list[str]:
        """Return the numbers of versions."""
        return _numbers(len(self._versions.get(card, ())))

    def runs(self, number: int, card: str | None = None) -> list[RunLine]:
        """Return the latest runs, newest first."""
        found = (entry for entry in reversed(self._runs) if card in (None, entry[1]))
        return [line._replace(status=run.status, counts=run.counts) for _, _, line, run in islice(found, number)]

    def run(self, card: Card, wanted: Wanted) -> RunHandle:
        """Start a run, or return one that is the same."""
        from promptcard_ext.kernel.run import run as start

        cases = list(self._cases.get(card.name, {}).values())
        if not cases:
            raise CardError(f"Card '{card.name}' has no test cases.", hint="'%%case' saves one.", code="no_cases")
        same = fingerprint(
            [card.content_hash], wanted.models, cases,
            repeats=wanted.repeats, judges=wanted.judges, embedder=wanted.embedder,
        )  # fmt: skip
        for known, name, _, earlier in reversed(self._runs):
            useful = earlier.status not in ("failed", "cancelling", "cancelled")
            if not wanted.again and (known, name) == (same, card.name) and useful:
                earlier.reused = True
                return earlier
        run = start(
            card,
            cases,
            list(wanted.models),
            repeats=wanted.repeats,
            concurrency=wanted.concurrency,
            judge=wanted.judges,
            embedder=wanted.embedder,
            budget_usd=wanted.budget,
            name=wanted.name,
        )
        line = RunLine("", run.name, run.status, run.counts, tuple(wanted.models), datetime.now(UTC))
        self._runs.append((same, card.name, line, run))
        return run


def _numbers(latest: int) -> list[str]:
    return [str(number) for number in range(latest, max(0, latest - MAX_NAMED), -1)]


class Place:
    """Finds the shelf: the workspace of the last `pc.connect`, else the server of this kernel, else this kernel."""

    def __init__(self) -> None:
        self._local = KernelShelf()
        # Guards the rest: completion asks from another thread. Held while a server is looked for.
        self._lock = threading.Lock()
        self._found: Workspace | None = None
        self._shelf: tuple[Workspace, WorkspaceShelf] | None = None
        self._alone = False

    def shelf(self) -> Shelf:
        """Return where cards are kept.

        Raises:
            PromptCardError: There is a server, and it cannot be used.
        """
        with self._lock:
            if workspaces.latest is None and self._found is None and not self._alone:
                self._look()
            workspace = workspaces.latest or self._found
            if workspace is None:
                return self._local
            if self._shelf is None or self._shelf[0] is not workspace:
                self._shelf = (workspace, WorkspaceShelf(workspace))
            return self._shelf[1]

    def _look(self) -> None:
        try:
            self._found = opened(find_server())
        except Unavailable as error:
            # A Jupyter server without us is as good as none; one that is ours and away is not, nor one that somebody
            # has named: what was meant for it must not end up here.
            if error.code not in ("server_not_found", "no_extension") or os.environ.get("PROMPTCARDS_URL"):
                raise
            self._alone = True
