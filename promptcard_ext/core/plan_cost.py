"""What a plan may cost at the very most, model by model, before its first call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from promptcard_ext.core.budget import UNLIMITED_OUTPUT
from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Prepared
from promptcard_ext.core.planned_calls import PlannedCall, calls_per_item
from promptcard_ext.core.pricing import Price
from promptcard_ext.core.token_range import BEYOND_HIGH, most_prompt_tokens

PriceOf = Callable[[str], Price | None]


class Share(NamedTuple):
    """What the items of one model may cost in USD: all of them, and the dearest one."""

    usd: Decimal
    most_usd: Decimal


class _Prompt(NamedTuple):
    tokens: int
    answer: int  # most output tokens
    further: tuple[PlannedCall, ...]


def upper_costs(
    prepared: Prepared,
    price_of: PriceOf,
    judges: Sequence[str] = (),
    embedder: str | None = None,
    items: Iterable[Item] | None = None,
) -> dict[str, Share | None]:
    """Return for each model of a plan what its items may cost at the most, judges and embeddings included.

    Each call is made once: repetitions after failed calls are not in it, and neither is an answer that is longer than
    4,096 tokens where nothing limits it.

    Args:
        price_of: Gives the price of a model reference.
        items: The items to run, when not all of the plan.

    Returns:
        None for a model whose price, or that of a judge of its answers, is not known.
    """
    plan = prepared.plan
    wanted = None if items is None else Counter((item.case, item.card, item.model) for item in items)
    totals, dearest = [Decimal(0)] * len(plan.models), [Decimal(0)] * len(plan.models)
    unknown: set[str] = set()
    cases = range(len(plan.cases)) if wanted is None else sorted({case for case, _, _ in wanted})
    for case in cases:
        for card in range(len(plan.cards)):
            prompt = _prompt(prepared, case, card, judges, embedder)
            for place, model in enumerate(plan.models):
                times = plan.repeats if wanted is None else wanted[case, card, place]
                if not times or model in unknown:
                    continue
                cost = _cost(prompt, model, price_of)
                if cost is None:
                    unknown.add(model)
                    continue
                totals[place] += cost * times
                dearest[place] = max(dearest[place], cost)
    shares = zip(plan.models, totals, dearest, strict=True)
    return {model: None if model in unknown else Share(total, most) for model, total, most in shares}


def _prompt(prepared: Prepared, case: int, card: int, judges: Sequence[str], embedder: str | None) -> _Prompt:
    plan, one = prepared.plan, prepared.case(case)
    messages, settings = one.prompt(plan.cards, card), plan.cards[card].settings
    further = calls_per_item(one, judges, embedder, plan.per_group, _turns(messages))
    return _Prompt(most_prompt_tokens(messages, settings), _answer(settings), further)


def _turns(messages: Sequence[Message]) -> int:
    return 1 + sum(message.role == "assistant" for message in messages)


def _answer(settings: ModelSettings) -> int:
    return UNLIMITED_OUTPUT if settings.max_tokens is None else settings.max_tokens


def _cost(prompt: _Prompt, model: str, price_of: PriceOf) -> Decimal | None:
    price = price_of(model)
    if price is None:
        return None
    total = price.most(prompt.tokens, prompt.answer)
    for call in prompt.further:
        called = price_of(call.model or model)
        if called is None:
            return None
        total += Decimal(str(call.most)) * called.most(_read(call, prompt), _written(call, prompt))
    return total


def _read(call: PlannedCall, prompt: _Prompt) -> int:
    beside = int(BEYOND_HIGH * call.beside.high) + 1
    return beside + (prompt.tokens if call.with_prompt else 0) + call.answers * prompt.answer


def _written(call: PlannedCall, prompt: _Prompt) -> int:
    if call.purpose == "embedding":
        return 1
    return prompt.answer if call.purpose == "variant" else UNLIMITED_OUTPUT
