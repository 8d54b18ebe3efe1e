"""The rows of the case table, what was changed in them, and the way back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cases import SavedCase
from promptcard_ext.core.errors import CardError
from promptcard_ext.widgets.case_columns import Column
from promptcard_ext.widgets.case_draft import QUARANTINED, Draft

MAX_UNDO = 200
Only = Literal["", "changed", "problems", "conflicts", "quarantined"]


class Row(NamedTuple):
    """A case of the table; the key stays the same whatever becomes of it."""

    key: int
    draft: Draft


class Base(NamedTuple):
    """What a row was when it was read or saved, and its `SavedCase.state` on the server."""

    draft: Draft
    state: str = ""

    @classmethod
    def of(cls, case: Case | SavedCase) -> Base:
        """Return what the row of a case is at first."""
        return cls(Draft.of(case), case.state if isinstance(case, SavedCase) else "")


class Counts(NamedTuple):
    """Rows of the whole table, and how many of them are what."""

    total: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    problems: int = 0
    conflicts: int = 0
    quarantined: int = 0


class Sheet:
    """Rows with undo and redo. Not safe for threads: the table has a lock.

    Args:
        columns: Of the table.
        cases: What is there at first.

    Attributes:
        rows: All rows, in order; never changed in place.
        places: Where they stand, by key.
        bases: What rows were, by key; rows that are new have none.
        notes: What the server said of rows, by key.
        conflicts: Rows that somebody else has changed, with what is there now; None was deleted.
        edition: Changes whenever a place stands for another row than before.
    """

    def __init__(self, columns: Sequence[Column], cases: Iterable[Case | SavedCase] = ()) -> None:
        self.columns = tuple(columns)
        self.bases: dict[int, Base] = {}
        self.notes: dict[int, str] = {}
        self.conflicts: dict[int, SavedCase | None] = {}
        self.edition = self._next_key = 0
        self._past: list[list[Row]] = []
        self._future: list[list[Row]] = []
        self._visible: list[int] | None = None
        self.places: dict[int, int] = {}
        rows = []
        for case in cases:
            key, base = self._new_key(), Base.of(case)
            self.bases[key] = base
            rows.append(Row(key, base.draft))
        self._set(rows)

    def _new_key(self) -> int:
        self._next_key += 1
        return self._next_key

    def _set(self, rows: list[Row]) -> None:
        known, self.rows = self.places, rows
        self.places = {row.key: place for place, row in enumerate(rows)}
        if self.places != known:
            self.edition += 1
            if self._visible is not None:
                kept = [key for key in self._visible if key in self.places]
                self._visible = kept + [key for key in self.places if key not in known]
        self._uids = Counter(row.draft.uid for row in rows)

    def _step(self, rows: list[Row]) -> None:
        self._past.append(self.rows)
        del self._past[:-MAX_UNDO]
        self._future.clear()
        self._set(rows)

    # -- looking -------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return how many rows are seen."""
        return len(self.rows) if self._visible is None else len(self._visible)

    def seen(self, first: int, last: int) -> list[Row]:
        """Return seen rows from place ``first`` up to, not including, ``last``."""
        if self._visible is None:
            return self.rows[first:last]
        return [self.rows[self.places[key]] for key in self._visible[first:last]]

    def row(self, key: int) -> Row | None:
        """Return the row with a key."""
        place = self.places.get(key)
        return None if place is None else self.rows[place]

    def show(self, only: Only = "", text: str = "") -> None:
        """See only rows of a kind, or with a text in a cell; what is seen stays until this is called again."""
        wanted = text.casefold().strip()
        if not only and not wanted:
            self._visible = None
        else:
            self._visible = [row.key for row in self.rows if self._is(row, only) and self._has(row, wanted)]
        self.edition += 1

    def _is(self, row: Row, only: Only) -> bool:
        if only == "changed":
            return bool(self.state(row))
        if only == "problems":
            return bool(row.draft.wrong) or row.key in self.notes or self.blocked(row) != ""
        if only == "conflicts":
            return row.key in self.conflicts
        return only == "" or QUARANTINED in row.draft.tags

    def _has(self, row: Row, text: str) -> bool:
        return not text or any(text in column.found(row.draft).casefold() for column in self.columns)

    def state(self, row: Row) -> Literal["", "new", "changed"]:
        """Return whether a row is new, changed, or as it was."""
        base = self.bases.get(row.key)
        if base is None:
            return "new"
        return "changed" if row.draft.differs(base.draft) else ""

    def lacks(self, draft: Draft) -> list[Column]:
        """Return the columns of variables that have no value and no default."""
        return [
            column
            for column in self.columns
            if column.name
            and not column.unknown
            and column.name not in draft.variables
            and column.id not in draft.wrong
            and (column.variable is None or column.variable.default is msgspec.UNSET)
        ]

    def blocked(self, row: Row) -> str:
        """Return why a row cannot be saved, or an empty text."""
        for column in self.columns:
            if column.id in row.draft.wrong:
                return f"{column.title}: {row.draft.wrong[column.id].problem}"
        base = self.bases.get(row.key)
        if base is not None and base.draft.uid == row.draft.uid:
            return ""
        if self._uids[row.draft.uid] > 1:
            twin = next(one for one in self.rows if one.key != row.key and one.draft.uid == row.draft.uid)
            return f"Row {self.places[twin.key] + 1} has the same variables."
        if lacking := self.lacks(row.draft):
            return f"There is no value for {' and '.join(column.title for column in lacking)}."
        return ""

    def removed(self) -> dict[int, Base]:
        """Return what was taken out of the table and is still saved."""
        return {key: base for key, base in self.bases.items() if key not in self.places}

    def counts(self) -> Counts:
        """Count the rows."""
        states = Counter(self.state(row) for row in self.rows)
        return Counts(
            len(self.rows), states["new"], states["changed"], len(self.removed()),
            sum(1 for row in self.rows if self._is(row, "problems")), len(self.conflicts),
            sum(1 for row in self.rows if QUARANTINED in row.draft.tags),
        )  # fmt: skip

    def cases(self) -> list[Case]:
        """Return all rows as cases.

        Raises:
            CardError: A row cannot be one (``case_unfinished``).
        """
        for place, row in enumerate(self.rows, 1):
            if problem := self.blocked(row):
                raise CardError(
                    f"Row {place} ('{row.draft.name:.60}') is not finished: {problem}",
                    hint="Mend it in the table, or delete it there.",
                    code="case_unfinished",
                )
        return [row.draft.case() for row in self.rows]

    # -- changing ------------------------------------------------------------------------------------------------------

    def change(self, drafts: Mapping[int, Draft], added: Iterable[Draft] = ()) -> list[int]:
        """Give rows other contents, add rows at the end, and return the keys of those; one step for undo."""
        rows = [Row(row.key, drafts[row.key]) if row.key in drafts else row for row in self.rows]
        new = [Row(self._new_key(), draft) for draft in added]
        if new or any(one is not other for one, other in zip(rows, self.rows, strict=True)):
            for key in drafts:
                self.notes.pop(key, None)
            self._step(rows + new)
        return [row.key for row in new]

    def each(self, keys: Iterable[int], change: Callable[[Draft], Draft]) -> None:
        """Change rows in the same way; one step for undo."""
        rows = filter(None, map(self.row, keys))
        self.change({row.key: after for row in rows if (after := change(row.draft)).differs(row.draft)})

    def remove(self, keys: Iterable[int]) -> None:
        """Take rows out of the table; one step for undo."""
        gone = set(keys) & self.places.keys()
        if gone:
            self._step([row for row in self.rows if row.key not in gone])

    def duplicate(self, keys: Iterable[int]) -> list[int]:
        """Add copies of rows at the end and return their keys; they need another value before they can be saved."""
        copies = [msgspec.structs.replace(row.draft, name="") for row in filter(None, map(self.row, keys))]
        return self.change({}, copies)

    @property
    def can_undo(self) -> bool:
        """Tell whether there is a step to take back."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Tell whether there is a step to take again."""
        return bool(self._future)

    def undo(self) -> None:
        """Take the last step back."""
        if self._past:
            self._future.append(self.rows)
            self._set(self._past.pop())

    def redo(self) -> None:
        """Take the step again that was taken back last."""
        if self._future:
            self._past.append(self.rows)
            self._set(self._future.pop())

    # -- saving --------------------------------------------------------------------------------------------------------

    def unsaved(self) -> Iterator[Row]:
        """Yield rows that are new or changed and could be saved."""
        return (row for row in self.rows if self.state(row) and not self.blocked(row) and row.key not in self.conflicts)

    def were_saved(self, stored: Mapping[int, tuple[Draft, Base]]) -> None:
        """Take note that rows are stored as they were sent; whatever was changed meanwhile stays changed."""
        for key, (_, base) in stored.items():
            self._settle(key)
            self.bases[key] = base
        # A name may have been made up; that is no step of anybody.
        self.rows = [
            Row(row.key, stored[row.key][1].draft)
            if row.key in stored and not row.draft.differs(stored[row.key][0])
            else row
            for row in self.rows
        ]

    def was_removed(self, key: int) -> None:
        """Take note that a row that was taken out is not stored any more."""
        self._settle(key)
        self.bases.pop(key, None)

    def _settle(self, key: int) -> None:
        self.notes.pop(key, None)
        self.conflicts.pop(key, None)

    def has_conflict(self, key: int, theirs: SavedCase | None) -> None:
        """Take note that somebody else has changed the case of a row; one that was deleted here comes back."""
        self.conflicts[key] = theirs
        if key not in self.places:
            draft = self.bases[key].draft if theirs is None else Draft.of(theirs)
            self._set([*self.rows, Row(key, draft)])

    def resolve(self, key: int, take: Literal["mine", "theirs"]) -> None:
        """End a conflict: keep what stands in the table, to be saved over theirs, or take theirs."""
        if key not in self.conflicts:
            return
        theirs = self.conflicts.pop(key)
        base = None if theirs is None else Base.of(theirs)
        if take == "theirs":
            if base is None:
                self.remove([key])
            else:
                self.change({key: base.draft})
        if base is None:
            self.bases.pop(key, None)
        else:
            self.bases[key] = base
