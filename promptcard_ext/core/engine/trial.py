"""Turns one item into one result: the call, the verdicts, the outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import Compiled, Finding
from promptcard_ext.core.assertions.judging import NOT_ASKED, check_one, grade, judge, verdict
from promptcard_ext.core.assertions.sets import explain
from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.composition import combine
from promptcard_ext.core.engine.asking import ItemAsker
from promptcard_ext.core.engine.caller import Caller
from promptcard_ext.core.engine.identity import request_hash
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Prepared
from promptcard_ext.core.ports import Provider, Request
from promptcard_ext.core.results import Call, Generation, ItemResult, Outcome, Verdict


class Tried(NamedTuple):
    """A result, and the answer behind it for those who compare answers.

    Attributes:
        interrupted: The run was stopped while the answer was judged; the answer is kept, the rest is unscored.
    """

    result: ItemResult
    answer: Answer | None
    interrupted: bool = False


class Trials:
    """Makes the results of a plan's items.

    Args:
        known: Gives the answer of an item that has one already, which is then only judged.

    Attributes:
        answered: Tasks whose item has its answer, and waits for its verdicts.
    """

    def __init__(
        self, prepared: Prepared, caller: Caller, known: Callable[[Item], Generation | None] | None = None
    ) -> None:
        self.prepared, self.caller, self._known = prepared, caller, known
        self.answered: set[asyncio.Task[Any] | None] = set()
        self._labels = [card.label for card in prepared.plan.cards]
        self._seeded: dict[tuple[int, int], ModelSettings] = {}

    @property
    def under_way(self) -> set[asyncio.Task[Any] | None]:
        """Tasks whose item was called: to give them up now would be to pay for nothing."""
        return self.caller.calling | self.answered

    async def run(self, item: Item) -> Tried:
        """Return the result of one item; whatever breaks is part of it."""
        plan = self.prepared.plan
        provider, model = self.caller.provider(plan.models[item.model])
        request = self.request(item, model)
        try:
            generation = self._known(item) if self._known is not None else None
            cached = generation is not None
            if generation is None:
                generation, cached = await self.caller.generate(provider, request, item.repeat)
        except ProviderError as error:
            return Tried(self._without_answer(item, provider, request, error), None)
        except Exception as error:  # noqa: BLE001  A provider may come from anybody; its bug is the end of one item.
            message = f"The provider of {plan.models[item.model]} broke: {type(error).__name__}: {error}"
            broken = self.result(item, Outcome.ERROR, reason="provider_crashed", message=f"{message:.500}")
            return Tried(broken, None)
        self.answered.add(asyncio.current_task())
        answer = self.answer(item, request, generation)
        checks = self.prepared.case(item.case).checklist
        if not checks.graded:
            return Tried(self.judged(item, judge(checks.own, answer), generation, cached), answer)
        asker = ItemAsker(self.caller, plan.models[item.model], request.nonce, item.repeat)
        try:
            verdicts, interrupted = await grade(checks.own, answer, asker), False
        except asyncio.CancelledError:
            verdicts, interrupted = _interrupted(checks.own, answer), True
        result = self.judged(item, verdicts, generation, cached, tuple(asker.calls))
        return Tried(result, answer, interrupted)

    def request(self, item: Item, model: str) -> Request:
        """Return the call that an item is, by the name of its model at the provider."""
        return Request(model, self.prepared.messages(item), self._settings_of(item), self.prepared.nonce(item))

    def _settings_of(self, item: Item) -> ModelSettings:
        settings = self.prepared.plan.cards[item.card].settings
        if settings.seed is None or not item.repeat:
            return settings
        key = (item.card, item.repeat)
        if key not in self._seeded:
            self._seeded[key] = replace(settings, seed=settings.seed + item.repeat)
        return self._seeded[key]

    def _without_answer(self, item: Item, provider: Provider, request: Request, error: ProviderError) -> ItemResult:
        outcome = Outcome.UNSCORED if error.code in NOT_ASKED else Outcome.ERROR
        raw: str | None = getattr(error, "raw", None)
        # A reply that nobody can read was paid for all the same, and is kept.
        asked = request_hash(provider, request) if raw is not None else ""
        kept = None if raw is None else Generation(provider.name, request.model, asked, None, 0.0, raw=raw)
        return self.result(item, outcome, error.code, str(error), generation=kept)

    def answer(self, item: Item, request: Request, generation: Generation) -> Answer:
        """Return the answer as assertions see it."""
        case = self.prepared.case(item.case)
        if not case.checklist.looks_beyond_text:
            return Answer(generation.output, generation, case.case.variables, request.messages, request.settings)
        values = self.prepared.variables(item)
        card = self.prepared.plan.cards[item.card]

        def variant(changed: Mapping[str, Any]) -> tuple[Message, ...]:
            return card.render({**values, **changed}, f"a variant of case '{case.case.name}'")

        return Answer(generation.output, generation, values, request.messages, request.settings, variant)

    def judged(
        self,
        item: Item,
        verdicts: tuple[Verdict, ...],
        generation: Generation | None,
        cached: bool = False,
        calls: tuple[Call, ...] = (),
    ) -> ItemResult:
        """Return the result that the verdicts add up to."""
        threshold = self.prepared.case(item.case).case.threshold
        outcome, score = combine(verdicts, threshold)
        reason, message = (None, "") if outcome is Outcome.PASS else explain(outcome, verdicts, threshold, score)
        return self.result(item, outcome, reason, message, verdicts, generation, score, cached, calls)

    def result(
        self,
        item: Item,
        outcome: Outcome,
        reason: str | None = None,
        message: str = "",
        verdicts: tuple[Verdict, ...] = (),
        generation: Generation | None = None,
        score: float | None = None,
        cached: bool = False,
        calls: tuple[Call, ...] = (),
    ) -> ItemResult:
        """Return a result with the names of everything it is the result of."""
        plan, case = self.prepared.plan, self.prepared.case(item.case)
        card = plan.cards[item.card]
        return ItemResult(
            ordinal=item.ordinal,
            card=card.name,
            version=card.version,
            label=self._labels[item.card],
            model=plan.models[item.model],
            case=case.case.name,
            case_uid=case.uid,
            repeat=item.repeat,
            outcome=outcome,
            reason=reason,
            message=message,
            verdicts=verdicts,
            generation=generation,
            score=score,
            cached=cached,
            calls=calls,
        )


def _interrupted(checks: Sequence[Compiled], answer: Answer) -> tuple[Verdict, ...]:
    stopped = Finding(Outcome.UNSCORED, "interrupted", "The run was stopped before this was judged.")
    return tuple(check_one(one, answer) if one.check is not None else verdict(one, stopped) for one in checks)
