"""Which items of a run have to be done, again or at all, and what of them is known already."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator

from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Plan, Prepared
from promptcard_ext.core.results import Generation, ItemResult, Outcome

# An item that ended for one of these was not judged because the run stopped or lacked something; a resumed run does it.
UNFINISHED = frozenset({"budget_exhausted", "budget_unpriced", "not_recorded", "interrupted", "group_incomplete"})


class Items(Collection[Item]):
    """Some items of a plan, in its order: 8 bytes each, made when they are iterated over."""

    def __init__(self, plan: Plan, ordinals: array[int]) -> None:
        self._plan, self.ordinals = plan, ordinals

    def __len__(self) -> int:
        return len(self.ordinals)

    def __iter__(self) -> Iterator[Item]:
        return (self._plan.item(ordinal) for ordinal in self.ordinals)

    def __contains__(self, item: object) -> bool:
        return isinstance(item, Item) and item.ordinal in self.ordinals


def to_do(prepared: Prepared, result_of: Callable[[int], ItemResult | None], *, retry_errors: bool) -> Items:
    """Return the items that a resumed run has to do.

    Where answers are compared with each other, all answers to a case are judged again when one of them is missing.
    """
    plan = prepared.plan
    ordinals = array("q")
    per_group = plan.per_group if prepared.has_contests else 1
    for first in range(0, plan.total, per_group):
        group = range(first, first + per_group)
        if any(_is_open(result_of(ordinal), retry_errors) for ordinal in group):
            ordinals.extend(group)
    return Items(plan, ordinals)


def _is_open(result: ItemResult | None, retry_errors: bool) -> bool:
    if result is None or result.reason in UNFINISHED:
        return True
    return retry_errors and result.outcome is Outcome.ERROR


def answer_in(result: ItemResult | None) -> Generation | None:
    """Return the answer of a result, when there is one that can be judged."""
    if result is None or result.generation is None or result.generation.raw is not None:
        return None
    return result.generation
