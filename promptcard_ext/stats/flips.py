"""What changed between two judgements of the same items, such as before and after a re-grade."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct

from promptcard_ext.core.errors import RunError
from promptcard_ext.core.results import ItemResult, Outcome, Verdict
from promptcard_ext.stats.ledger import flattened

Key = tuple[str, str, str, int]

# Set by `promptcard_ext.kernel.flips_html`, which lies above this layer.
as_html: Callable[[FlipTable], str] | None = None


class ItemFlip(Struct, frozen=True):
    """An item whose outcome changed; the reasons are stable codes, None for a pass."""

    label: str
    model: str
    case: str
    case_uid: str
    repeat: int
    before: Outcome
    after: Outcome
    reason_before: str | None
    reason_after: str | None


class AssertionFlip(Struct, frozen=True):
    """An assertion that came to another outcome.

    Attributes:
        path: Its place in the new results, as in the ledger.
        uid_before: Differs from ``uid_after`` when the assertion itself was changed.
    """

    label: str
    model: str
    case: str
    case_uid: str
    repeat: int
    path: str
    type: str
    metric: str | None
    uid_before: str
    uid_after: str
    before: Outcome
    after: Outcome
    reason_before: str | None
    reason_after: str | None


class TypeFlips(Struct, frozen=True):
    """All assertions of one type: how many went from which outcome to which.

    Attributes:
        added: Verdicts that only the new results have.
        removed: Verdicts that only the old ones have.
        changed: Compared verdicts whose assertion was itself changed.
    """

    type: str
    matrix: dict[tuple[Outcome, Outcome], int]
    added: int
    removed: int
    changed: int


class FlipTable(Struct, frozen=True):
    """Old against new outcomes of the same items.

    Attributes:
        matrix: Number of items by outcome before and after; pairs that did not occur are not in it.
        compared: Items that both sides have.
        only_before: Items that only the old results have.
        only_after: Items that only the new results have.
    """

    matrix: dict[tuple[Outcome, Outcome], int]
    items: tuple[ItemFlip, ...]
    assertions: tuple[AssertionFlip, ...]
    types: tuple[TypeFlips, ...]
    compared: int
    only_before: int
    only_after: int

    @property
    def flipped(self) -> int:
        """Items whose outcome changed."""
        return len(self.items)

    @property
    def passed(self) -> tuple[int, int]:
        """How many of the compared items passed before, and how many now."""
        pairs = self.matrix.items()
        before = sum(number for (old, _), number in pairs if old is Outcome.PASS)
        return before, sum(number for (_, new), number in pairs if new is Outcome.PASS)

    @property
    def text(self) -> str:
        """For example ``3 of 48 items flipped: 2 fail → pass, 1 pass → unscored``."""
        told = moves_text(self.matrix)
        return f"{self.flipped} of {self.compared} items flipped" + (f": {told}" if told else "")

    def __repr__(self) -> str:
        return f"<FlipTable: {self.text}>"

    def _repr_html_(self) -> str | None:
        return None if as_html is None else as_html(self)

    def rows(self) -> list[list[int]]:
        """Return the matrix with a row for each old and a column for each new outcome, in the order of `Outcome`."""
        return [[self.matrix.get((old, new), 0) for new in Outcome] for old in Outcome]


def moves_text(matrix: Mapping[tuple[Outcome, Outcome], int]) -> str:
    """Return for example ``2 fail → pass, 1 pass → unscored``, the most frequent first; empty when nothing moved.

    Example:
        >>> moves_text({(Outcome.FAIL, Outcome.PASS): 2, (Outcome.PASS, Outcome.PASS): 7})
        '2 fail → pass'
    """
    moves = sorted((pair for pair in matrix if pair[0] is not pair[1]), key=lambda pair: -matrix[pair])
    return ", ".join(f"{matrix[old, new]} {old} → {new}" for old, new in moves)


class _Said(NamedTuple):
    """What is kept of a verdict, and of an item."""

    uid: str
    type: str
    metric: str | None
    outcome: Outcome
    reason: str | None


class _Old(NamedTuple):
    outcome: Outcome
    reason: str | None
    verdicts: tuple[_Said, ...]


def flips(old: Iterable[ItemResult], new: Iterable[ItemResult]) -> FlipTable:
    """Compare two judgements of the same items.

    Items are joined by case, card version, model and repeat, never by their place. Assertions are joined by identity
    first; of those left over, which were added, removed or changed, by type and metric in order.

    Args:
        old: Kept in memory without answers and messages.
        new: Read once.

    Raises:
        RunError: One side has two results for one item (``results_twice``).
    """
    before = {key: _Old(each.outcome, each.reason, _said(each.verdicts)) for key, each in unique_results(old, "old")}
    compared = only_after = 0
    matrix: Counter[tuple[Outcome, Outcome]] = Counter()
    items: list[ItemFlip] = []
    types = _Types()
    for key, result in unique_results(new, "new"):
        found = before.get(key)
        if found is None:
            only_after += 1
            continue
        compared += 1
        matrix[found.outcome, result.outcome] += 1
        if found.outcome is not result.outcome:
            reasons = found.outcome, result.outcome, found.reason, result.reason
            items.append(ItemFlip(*_item(result), *reasons))
        types.add(result, found.verdicts)
    return FlipTable(
        dict(matrix), tuple(items), tuple(types.flips), types.rows(), compared, len(before) - compared, only_after
    )


def unique_results(results: Iterable[ItemResult], side: str) -> Iterator[tuple[Key, ItemResult]]:
    """Yield results with what identifies them: case, card version, model, repeat.

    Raises:
        RunError: There are two for one item (``results_twice``); ``side`` is how the message calls them.
    """
    seen: set[Key] = set()
    for result in results:
        key = (result.case_uid, result.label, result.model, result.repeat)
        if key in seen:
            raise RunError(
                f"The {side} results have two for repeat {result.repeat} of case '{result.case:.60}' with "
                f"{result.label:.60} on {result.model:.60}.",
                hint="Compare the results of one run with those of one other.",
                code="results_twice",
            )
        seen.add(key)
        yield key, result


def _item(result: ItemResult) -> tuple[str, str, str, str, int]:
    return result.label, result.model, result.case, result.case_uid, result.repeat


def _said(verdicts: tuple[Verdict, ...]) -> tuple[_Said, ...]:
    return tuple(_short(verdict) for _, verdict in flattened(verdicts))


def _short(verdict: Verdict) -> _Said:
    return _Said(verdict.uid, verdict.type, verdict.metric, verdict.outcome, verdict.reason)


class _Types:
    """Flips of assertions, in detail and by type."""

    def __init__(self) -> None:
        self.flips: list[AssertionFlip] = []
        self._matrices: defaultdict[str, Counter[tuple[Outcome, Outcome]]] = defaultdict(Counter)
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, result: ItemResult, old: tuple[_Said, ...]) -> None:
        new = [(path, _short(verdict)) for path, verdict in flattened(result.verdicts)]
        partners = _partners(old, [said for _, said in new])
        for place, (path, said) in enumerate(new):
            other = partners.get(place)
            if other is None:
                self._count(said.type, "added")
                continue
            self._compare(result, path, old[other], said)
        for place in set(range(len(old))) - set(partners.values()):
            self._count(old[place].type, "removed")

    def _compare(self, result: ItemResult, path: str, old: _Said, new: _Said) -> None:
        self._matrices[new.type][old.outcome, new.outcome] += 1
        if old.uid != new.uid:
            self._count(new.type, "changed")
        if old.outcome is not new.outcome:
            outcomes = old.outcome, new.outcome, old.reason, new.reason
            what = path, new.type, new.metric, old.uid, new.uid
            self.flips.append(AssertionFlip(*_item(result), *what, *outcomes))

    def _count(self, kind: str, what: str) -> None:
        self._counts[kind][what] += 1

    def rows(self) -> tuple[TypeFlips, ...]:
        return tuple(
            TypeFlips(kind, dict(self._matrices[kind]), count["added"], count["removed"], count["changed"])
            for kind in dict.fromkeys([*self._matrices, *self._counts])
            for count in [self._counts[kind]]
        )


def _partners(old: tuple[_Said, ...], new: list[_Said]) -> Mapping[int, int]:
    """Return the place in ``old`` for places in ``new``: the same assertion, else one of the same type and metric."""
    if [said.uid for said in old] == [said.uid for said in new]:
        return {place: place for place in range(len(new))}
    found: dict[int, int] = {}
    free = dict.fromkeys(range(len(old)))
    for key in (lambda said: (said.uid,), lambda said: (said.type, said.metric), lambda said: (said.type,)):
        waiting: dict[tuple[str | None, ...], list[int]] = {}
        for place in free:
            waiting.setdefault(key(old[place]), []).append(place)
        for place, said in enumerate(new):
            if place not in found and (places := waiting.get(key(said))):
                found[place] = places.pop(0)
                del free[found[place]]
    return found
