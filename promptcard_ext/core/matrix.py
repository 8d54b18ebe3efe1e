"""The plan of a run: card versions × models × cases × repeats, in one fixed order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from promptcard_ext.core.assertions.base import Compiled, compiled, has_template, looks_beyond_text, named_models, needs
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


class Checklist:
    """The compiled assertions of a case; cases with the same assertions share one.

    Attributes:
        checks: All of them, in order.
        own: Those that judge one answer by itself.
        contests: Places in ``checks`` of those that compare answers.
        graded: Whether one of them makes further calls.
        looks_beyond_text: Whether one of them looks at the case's variables.
        needs: What they ask of the run: ``judge``, ``embedder``.
        named_models: References that they name themselves, for judges and embeddings.
    """

    __slots__ = ("checks", "contests", "graded", "looks_beyond_text", "named_models", "needs", "own")

    def __init__(self, checks: Sequence[Compiled]) -> None:
        self.checks = tuple(checks)
        self.contests = tuple(place for place, one in enumerate(checks) if one.contest is not None)
        self.own = tuple(one for one in checks if one.contest is None)
        self.graded = any(one.grade is not None for one in checks)
        self.looks_beyond_text = self.graded or any(looks_beyond_text(one.assertion) for one in checks)
        self.needs = frozenset[str]().union(*(needs(one.assertion) for one in checks))
        self.named_models = frozenset[str]().union(*(named_models(one.assertion) for one in checks))


class CaseInPlan:
    """A case with its prompts and compiled assertions, made when they are first needed."""

    __slots__ = ("_prompts", "_uid", "case", "checklist")

    def __init__(self, case: Case, cards: Sequence[Card], checklist: Checklist) -> None:
        self.case, self.checklist = case, checklist
        self._prompts: list[tuple[Message, ...] | None] = [None] * len(cards)
        self._uid: str | None = None

    @property
    def uid(self) -> str:
        """Identity of the case."""
        if self._uid is None:
            self._uid = self.case.uid
        return self._uid

    def prompt(self, cards: Sequence[Card], card: int) -> tuple[Message, ...]:
        """Return the messages of one card version."""
        messages = self._prompts[card]
        if messages is None:
            messages = cards[card].render(self.case.variables, f"case '{self.case.name}'")
            self._prompts[card] = messages
        return messages


class Prepared:
    """A plan with what each item needs: prompt, compiled assertions, case identity.

    A few megabytes of prompts are kept; those of larger plans are rendered again when their turn comes.
    """

    KEPT = 512
    KEPT_CHARS = 1_500_000

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._checklists: dict[tuple[int, ...], Checklist] = {}
        self._cases: dict[int, CaseInPlan] = {}
        self._chars = 0
        self.has_contests = self.has_grades = False
        self.needs: set[str] = set()
        self.named_models: set[str] = set()

    def check(self) -> None:
        """Render every prompt and compile every assertion.

        Raises:
            CardError, TemplateError: A case does not fit a card, or a template does not render.
        """
        cards = self.plan.cards
        for index in range(len(self.plan.cases)):
            one = self.case(index)
            for card in range(len(cards)):
                self._chars += 200 + sum(len(message.content) for message in one.prompt(cards, card))
            checklist = one.checklist
            self.has_contests = self.has_contests or bool(checklist.contests)
            self.has_grades = self.has_grades or checklist.graded
            self.needs |= checklist.needs
            self.named_models |= checklist.named_models

    def case(self, index: int) -> CaseInPlan:
        """Return the case at ``index`` of this plan."""
        found = self._cases.get(index)
        if found is None:
            if self._chars > self.KEPT_CHARS and len(self._cases) >= self.KEPT:
                del self._cases[next(iter(self._cases))]
            case = self.plan.cases[index]
            found = self._cases[index] = CaseInPlan(case, self.plan.cards, self._checklist(case))
        return found

    def _checklist(self, case: Case) -> Checklist:
        # Cases of a file share their assertions: by object is quicker than by content.
        key = tuple(map(id, case.assertions))
        found = self._checklists.get(key)
        if found is not None and all(a is b.assertion for a, b in zip(case.assertions, found.checks, strict=True)):
            return found
        if any(map(has_template, case.assertions)):
            return Checklist([compiled(assertion, case.variables) for assertion in case.assertions])
        if len(self._checklists) >= self.KEPT:
            self._checklists.clear()
        checks = [compiled(assertion)._replace(assertion=assertion) for assertion in case.assertions]
        found = self._checklists[key] = Checklist(checks)
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
