"""The plan of a run: card versions × models × cases × repeats, in one fixed order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from promptcard_ext.core.assertions.base import Compiled, compiled
from promptcard_ext.core.card import Card, Message
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError

MAX_ITEMS = 10_000_000


class Item(NamedTuple):
    """One cell of the plan; indexes into the plan's cards, models and cases."""

    ordinal: int
    card: int
    model: int
    case: int
    repeat: int


class Plan:
    """What to run.

    The order is cases outermost, then repeats, models, card versions: every card version and model sees the same cases
    at about the same time, so that a run stopped half-way still compares like with like.

    Args:
        cards: Card versions, at least one.
        models: Model references such as ``ollama:llama3.2``, at least one.
        cases: Cases, at least one; with ``first_case`` it may be a slice of a larger plan.
        repeats: How often each cell is asked, 1 or more.
        first_case: Place of ``cases[0]`` in the whole plan.

    Raises:
        CardError: Something is empty, twice, or the product is too large (``plan_invalid``).
    """

    def __init__(
        self,
        cards: Sequence[Card],
        models: Sequence[str],
        cases: Sequence[Case],
        repeats: int = 1,
        first_case: int = 0,
    ) -> None:
        self.cards, self.models, self.cases = tuple(cards), tuple(models), tuple(cases)
        self.repeats, self.first_case = repeats, first_case
        for what, values in (("card", self.cards), ("model", self.models), ("case", self.cases)):
            if not values:
                raise CardError(f"The run has no {what}.", code="plan_invalid", hint=f"Give at least one {what}.")
        if first_case < 0:
            raise CardError(f"The first case of the run is {first_case}; 0 is the least.", code="plan_invalid")
        if repeats < 1:
            raise CardError(f"The run has {repeats} repeats; 1 is the least.", code="plan_invalid")
        if len(set(self.models)) < len(self.models):
            raise CardError("The run names a model twice.", code="plan_invalid", hint="Use repeats to ask twice.")
        labels = [card.label for card in self.cards]
        if len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise CardError(f"The run has card version '{twice}' twice.", code="plan_invalid")
        if self.total > MAX_ITEMS:
            raise CardError(f"The run has {self.total:,} items; the limit is {MAX_ITEMS:,}.", code="plan_invalid")

    @property
    def per_case(self) -> int:
        """Number of items of one case."""
        return self.repeats * len(self.models) * len(self.cards)

    @property
    def total(self) -> int:
        """Number of items."""
        return self.per_case * len(self.cases)

    def item(self, ordinal: int) -> Item:
        """Return the item at ``ordinal`` (counted in the whole plan).

        Raises:
            IndexError: It is not part of this plan, or of this slice of it.
        """
        rest, card = divmod(ordinal, len(self.cards))
        rest, model = divmod(rest, len(self.models))
        case, repeat = divmod(rest, self.repeats)
        case -= self.first_case
        # A negative index would quietly be another case.
        if not 0 <= case < len(self.cases):
            raise IndexError(f"item {ordinal} is not part of this plan")
        return Item(ordinal, card, model, case, repeat)

    def items(self) -> Iterator[Item]:
        """Yield all items in order."""
        start = self.first_case * self.per_case
        return (self.item(ordinal) for ordinal in range(start, start + self.total))

    def prepare(self) -> Prepared:
        """Render every prompt and compile every assertion, so that mistakes show before the first call.

        Raises:
            CardError, TemplateError: A case does not fit a card, or a template does not render.
        """
        prompts = [[card.render(case.variables, f"case '{case.name}'") for case in self.cases] for card in self.cards]
        checks = [tuple(compiled(assertion) for assertion in case.assertions) for case in self.cases]
        return Prepared(self, prompts, checks, [case.uid for case in self.cases])


class Prepared(NamedTuple):
    """A plan with its prompts (``[card][case]``), compiled assertions and case identities (``[case]``)."""

    plan: Plan
    prompts: list[list[tuple[Message, ...]]]
    checks: list[tuple[Compiled, ...]]
    case_uids: list[str]

    def nonce(self, item: Item) -> str:
        """Return a value that is the same for the same case and repeat in every run."""
        return hashlib.sha256(f"{self.case_uids[item.case]}:{item.repeat}".encode()).hexdigest()[:16]
