"""Going on with a run that is kept on disk."""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from promptcard_ext.core.assertions import python
from promptcard_ext.core.engine import EngineOptions
from promptcard_ext.core.errors import FileError
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.core.results import Generation
from promptcard_ext.interchange.price_file import price_book
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.redo import answer_in, to_do
from promptcard_ext.kernel.run import as_money, as_store, start
from promptcard_ext.kernel.setup import Kept, Setup
from promptcard_ext.local.run_folder import RunFolder


def resume(
    folder: RunFolder,
    *,
    retry_errors: bool = False,
    concurrency: int | None = None,
    timeout_s: float | None = None,
    budget_usd: float | str | Decimal | None = None,
    prices: PriceBook | str | Path | None = None,
    providers: dict[str, dict[str, Any]] | None = None,
) -> RunHandle:
    """Go on with a run: what has a result keeps it, what has an answer is not called again.

    Args:
        folder: The run, opened for writing.
        retry_errors: Also call again what ended as an error.
        concurrency, timeout_s, budget_usd: As for `run`; default what the run had. The budget is that of the whole run:
            what was spent before counts.
        prices, providers: As for `run`; keys are taken from the environment.

    Raises:
        FileError: The folder's options cannot be read (``run_invalid``).
        PromptCardError: As `run` says.
    """
    setup = setup_in(folder, prices=prices)
    options = replace(
        setup.options,
        concurrency=concurrency or setup.options.concurrency,
        timeout_s=timeout_s or setup.options.timeout_s,
    )
    budget = as_money(budget_usd) if budget_usd is not None else setup.budget_usd
    merged = {**setup.providers, **(providers or {})}
    setup = replace(setup, options=options, budget_usd=budget, providers=merged)
    items = to_do(setup.plan.prepare(), folder.results.get, retry_errors=retry_errors)

    def known(item: Item) -> Generation | None:
        return answer_in(folder.results.get(item.ordinal))

    return start(setup, folder.head.name, items=items, known=known, folder=folder)


def setup_in(folder: RunFolder, *, prices: PriceBook | str | Path | None = None) -> Setup:
    """Return what a run on disk ran, and how.

    Raises:
        FileError: The folder's options cannot be read (``run_invalid``).
    """
    head = folder.head
    try:
        kept = msgspec.convert(head.options, Kept, strict=False)
    except msgspec.ValidationError as error:
        raise FileError(f"The options of run '{head.id}' cannot be read: {error}.", code="run_invalid") from None
    # What was not run because others may have written it does not become the user's own by being kept.
    python.distrust_sources(kept.distrusted)
    options = EngineOptions(
        concurrency=kept.concurrency,
        timeout_s=kept.timeout_s,
        deadline_s=kept.deadline_s,
        requests_per_minute=kept.requests_per_minute,
        tokens_per_minute=kept.tokens_per_minute,
        mode=kept.mode,
        judges=kept.judges,
        embedder=kept.embedder,
    )
    return Setup(
        plan=Plan(head.cards, head.models, folder.cases, head.repeats),
        options=options,
        prices=prices if isinstance(prices, PriceBook) else price_book(prices),
        providers=kept.providers(os.environ),
        store=as_store(None, kept.mode),
        budget_usd=kept.budget_usd,
        derived=kept.derived,
        key_names=kept.key_names,
        folder=kept.folder,
    )
