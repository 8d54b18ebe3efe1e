"""Library mode: run cards in this process, without any server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case, as_cases
from promptcard_ext.core.engine import Control, EngineOptions, execute
from promptcard_ext.core.errors import CardError, PromptCardError
from promptcard_ext.core.events import ItemFinished, RunFinished
from promptcard_ext.core.matrix import Plan, Prepared
from promptcard_ext.core.pricing import shipped_prices
from promptcard_ext.kernel import loop
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.providers import Providers, model

if TYPE_CHECKING:
    import pandas as pd

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
    providers: dict[str, dict[str, Any]] | None = None,
    name: str = "",
) -> RunHandle:
    """Run every case of every card version against every model, in this process.

    Args:
        card: One card or several versions to compare.
        cases: Cases, mappings of variables, or a data frame with a column per variable.
        models: References such as ``"ollama:llama3.2"``.
        repeats: How often each cell is asked.
        concurrency: Most calls in flight.
        timeout_s: Longest time for one call, in seconds.
        providers: Settings per provider: ``{"openai": {"base_url": "http://localhost:8000/v1"}}``.

    Returns:
        A handle, at once. Mistakes in cards, cases and model names are raised before it.

    Raises:
        CardError, TemplateError: A case does not fit a card, or a template does not render.
        UnknownModel: A reference names no provider.

    Example:
        >>> card = Card("greet", "Say hello to {{ who }}.")
        >>> run(card, [{"who": "Ada"}], "simulated:echo").wait().to_frame()["output"][0]
        'Say hello to Ada.'
    """
    cards = (card,) if isinstance(card, Card) else tuple(card)
    references = (models,) if isinstance(models, str) else tuple(models)
    for reference in references:
        model(reference)
    plan = Plan(cards, references, as_cases(_rows(cases)), repeats)
    prepared = plan.prepare()
    control = Control()
    handle = RunHandle(name or " vs ".join(card.label for card in cards), plan.total, control.cancel)
    options = EngineOptions(concurrency=concurrency, timeout_s=timeout_s)
    loop.submit(_drive(handle, prepared, Providers(providers), options, control))
    return handle


def _rows(cases: Cases | pd.DataFrame) -> Cases:
    if isinstance(cases, str | Path):
        raise CardError(
            f"'{cases}' is a path, not cases.",
            code="case_invalid",
            hint="Use promptcard_ext.load_card_file(path).cases.",
        )
    if hasattr(cases, "to_dict") and hasattr(cases, "columns"):
        frame = cast("pd.DataFrame", cases)
        return cast("list[dict[str, Any]]", frame.astype(object).where(frame.notna(), None).to_dict("records"))
    return cases


async def _drive(
    handle: RunHandle, prepared: Prepared, providers: Providers, options: EngineOptions, control: Control
) -> None:
    handle.feed(status="running")
    try:
        async for event in execute(prepared, providers, prices=shipped_prices(), options=options, control=control):
            if isinstance(event, ItemFinished):
                handle.feed([event.result])
            elif isinstance(event, RunFinished):
                handle.feed(status="cancelled" if event.cancelled else "completed")
    except PromptCardError as error:
        handle.feed(status="failed", error=error)
    except Exception as error:  # noqa: BLE001  The edge of the background thread: nobody else would ever see it.
        reason = PromptCardError(f"The run broke: {type(error).__name__}: {error}", code="internal_error")
        handle.feed(status="failed", error=reason)
    finally:
        await providers.close()
