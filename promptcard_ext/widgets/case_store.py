"""Saving what was changed in the case table: in bulk, under the condition that nobody else was quicker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from promptcard_ext.client.api import WorkspaceApi
from promptcard_ext.core import wire
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cases import MAX_BULK, BulkCases, CaseNow, CasePatch, SavedCase, as_sent
from promptcard_ext.core.errors import CardError, Conflict, NotFound
from promptcard_ext.widgets.case_draft import Draft
from promptcard_ext.widgets.case_sheet import Base, Row

MAX_BYTES = 1_500_000
# A conflict takes its cases out of a request; who is in conflict every time is up against a machine.
MAX_ROUNDS = 5


@dataclass
class Changes:
    """What is to be saved, as it was when Save was pressed.

    Attributes:
        rows: New and changed rows, each with what it was.
        removed: What was taken out, by key.
    """

    rows: list[tuple[Row, Base | None]]
    removed: dict[int, Base]


@dataclass
class Saved:
    """What came of it.

    Attributes:
        stored: Rows that are stored now, by key, with the case that was sent.
        removed: Keys of those that are gone.
        conflicts: Rows that somebody else has changed, with what is there now.
        refused: Rows that the server does not take, and why.
    """

    stored: dict[int, tuple[Draft, Case]] = field(default_factory=dict)
    removed: list[int] = field(default_factory=list)
    conflicts: dict[int, SavedCase | None] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Return it in one line."""
        parts = [
            f"{len(self.stored):,} saved",
            f"{len(self.removed):,} deleted" if self.removed else "",
            f"{len(self.conflicts):,} changed by somebody else meanwhile" if self.conflicts else "",
            f"{len(self.refused):,} refused" if self.refused else "",
        ]
        return ", ".join(filter(None, parts)) + "."


class CaseStore:
    """The cases of a card on the server.

    Args:
        card: Name of the card.
    """

    def __init__(self, api: WorkspaceApi, card: str) -> None:
        self.api, self.card = api, card

    def load(self) -> list[SavedCase]:
        """Return all cases, in their order."""
        return list(self.api.cases.list(self.card))

    def save(self, changes: Changes, saved: Saved, progress: Callable[[int], None] = lambda done: None) -> None:
        """Save changes; what is in conflict or refused is left out, and everything else is saved.

        Deletions come first, then cases that become others, then the rest: a case may get the variables of one that is
        deleted.

        Args:
            saved: Told what came of it, as soon as it is known.
            progress: Told how many rows are done.

        Raises:
            PromptCardError: The server is away, or refuses everything; what is in ``saved`` has been done.
        """
        work = _Work(self, saved, progress)
        gone = list(changes.removed)
        for first in range(0, len(gone), MAX_BULK):
            work.remove({key: changes.removed[key] for key in gone[first : first + MAX_BULK]})
        plain: list[tuple[Row, Base | None]] = []
        for row, base in changes.rows:
            if base is not None and base.draft.uid != row.draft.uid:
                work.become_another(row, base)
            else:
                plain.append((row, base))
        for chunk in _chunks(plain):
            work.save(chunk)


def _chunks(rows: Sequence[tuple[Row, Base | None]]) -> Iterator[list[tuple[Row, Base | None]]]:
    chunk: list[tuple[Row, Base | None]] = []
    size = 0
    for one in rows:
        length = len(wire.encode(one[0].draft.case()))
        if chunk and (size + length > MAX_BYTES or len(chunk) == MAX_BULK):
            yield chunk
            chunk, size = [], 0
        chunk.append(one)
        size += length
    if chunk:
        yield chunk


class _Work:
    def __init__(self, store: CaseStore, saved: Saved, progress: Callable[[int], None]) -> None:
        self._api, self._card = store.api.cases, store.card
        self._saved, self._progress = saved, progress

    def _tell(self) -> None:
        saved = self._saved
        self._progress(sum(map(len, (saved.stored, saved.removed, saved.conflicts, saved.refused))))

    def remove(self, bases: Mapping[int, Base]) -> None:
        """Delete cases, unless somebody has changed them since."""
        keys = {base.draft.uid: key for key, base in bases.items()}
        states = {base.draft.uid: base.state for base in bases.values()}
        outdated = self._change(BulkCases(delete=[*keys], based_on=states))
        for uid, key in keys.items():
            if outdated.get(uid) is not None:
                self._saved.conflicts[key] = outdated[uid]
            else:
                # Whoever was quicker in deleting it did what was wanted.
                self._saved.removed.append(key)
        self._tell()

    def save(self, rows: Sequence[tuple[Row, Base | None]]) -> None:
        """Store rows at once; when one of them is refused, in halves, so that it holds up no other."""
        cases = {row.key: as_sent(row.draft.case()) for row, _ in rows}
        states = {cases[row.key].uid: base.state if base else "" for row, base in rows}
        try:
            outdated = self._change(BulkCases([*cases.values()], based_on=states))
        except CardError as error:
            if error.code == "too_many_cases":
                raise
            if len(rows) == 1:
                self._saved.refused[rows[0][0].key] = error.message
                self._tell()
                return
            # One of them is to blame, and must not keep the others from being saved.
            self.save(rows[: len(rows) // 2])
            self.save(rows[len(rows) // 2 :])
            return
        for row, _ in rows:
            case = cases[row.key]
            if case.uid in outdated:
                self._saved.conflicts[row.key] = outdated[case.uid]
            else:
                self._saved.stored[row.key] = row.draft, case
        self._tell()

    def _change(self, bulk: BulkCases) -> dict[str, SavedCase | None]:
        """Make a bulk change without the cases that are in conflict; return those."""
        outdated: dict[str, SavedCase | None] = {}
        for _ in range(MAX_ROUNDS):
            bulk = BulkCases(
                [case for case in bulk.save if case.uid not in outdated],
                [uid for uid in bulk.delete if uid not in outdated],
                {uid: state for uid, state in bulk.based_on.items() if uid not in outdated},
            )
            if not bulk.save and not bulk.delete:
                return outdated
            try:
                self._api.change(self._card, bulk)
            except Conflict as conflict:
                outdated |= {one.case_uid: one.case for one in msgspec.convert(conflict.current, list[CaseNow])}
            else:
                return outdated
        raise Conflict("These cases are changed all the time; try again later.", code="etag_mismatch")

    def become_another(self, row: Row, base: Base) -> None:
        """Give a case other variables; it keeps its place."""
        key, case = row.key, as_sent(row.draft.case())
        try:
            now = self._api.get(self._card, base.draft.uid)
            if now.value.state != base.state:
                self._saved.conflicts[key] = now.value
                return
            self._api.update(self._card, now.value.id, _patch(case), etag=now.etag)
        except NotFound:
            self._saved.conflicts[key] = None
        except Conflict as conflict:
            self._saved.conflicts[key] = msgspec.convert(conflict.current, SavedCase)
        except CardError as error:
            self._saved.refused[key] = error.message
        else:
            self._saved.stored[key] = row.draft, case
        finally:
            self._tell()


def _patch(case: Case) -> CasePatch:
    fields: dict[str, Any] = {name: getattr(case, name) for name in CasePatch.__struct_fields__}
    return CasePatch(**fields)
