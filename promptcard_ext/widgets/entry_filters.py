"""Which entries of a comparison a filter leaves."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

from promptcard_ext.core.results import Outcome
from promptcard_ext.kernel.compared_entry import Entry
from promptcard_ext.kernel.comparison import Comparison

PASS, FAIL = Outcome.PASS, Outcome.FAIL
_DECIDED = frozenset({(PASS, FAIL), (FAIL, PASS)})


def _outcomes(entry: Entry) -> tuple[Outcome, Outcome] | None:
    return None if entry.a is None or entry.b is None else (entry.a.outcome, entry.b.outcome)


def _other_flip(entry: Entry) -> bool:
    outcomes = _outcomes(entry)
    return outcomes is not None and outcomes[0] is not outcomes[1] and outcomes not in _DECIDED


FILTERS: dict[str, Callable[[Entry], bool]] = {
    "flips": lambda entry: entry.pair is not None and entry.pair.flipped,
    "to_fail": lambda entry: _outcomes(entry) == (PASS, FAIL),
    "to_pass": lambda entry: _outcomes(entry) == (FAIL, PASS),
    "other": _other_flip,
    "answers": lambda entry: entry.pair is not None and entry.pair.answer_changed,
    "assertions": lambda entry: entry.pair is not None and entry.pair.assertions_changed,
    "only_a": lambda entry: entry.b is None,
    "only_b": lambda entry: entry.a is None,
    "all": lambda entry: True,
}


class EntryFilters:
    """Places of entries by filter; four or eight bytes for each place in each filter."""

    def __init__(self, comparison: Comparison) -> None:
        self._entries = comparison.entries
        self._found = {name: array("L") for name in FILTERS}
        for place, entry in enumerate(self._entries):
            for name, has in FILTERS.items():
                if has(entry):
                    self._found[name].append(place)

    def counts(self) -> dict[str, int]:
        """Return how many entries each filter leaves."""
        return {name: len(places) for name, places in self._found.items()}

    def places(self, name: str, text: str = "") -> array[int]:
        """Return the places of the entries that a filter leaves.

        Args:
            name: One of `FILTERS`; an unknown one leaves nothing.
            text: In any case, to be found in the name of the case, version, model or in a reason.
        """
        found = self._found.get(name, array("L"))
        wanted = text.casefold().strip()
        if not wanted:
            return found
        # Names are few, entries are many.
        known: dict[str, bool] = {}

        def has(value: str) -> bool:
            if value not in known:
                known[value] = wanted in value.casefold()
            return known[value]

        return array("L", (place for place in found if any(map(has, _texts(self._entries[place])))))

    def clear(self) -> None:
        """Let go of the entries."""
        self._entries = []
        self._found = {name: array("L") for name in FILTERS}


def _texts(entry: Entry) -> list[Any]:
    rows = [row for row in (entry.a, entry.b) if row is not None]
    return [text for row in rows for text in (row.case, row.label, row.model, row.reason) if text]
