"""The calls of a plan, added up by what they have in common: a pass over the plan that keeps no item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Prepared
from promptcard_ext.core.planned_calls import PlannedCall, calls_per_item
from promptcard_ext.core.pricing import Price
from promptcard_ext.core.token_range import NOTHING, TokenRange, prompt_tokens

MAX_PROMPTS = 20_000


class LoadKey(NamedTuple):
    """What calls have in common: their purpose, their model, and the card version and model they are about."""

    purpose: str
    model: str
    label: str
    about: str


@dataclass
class Load:
    """Calls of one kind.

    Attributes:
        usual, most: Numbers of calls.
        given: Their input tokens, but for the answers in them.
        given_usd: What those cost, at the middle of the range.
        answers: How many answers stand in their inputs; ``answer_usd`` what a token of each costs, added up.
        out_usd, out_usd_squared: What an output token of each call costs, and its square, added up.
        fixed_usd: What they cost whatever their tokens.
    """

    price: Price | None
    limit: int | None = None
    usual: float = 0.0
    most: float = 0.0
    given: TokenRange = NOTHING
    given_usd: float = 0.0
    answers: float = 0.0
    answer_usd: float = 0.0
    out_usd: float = 0.0
    out_usd_squared: float = 0.0
    fixed_usd: float = 0.0

    def add(self, usual: float, most: float, given: TokenRange, answers: float = 0.0) -> None:
        """Count further calls, each with ``given`` input tokens and ``answers`` answers in its input."""
        self.usual += usual
        self.most += most
        self.given = self.given.plus(TokenRange(*(usual * part for part in given)))
        self.answers += usual * answers
        if self.price is None:
            return
        rates = self.price.rates(int(given.mid))
        read, written = float(rates.input) / 1e6, float(rates.output or 0) / 1e6
        self.given_usd += usual * given.mid * read
        self.answer_usd += usual * answers * read
        self.out_usd += usual * written
        self.out_usd_squared += usual * written**2
        self.fixed_usd += usual * float(self.price.per_call)


@dataclass
class Loads:
    """All calls of a plan; ``cases`` of ``all_cases`` were looked at, and stand for the others."""

    by_key: dict[LoadKey, Load] = field(default_factory=dict)
    cases: int = 0
    all_cases: int = 0


class Survey:
    """A pass over a plan.

    Args:
        price_of: Gives the price of a model reference.
        cached: Tells whether an item's answer is stored and so costs nothing; or which share of the answers is.
    """

    def __init__(
        self,
        prepared: Prepared,
        price_of: Callable[[str], Price | None],
        judges: tuple[str, ...],
        embedder: str | None,
        cached: float | Callable[[Item], bool],
    ) -> None:
        self._prepared, self._plan = prepared, prepared.plan
        self._price_of, self._judges, self._embedder, self._cached = price_of, judges, embedder, cached
        self._labels = [card.label for card in self._plan.cards]

    def run(self) -> Loads:
        """Return all calls; of a plan with more than 20,000 prompts those of evenly spaced cases, scaled up."""
        plan = self._plan
        number = len(plan.cases)
        looked_at = min(number, max(1, MAX_PROMPTS // len(plan.cards)))
        loads = Loads(cases=looked_at, all_cases=number)
        for place in range(looked_at):
            # The middles of equal stretches: the first and the last case count no more than any other.
            self._case(int((place + 0.5) * number / looked_at), number / looked_at, loads)
        return loads

    def _case(self, index: int, weight: float, loads: Loads) -> None:
        plan = self._plan
        case = self._prepared.case(index)
        for card in range(len(plan.cards)):
            prompt = case.prompt(plan.cards, card)
            turns = 1 + sum(message.role == "assistant" for message in prompt)
            further = calls_per_item(case, self._judges, self._embedder, plan.per_group, turns)
            given = prompt_tokens(prompt, plan.cards[card].settings)
            for model, reference in enumerate(plan.models):
                called = sum(self._to_call(index, repeat, model, card) for repeat in range(plan.repeats)) * weight
                key = LoadKey("answer", reference, self._labels[card], reference)
                self._load(loads, key, plan.cards[card].settings.max_tokens).add(called, called, given)
                self._further(loads, further, key, given, plan.repeats * weight)

    def _to_call(self, case: int, repeat: int, model: int, card: int) -> float:
        if not callable(self._cached):
            return 1 - self._cached
        plan = self._plan
        ordinal = ((case + plan.first_case) * plan.repeats + repeat) * plan.per_group + model * len(plan.cards) + card
        return float(not self._cached(Item(ordinal, card, model, case, repeat)))

    def _further(
        self, loads: Loads, calls: tuple[PlannedCall, ...], answer: LoadKey, prompt: TokenRange, items: float
    ) -> None:
        for call in calls:
            key = answer._replace(purpose=call.purpose, model=call.model or answer.model)
            given = call.beside.plus(prompt) if call.with_prompt else call.beside
            limit = loads.by_key[answer].limit if call.purpose == "variant" else None
            self._load(loads, key, limit).add(items * call.usual, items * call.most, given, call.answers)

    def _load(self, loads: Loads, key: LoadKey, limit: int | None) -> Load:
        found = loads.by_key.get(key)
        if found is None:
            found = loads.by_key[key] = Load(self._price_of(key.model), limit)
        return found
