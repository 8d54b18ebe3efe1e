"""Running a plan."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence

from promptcard_ext.core.engine.caller import Caller
from promptcard_ext.core.engine.control import Control
from promptcard_ext.core.engine.crew import Crew
from promptcard_ext.core.engine.gates import Gates
from promptcard_ext.core.engine.options import EngineOptions, Mode
from promptcard_ext.core.engine.purse import Purse
from promptcard_ext.core.engine.trial import Trials
from promptcard_ext.core.errors import RunError
from promptcard_ext.core.events import ItemFinished, RunEvent, RunFinished, RunStarted
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Prepared
from promptcard_ext.core.ports import Attempts, Budget, GenerationStore, Provider
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.core.results import Counts, Generation


async def execute(
    prepared: Prepared,
    provider_of: Callable[[str], Provider],
    *,
    prices: PriceBook,
    options: EngineOptions | None = None,
    control: Control | None = None,
    attempts: Attempts | None = None,
    items: Collection[Item] | None = None,
    store: GenerationStore | None = None,
    budget: Budget | None = None,
    known: Callable[[Item], Generation | None] | None = None,
    gates: Gates | None = None,
) -> AsyncIterator[RunEvent]:
    """Run the items of a plan and yield what happens.

    Args:
        prepared: The plan, rendered and compiled.
        provider_of: Gives the provider of a model reference.
        attempts: Told before items are called.
        items: The items to run, in the order of the plan, when not all of it.
        store: Where answers are taken from and kept, as ``options.mode`` says.
        budget: Money that the calls may cost, judges included.
        known: Gives the answer of an item that has one already; such an item is judged and not called. What it raises
            as a `ProviderError` is the end of the item, as if it had been called.
        gates: What calls pass, when this run has them in common with others.

    Yields:
        One `RunStarted`, one `ItemFinished` per item in order of completion, one `RunFinished`.

    Raises:
        RunError: From the ``attempts`` port, or an assertion needs a judge and there is none (``no_judge``), or a
            budget is given for a model without a price (``budget_unpriced``). Failures of single calls are results,
            not exceptions.
        ProviderError: A card has a setting that a provider cannot send (``setting_not_supported``).
    """
    options, control = options or EngineOptions(), control or Control()
    caller = Caller(provider_of, prices, options, store, None if budget is None else Purse(budget), gates)
    check_needs(prepared, options.judges, options.embedder)
    _check_settings(prepared, caller)
    _check_prices(prepared, caller)
    total = prepared.plan.total if items is None else len(items)
    source = prepared.plan.items() if items is None else iter(items)
    crew = Crew(Trials(prepared, caller, known), attempts, source)
    counts = Counts(total=total)
    yield RunStarted(total)
    loop = asyncio.get_running_loop()
    alarm = None if options.deadline_s is None else loop.call_later(options.deadline_s, crew.stop, "deadline")
    crew.staff(options.concurrency, at_most=total)
    control.bind(loop, crew)
    left = []
    try:
        while batch := await crew.next_batch():
            for result in batch:
                counts.add(result)
                yield ItemFinished(result)
    finally:
        if alarm is not None:
            alarm.cancel()
        left = await crew.disband()
        if store is not None:
            store.flush()
    for result in left:
        counts.add(result)
        yield ItemFinished(result)
    yield RunFinished(counts, cancelled=counts.done < counts.total, reason=crew.reason)


def check_needs(prepared: Prepared, judges: Sequence[str], embedder: str | None) -> None:
    """Refuse a run whose assertions need a model that it does not have.

    Raises:
        RunError: An assertion needs a judge (``no_judge``) or an embedding model (``no_embedder``).
    """
    if "judge" in prepared.needs and not judges:
        raise RunError(
            "An assertion of this run needs a judge, and there is none.",
            hint="Give the run a judge, such as openai:gpt-4.1-mini, or the assertion a 'provider'.",
            code="no_judge",
        )
    if "embedder" in prepared.needs and embedder is None:
        raise RunError(
            "An assertion of this run needs an embedding model, and there is none.",
            hint="Give the run an embedder, such as openai:text-embedding-3-small, or the assertion a 'provider'.",
            code="no_embedder",
        )


def _check_settings(prepared: Prepared, caller: Caller) -> None:
    for reference in prepared.plan.models:
        provider, _ = caller.provider(reference)
        check = getattr(provider, "check_settings", None)
        if check is None:
            continue
        for card in prepared.plan.cards:
            check(card.settings)


def _check_prices(prepared: Prepared, caller: Caller) -> None:
    if caller.purse is None or caller.options.mode is Mode.REPLAY:
        return
    options = caller.options
    further = sorted(prepared.named_models | ({options.embedder} if options.embedder else set()))
    for reference in dict.fromkeys((*prepared.plan.models, *options.judges, *further)):
        provider, model = caller.provider(reference)
        if caller.price(provider, model) is None:
            raise RunError(
                f"The price of '{reference}' is not known, so a budget cannot hold.",
                hint="Give the model a price, or run without a budget.",
                code="budget_unpriced",
            )
