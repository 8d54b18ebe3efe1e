"""Library mode: run cards in this process, without any server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from promptcard_ext.core.assertions import python
from promptcard_ext.core.budget import SpendLimit
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case, as_cases
from promptcard_ext.core.engine import Control, EngineOptions, Mode, check_needs, execute
from promptcard_ext.core.errors import CardError, PromptCardError, RunError
from promptcard_ext.core.events import ItemFinished, RunFinished
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Plan, Prepared
from promptcard_ext.core.ports import GenerationStore
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.core.results import Generation
from promptcard_ext.interchange.price_file import price_book
from promptcard_ext.kernel import loop
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.provenance import here
from promptcard_ext.kernel.redo import Items
from promptcard_ext.kernel.setup import Setup
from promptcard_ext.local.case_spool import CaseSpool
from promptcard_ext.local.generations import FileGenerations
from promptcard_ext.local.results_log import ResultsLog
from promptcard_ext.local.run_folder import RunFolder
from promptcard_ext.providers import Providers, model

if TYPE_CHECKING:
    import pandas as pd

SAVE_S = 0.2
Cards = Card | Sequence[Card]
Cases = Iterable[Case | Mapping[str, Any]]


def run(
    card: Cards,
    cases: Cases | pd.DataFrame,
    models: str | Sequence[str],
    *,
    repeats: int = 1,
    concurrency: int = 16,
    timeout_s: float = 120.0,
    deadline_s: float | None = None,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    judge: str | Sequence[str] = (),
    embedder: str | None = None,
    mode: str = "live",
    store: GenerationStore | str | Path | None = None,
    budget_usd: float | str | Decimal | None = None,
    prices: PriceBook | str | Path | None = None,
    providers: dict[str, dict[str, Any]] | None = None,
    keep: bool = False,
    name: str = "",
) -> RunHandle:
    """Run every case of every card version against every model, in this process.

    Args:
        card: One card or several versions to compare.
        cases: Cases, mappings of variables, or a data frame with a column per variable.
        models: References such as ``"ollama:llama3.2"``.
        repeats: How often each cell is asked.
        concurrency: Most calls in flight; a run starts with fewer and grows while the provider answers.
        timeout_s: Longest time for one call, in seconds.
        deadline_s: Longest time for the whole run, in seconds.
        requests_per_minute: Most calls that begin in a minute, for each endpoint and key; judges count too.
        tokens_per_minute: Most tokens that they take in a minute, in and out.
        judge: Model that judges where an assertion needs one; several are a panel.
        embedder: Model that makes vectors where an assertion needs them.
        mode: ``live`` always calls; ``cache`` takes stored answers up to 14 days old; ``replay`` never calls;
            ``record_new`` takes stored answers of any age and calls for the rest.
        store: Where answers are kept: a path, or a store; default the user's cache.
        budget_usd: Most that may be spent, judges included; every model needs a price then.
        prices: A price book, or a file with prices of your own; default the shipped prices and the user's file.
        providers: Settings per provider: ``{"openai": {"base_url": "http://localhost:8000/v1"}}``.
        keep: Keep the run on disk, so that it can be resumed after anything (``handle.kept_as`` is its id).

    Returns:
        A handle, at once. Mistakes in cards, cases and model names are raised before it.

    Raises:
        CardError, TemplateError: A case does not fit a card, or a template does not render.
        UnknownModel: A reference names no provider.
        RunError: An option makes no sense (``run_options``).

    Example:
        >>> card = Card("greet", "Say hello to {{ who }}.")
        >>> run(card, [{"who": "Ada"}], "simulated:echo").wait().to_frame()["output"][0]
        'Say hello to Ada.'
    """
    cards = (card,) if isinstance(card, Card) else tuple(card)
    references = (models,) if isinstance(models, str) else tuple(models)
    judges = (judge,) if isinstance(judge, str) else tuple(judge)
    options = EngineOptions(
        concurrency=concurrency,
        timeout_s=timeout_s,
        deadline_s=deadline_s,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        mode=as_mode(mode),
        judges=judges,
        embedder=embedder,
    )
    plan = Plan(cards, references, as_sequence(cases), repeats)
    setup = Setup(
        plan=plan,
        options=options,
        prices=price_book(prices) if not isinstance(prices, PriceBook) else prices,
        providers=providers or {},
        store=as_store(store, options.mode),
        budget_usd=as_money(budget_usd),
    )
    label = name or " vs ".join(card.label for card in cards)
    if not keep:
        return start(setup, label)
    plan.prepare()
    return start(setup, label, folder=new_folder(setup, label))


def new_folder(setup: Setup, name: str) -> RunFolder:
    """Make the folder on this machine that keeps a run.

    Raises:
        FileError: It cannot be made.
    """
    plan, options = setup.plan, setup.to_keep()
    if (origin := here()) is not None:
        options["provenance"] = msgspec.to_builtins(origin)
    return RunFolder.create(
        name, cards=plan.cards, models=plan.models, cases=plan.cases, repeats=plan.repeats, options=options
    )


def start(
    setup: Setup,
    name: str,
    *,
    log: ResultsLog | None = None,
    items: Items | None = None,
    known: Callable[[Item], Generation | None] | None = None,
    folder: RunFolder | None = None,
) -> RunHandle:
    """Start a run and return its handle.

    Args:
        folder: Where the run is kept; told how it ended, and closed then.
        log: Where results go, unless there is a folder; with ``items`` it may hold earlier ones.
        items: Those to do, when not all.
        known: Gives the answers that are there already.

    Raises:
        CardError, TemplateError, UnknownModel, RunError: As `run` says.
    """
    python.allow(setup.folder)
    prepared = setup.plan.prepare()
    check_needs(prepared, setup.options.judges, setup.options.embedder)
    options = setup.options
    further = (*options.judges, *filter(None, [options.embedder]), *sorted(prepared.named_models))
    for reference in (*setup.plan.models, *further):
        model(reference)
    control = Control()
    log = folder.results if folder is not None else log
    handle = RunHandle(name, setup.plan.total, control.cancel, control=control, log=log, setup=setup)
    if items is not None:
        handle.expect_again(items.ordinals)
    if folder is not None:
        handle.kept_as = folder.id
    loop.submit(drive(handle, setup, prepared, control, items, known, folder))
    return handle


async def drive(
    handle: RunHandle,
    setup: Setup,
    prepared: Prepared,
    control: Control,
    items: Items | None,
    known: Callable[[Item], Generation | None] | None,
    folder: RunFolder | None,
) -> None:
    """Carry out a run and feed its handle; the arguments are those of `start`."""
    handle.feed(status="running")
    if setup.budget_usd is not None:
        # A run that goes on has the rest of its budget.
        handle.purse = SpendLimit(setup.budget_usd, handle.counts.spent_usd + handle.discarded_usd)
    saving = asyncio.create_task(_save_now_and_then(handle))
    providers = Providers(setup.providers)
    status, error = "failed", None
    try:
        events = execute(
            prepared,
            providers,
            prices=setup.prices,
            options=setup.options,
            control=control,
            items=items,
            store=setup.store,
            budget=handle.purse,
            known=known,
        )
        async for event in events:
            if isinstance(event, ItemFinished):
                handle.feed([event.result])
            elif isinstance(event, RunFinished):
                handle.reason = event.reason
                status = "cancelled" if event.cancelled else "completed"
    except PromptCardError as problem:
        error = problem
    except Exception as problem:  # noqa: BLE001  The edge of the background thread: nobody else would ever see it.
        error = PromptCardError(f"The run broke: {type(problem).__name__}: {problem}", code="internal_error")
    finally:
        saving.cancel()
        await providers.close()
    handle.feed(status=status, error=_kept(handle, folder, status) or error)


def _kept(handle: RunHandle, folder: RunFolder | None, status: str) -> PromptCardError | None:
    """Write down how a run ended, before anybody is told: they may end the process. Return what went wrong."""
    try:
        handle.log.flush()
        if folder is not None:
            folder.finish(status, handle.counts)
            folder.release()
    except PromptCardError as error:
        return error
    return None


async def _save_now_and_then(handle: RunHandle) -> None:
    # A process that is killed loses nothing that has been handed to the system.
    while True:
        await asyncio.sleep(SAVE_S)
        with suppress(PromptCardError):  # said at the end, when it matters
            handle.log.flush()


def as_mode(mode: str) -> Mode:
    """Return the mode of that name.

    Raises:
        RunError: There is none (``run_options``).
    """
    try:
        return Mode(mode)
    except ValueError:
        raise RunError(
            f"There is no mode '{mode!s:.40}'.", code="run_options", hint=f"There are: {', '.join(Mode)}."
        ) from None


def as_store(store: GenerationStore | str | Path | None, mode: Mode) -> GenerationStore | None:
    """Return where answers are kept; nowhere when the mode neither takes nor keeps any."""
    if mode is Mode.LIVE:
        return None
    return FileGenerations(store) if store is None or isinstance(store, str | Path) else store


def as_money(value: float | str | Decimal | None) -> Decimal | None:
    """Return an amount in USD.

    Raises:
        RunError: It is no number of 0 or more (``run_options``).
    """
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise RunError(f"A budget of {value!r:.40} is no amount of money.", code="run_options", hint="Give it in USD.")
    return amount


def as_sequence(cases: Cases | pd.DataFrame) -> Sequence[Case]:
    """Return cases as a sequence; those that come one by one are kept on disk.

    Raises:
        CardError: It is a path; or two cases have the same variables (``case_twice``).
    """
    if isinstance(cases, str | Path):
        raise CardError(
            f"'{cases}' is a path, not cases.",
            code="case_invalid",
            hint="Use promptcard_ext.load_card_file(path).cases, or promptcard_ext.load_cases(path).",
        )
    if isinstance(cases, CaseSpool):
        return cases
    if hasattr(cases, "to_dict") and hasattr(cases, "columns"):
        frame = cast("pd.DataFrame", cases)
        cases = cast("list[dict[str, Any]]", frame.astype(object).where(frame.notna(), None).to_dict("records"))
    return as_cases(cases) if isinstance(cases, list | tuple) else CaseSpool.write(cases)
