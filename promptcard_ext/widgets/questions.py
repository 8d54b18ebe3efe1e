"""Filters and orders that somebody looks through a run with, answered in the background while results come."""

from __future__ import annotations

import asyncio
import threading
import time
from array import array
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from promptcard_ext.core.errors import PromptCardError
from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.kernel import loop
from promptcard_ext.kernel.run_shape import RunShape
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.widgets.item_columns import CODES, SORTS, ItemColumns

REMEMBERED = 6
STEP = 500
MAX_TEXT = 500
# An order is made anew when results have come, but never for more than a tenth of the time.
RESTS = 10


class Question(NamedTuple):
    """Which items, and in which order.

    Attributes:
        outcome: Only those with this outcome; empty takes all.
        changed: Only those with another outcome than ``version:LABEL`` (same case, model and repeat) or ``run:ID``.
        text: Only those with this text in case, answer or message, in any case.
        sort: One of `SORTS`.
        descending: The other way round.
    """

    outcome: str = ""
    changed: str = ""
    text: str = ""
    sort: str = ""
    descending: bool = False

    @classmethod
    def of(cls, asked: Any) -> Question | None:
        """Return what a browser asks; None when it makes no sense."""
        if not isinstance(asked, list) or [type(part) for part in asked] != [str, str, str, str, bool]:
            return None
        outcome, changed, text, sort, descending = asked
        if (outcome and outcome not in set(Outcome)) or sort not in SORTS or max(len(text), len(changed)) > MAX_TEXT:
            return None
        return cls(outcome, changed, text.casefold(), sort, descending)


class Found:
    """What a question has found so far; ordinals are in their order.

    Attributes:
        ordinals: Of the items; replaced as a whole when their order changes, else appended to.
        looked: How many results were looked at.
        revision: Counts the times that the order has changed.
        problem: Why it cannot be answered.
        busy: Whether somebody looks for more.
        decided: Items that were compared with the one of another version.
    """

    def __init__(self, question: Question) -> None:
        self.question = question
        self.ordinals = array("I")
        self.looked = self.revision = 0
        self.problem = ""
        self.busy = False
        self.decided: set[int] = set()
        self._unsorted: list[int] = []
        self._rests_until = 0.0
        self._cases: tuple[tuple[int, int], array[int]] = ((-1, -1), array("I"))

    @property
    def settled(self) -> bool:
        """Whether everything that was found is in its place."""
        return not self._unsorted

    def state(self) -> list[Any]:
        """Return what the browser has to know: number found, number looked at, revision, problem."""
        return [len(self.ordinals), self.looked, self.revision, self.problem]

    def take(self, ordinals: list[int]) -> None:
        """Take more; those that are to be sorted wait for `settle`."""
        if self.question.sort:
            self._unsorted += ordinals
        else:
            self.ordinals.extend(ordinals)

    def settle(self, columns: ItemColumns, *, at_once: bool) -> None:
        """Put what waits into its place, unless that was done a moment ago."""
        began = time.monotonic()
        if not self._unsorted or (not at_once and began < self._rests_until):
            return
        everything = [*self.ordinals, *self._unsorted]
        self._unsorted = []
        question = self.question
        self.ordinals = columns.sorted(everything, question.sort, descending=question.descending)
        self.revision += 1
        ended = time.monotonic()
        self._rests_until = ended + RESTS * (ended - began)

    def cases(self, shape: RunShape) -> array[int]:
        """Return the cases that have such an item: sorted like their first item, else in the order of the plan."""
        ordinals, now = self.ordinals, (len(self.ordinals), self.revision)
        if self._cases[0] != now:
            found: Iterable[int] = dict.fromkeys(ordinal // shape.per_case for ordinal in ordinals)
            self._cases = now, array("I", found if self.question.sort else sorted(found))
        return self._cases[1]


class Questions:
    """The questions of a run that were asked last.

    Args:
        shape: Of the run, when it is known.
        result: Gives the result of an item.
        changed_since: Gives the items that have another outcome in another run; may take long.
        told: Called when there is something new, on any thread.
        finished: Whether no more results will come.
        start: Starts work that may take long.
    """

    def __init__(
        self,
        columns: ItemColumns,
        shape: RunShape | None,
        *,
        result: Callable[[int], ItemResult | None],
        changed_since: Callable[[str], Collection[int]],
        told: Callable[[], None],
        finished: Callable[[], bool],
        start: Callable[[Callable[[], None]], object] = lambda work: loop.submit(asyncio.to_thread(work)),
    ) -> None:
        self._columns, self._shape = columns, shape
        self._result, self._changed_since = result, changed_since
        self._told, self._finished, self._start = told, finished, start
        # Guards `_found` and who of them is busy; not held while anything is looked at.
        self._lock = threading.Lock()
        self._found: dict[str, Found] = {}
        self._changed: dict[str, Collection[int]] = {}
        self._closed = False

    def ask(self, key: str, question: Question) -> Found:
        """Return what is found so far; a new question is looked into from now on."""
        with self._lock:
            found = self._found.pop(key, None)
            if found is None or found.question != question:
                found = Found(question)
            self._found[key] = found
            while len(self._found) > REMEMBERED:
                del self._found[next(iter(self._found))]
        self._look(found)
        return found

    def look(self) -> None:
        """Look at the results that have come since."""
        for found in list(self._found.values()):
            self._look(found)

    def state(self) -> dict[str, list[Any]]:
        """Return what was found, by key."""
        return {key: found.state() for key, found in list(self._found.items())}

    def close(self) -> None:
        """Look at nothing more and forget everything."""
        with self._lock:
            self._closed = True
            self._found.clear()
            self._changed.clear()

    def _look(self, found: Found) -> None:
        with self._lock:
            idle = found.settled and found.looked >= len(self._columns.order)
            if found.busy or self._closed or idle:
                return
            found.busy = True
        self._start(lambda: self._work(found))

    def _work(self, found: Found) -> None:
        try:
            fits, touched = self._test(found.question), self._touched(found)
            order = self._columns.order
            while not self._closed and found.looked < len(order):
                last = min(len(order), found.looked + STEP)
                found.take([each for ordinal in order[found.looked : last] for each in touched(ordinal) if fits(each)])
                found.looked = last
                found.settle(self._columns, at_once=False)
                self._told()
            found.settle(self._columns, at_once=self._finished())
        except PromptCardError as error:
            found.problem, found.looked = harmless(str(error)), len(self._columns.order)
        finally:
            found.busy = False
            self._told()

    def _touched(self, found: Found) -> Callable[[int], Iterable[int]]:
        """Return what gives the items that a result decides about, each of them once."""
        shape, columns = self._shape, self._columns
        kind, _, name = found.question.changed.partition(":")
        if kind != "version" or shape is None or name not in shape.labels:
            return lambda ordinal: (ordinal,)
        base, step = shape.labels.index(name), len(shape.labels)

        def touched(ordinal: int) -> Iterable[int]:
            # What came before the one that it is compared with is decided about by that one.
            first = ordinal - ordinal % step
            group = range(first, first + step) if ordinal == first + base else (ordinal,)
            if not columns.code(first + base):
                return ()
            fresh = [one for one in group if columns.code(one) and one not in found.decided]
            found.decided.update(fresh)
            return fresh

        return touched

    def _test(self, question: Question) -> Callable[[int], bool]:
        tests: list[Callable[[int], bool]] = []
        columns = self._columns
        if question.outcome:
            code = CODES[Outcome(question.outcome)]
            tests.append(lambda ordinal: columns.outcomes[ordinal] == code)
        if question.changed:
            tests.append(self._changed_test(question.changed))
        if question.text:
            tests.append(lambda ordinal: _says(self._result(ordinal), question.text))
        return lambda ordinal: all(test(ordinal) for test in tests)

    def _changed_test(self, changed: str) -> Callable[[int], bool]:
        kind, _, name = changed.partition(":")
        shape, columns = self._shape, self._columns
        if kind == "version":
            if shape is None or name not in shape.labels:
                return lambda _: False
            base, step = shape.labels.index(name), len(shape.labels)

            return lambda ordinal: columns.code(ordinal - ordinal % step + base) != columns.code(ordinal)
        if changed not in self._changed:
            self._changed[changed] = self._changed_since(name)
        items = self._changed[changed]
        return lambda ordinal: ordinal in items


def _says(result: ItemResult | None, text: str) -> bool:
    if result is None:
        return False
    output = result.generation.output if result.generation is not None else None
    said = (output or "", result.message, result.reason or "", result.case)
    return any(text in one.casefold() for one in said)
