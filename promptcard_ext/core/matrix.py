"""The plan of a run: card versions × models × cases × repeats, in one fixed order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from promptcard_ext.core.assertions.base import Compiled, compiled, has_template, looks_beyond_text, needs
from promptcard_ext.core.card import Card, Message
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.item import Item

MAX_ITEMS = 10_000_000


class Plan:
    """What to run.

    The order is cases outermost, then repeats, models, card versions: every card version and model sees the same cases
    at about the same time, so that a run stopped half-way still compares like with like.

    Args:
        cards: Card versions, at least one.
        models: Model references such as ``ollama:llama3.2``, at least one.
        cases: Cases, at least one; with ``first_case`` it may be a slice of a larger plan. A sequence that reads them
            from a file is not copied, so a plan of any size fits into memory.
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
        self.cards, self.models = tuple(cards), tuple(models)
        self.cases = tuple(cases) if isinstance(cases, list) else cases
        self.repeats, self.first_case = repeats, first_case
        for what, values in (("card", self.cards), ("model", self.models), ("case", self.cases)):
            if not len(values):
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
    def per_group(self) -> int:
        """Number of items that answer the same case in the same repeat: one per model and card version."""
        return len(self.models) * len(self.cards)

    @property
    def per_case(self) -> int:
        """Number of items of one case."""
        return self.repeats * self.per_group

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
        """Render every prompt and compile every assertion once, so that mistakes show before the first call.

        Raises:
            CardError, TemplateError: A case does not fit a card, or a template does not render.
        """
        prepared = Prepared(self)
        prepared.check()
        return prepared


class CaseInPlan:
    """A case with its prompts and compiled assertions, made when they are first needed."""

    __slots__ = ("_prompts", "case", "checks", "contests", "graded", "looks_beyond_text", "own", "uid")

    def __init__(self, case: Case, cards: Sequence[Card], known: dict[int, Compiled]) -> None:
        self.case, self.uid = case, case.uid
        self._prompts: list[tuple[Message, ...] | None] = [None] * len(cards)
        every = [_compiled(assertion, case, known) for assertion in case.assertions]
        self.checks = tuple(every)
        self.contests = tuple(place for place, one in enumerate(every) if one.contest is not None)
        self.own = tuple(one for one in every if one.contest is None) if self.contests else self.checks
        self.graded = any(one.grade is not None for one in every)
        self.looks_beyond_text = self.graded or any(looks_beyond_text(one.assertion) for one in every)

    def prompt(self, cards: Sequence[Card], card: int) -> tuple[Message, ...]:
        """Return the messages of one card version."""
        messages = self._prompts[card]
        if messages is None:
            messages = cards[card].render(self.case.variables, f"case '{self.case.name}'")
            self._prompts[card] = messages
        return messages


def _compiled(assertion: Any, case: Case, known: dict[int, Compiled]) -> Compiled:
    # Cases of a file share their assertions: by object is quicker than by content.
    found = known.get(id(assertion))
    if found is not None and found.assertion is assertion:
        return found
    if has_template(assertion):
        return compiled(assertion, case.variables)
    if len(known) > 10_000:
        known.clear()
    found = known[id(assertion)] = compiled(assertion)._replace(assertion=assertion)
    return found


class Prepared:
    """A plan with what each item needs: prompt, compiled assertions, case identity.

    Only the cases that are being worked on are held; the others are made again when they are needed.
    """

    KEPT = 512

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._known: dict[int, Compiled] = {}
        self._cases: dict[int, CaseInPlan] = {}
        self.has_contests = self.has_grades = False
        self.needs: set[str] = set()

    def check(self) -> None:
        """Render every prompt and compile every assertion.

        Raises:
            CardError, TemplateError: A case does not fit a card, or a template does not render.
        """
        cards = self.plan.cards
        for index in range(len(self.plan.cases)):
            one = self.case(index)
            for card in range(len(cards)):
                one.prompt(cards, card)
            self.has_contests = self.has_contests or bool(one.contests)
            self.has_grades = self.has_grades or one.graded
            for check in one.checks:
                self.needs |= needs(check.assertion)

    def case(self, index: int) -> CaseInPlan:
        """Return the case at ``index`` of this plan."""
        found = self._cases.get(index)
        if found is None:
            if len(self._cases) >= self.KEPT:
                del self._cases[next(iter(self._cases))]
            found = self._cases[index] = CaseInPlan(self.plan.cases[index], self.plan.cards, self._known)
        return found

    def messages(self, item: Item) -> tuple[Message, ...]:
        """Return the prompt of an item."""
        return self.case(item.case).prompt(self.plan.cards, item.card)

    def variables(self, item: Item) -> Mapping[str, Any]:
        """Return the values of an item's variables, defaults included."""
        case = self.case(item.case).case
        return self.plan.cards[item.card].fill(case.variables, f"case '{case.name}'")

    def nonce(self, item: Item) -> str:
        """Return a value that is the same for the same case and repeat in every run."""
        return hashlib.sha256(f"{self.case(item.case).uid}:{item.repeat}".encode()).hexdigest()[:16]
