"""Assertions that compare the answers of all models and card versions to one case with each other."""

from __future__ import annotations

from msgspec.structs import replace

from promptcard_ext.core.assertions.base import Compiled, Contender, Finding
from promptcard_ext.core.assertions.judging import outage, verdict
from promptcard_ext.core.engine.asking import ItemAsker
from promptcard_ext.core.engine.trial import Trials, Tried
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.item import Item
from promptcard_ext.core.results import Call, ItemResult, Outcome, Verdict

Entry = tuple[Item, Tried]


class Contests:
    """Holds results back until all answers to a case in one repeat are there, then lets them compete.

    Args:
        trials: Makes results of verdicts.
    """

    def __init__(self, trials: Trials) -> None:
        self._trials = trials
        self._waiting: dict[tuple[int, int], list[Entry]] = {}
        self._expected: dict[tuple[int, int], int] = {}

    def concerns(self, item: Item) -> bool:
        """Tell whether the item's case has such an assertion."""
        return bool(self._trials.prepared.case(item.case).checklist.contests)

    def expect(self, item: Item) -> None:
        """Count an item that is going to be called."""
        if self.concerns(item):
            key = (item.case, item.repeat)
            self._expected[key] = self._expected.get(key, 0) + 1

    async def enter(self, item: Item, tried: Tried) -> list[ItemResult]:
        """Take in a result; return those of its group once all that were expected are there."""
        key = (item.case, item.repeat)
        group = self._waiting.setdefault(key, [])
        group.append((item, tried))
        if tried.interrupted or len(group) < self._expected[key]:
            return []
        # It stays among the waiting until it has competed: an interruption must not lose it.
        results = await self._compete(sorted(group, key=lambda entry: entry[0]))
        del self._waiting[key], self._expected[key]
        return results

    def leftovers(self) -> list[ItemResult]:
        """Return the results of groups that will not be completed: they were paid for, and nobody compared them."""
        left = [entry for group in self._waiting.values() for entry in group]
        self._waiting.clear()
        return [self._judged(item, tried, _INCOMPLETE) for item, tried in left]

    async def _compete(self, group: list[Entry]) -> list[ItemResult]:
        item = group[0][0]
        checks = self._trials.prepared.case(item.case).checklist
        found: list[dict[int, Verdict]] = [{} for _ in group]
        calls: list[Call] = []
        contenders = [
            Contender(tried.answer, tried.result.verdicts, tried.result.model, tried.result.label) for _, tried in group
        ]
        for place in checks.contests:
            one = checks.checks[place]
            asker = ItemAsker(self._trials.caller, contenders[0].model, self._trials.prepared.nonce(item), item.repeat)
            for verdicts, finding in zip(found, await _findings(one, contenders, asker), strict=True):
                verdicts[place] = verdict(one, finding)
            calls += asker.calls
        results = [self._merge(entry, verdicts) for entry, verdicts in zip(group, found, strict=True)]
        # What the comparison cost is told once, with the first of those compared.
        return [replace(results[0], calls=results[0].calls + tuple(calls)), *results[1:]]

    def _merge(self, entry: Entry, contested: dict[int, Verdict]) -> ItemResult:
        item, tried = entry
        old = tried.result
        if tried.answer is None:
            return old
        checks = self._trials.prepared.case(item.case).checklist
        own = iter(old.verdicts)
        verdicts = tuple(contested[place] if place in contested else next(own) for place in range(len(checks.checks)))
        return self._trials.judged(item, verdicts, old.generation, old.cached, old.calls)

    def _judged(self, item: Item, tried: Tried, finding: Finding) -> ItemResult:
        checks = self._trials.prepared.case(item.case).checklist
        return self._merge((item, tried), {place: verdict(checks.checks[place], finding) for place in checks.contests})


_INCOMPLETE = Finding(
    Outcome.UNSCORED, "group_incomplete", "Not all models and versions have answered this case, so nothing is compared."
)


async def _findings(one: Compiled, contenders: list[Contender], asker: ItemAsker) -> list[Finding]:
    assert one.contest is not None
    try:
        return list(await one.contest(contenders, asker))
    except ProviderError as error:
        return [outage(error)] * len(contenders)
    except Exception as error:  # noqa: BLE001  A broken comparison is our error; it must not look like a lost one.
        crash = Finding(Outcome.ERROR, "assertion_crashed", f"{type(error).__name__}: {error!s:.300}")
        return [crash] * len(contenders)
