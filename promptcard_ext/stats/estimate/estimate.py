"""What a run is going to cost, before its first call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Generic, TypeVar

from msgspec import Struct

from promptcard_ext.core.errors import RunError
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Prepared
from promptcard_ext.core.ports import Provider
from promptcard_ext.core.pricing import Price, PriceBook
from promptcard_ext.stats.estimate.forecast import FIRST_TOKEN_S, TOKEN_S, Forecast, Totals
from promptcard_ext.stats.estimate.history import History
from promptcard_ext.stats.estimate.load import Load, LoadKey, Loads, Survey
from promptcard_ext.stats.estimate.spread import Assumed, Spread
from promptcard_ext.stats.intervals import percentile

REPEATED, REPAIRED = 0.02, 0.03
# Output tokens without history. The median of an answer is anybody's guess within a factor of 2.5 either way.
_ANSWER = Assumed(median=250, sigma=0.6, doubt=0.9)
_JUDGEMENT = Assumed(median=80, sigma=0.4, doubt=0.4)
_NO_OUTPUT = Assumed(median=1e-9, sigma=1e-9, doubt=0.0)
_MICRO = Decimal("0.000001")
N = TypeVar("N", int, float, Decimal)


class Quantiles(Struct, Generic[N], frozen=True):
    """One in ten runs stays below ``p10``, half below ``p50``, nine in ten below ``p90``, if the assumptions hold."""

    p10: N
    p50: N
    p90: N


class Estimate(Struct, frozen=True):
    """What a run is going to take.

    Attributes:
        calls: With judges, embeddings, changed prompts, and repetitions after failures.
        calls_most: The most there can be, repetitions after failures aside.
        planned: Calls without any repetition; ``priced`` of them have a known price.
        usd: For those ``priced`` only; None when no price is known.
        assumptions: What this rests on, as sentences.
    """

    items: int
    calls: Quantiles[int]
    calls_most: int
    planned: int
    priced: int
    tokens_input: Quantiles[int]
    tokens_output: Quantiles[int]
    usd: Quantiles[Decimal] | None
    minutes: Quantiles[float]
    assumptions: tuple[str, ...] = ()

    def __str__(self) -> str:
        usd = self.usd
        money = "price not known" if usd is None else f"${usd.p50:.4f} (${usd.p10:.4f} to ${usd.p90:.4f})"
        partly = f", {self.priced:,} of {self.planned:,} calls priced" if self.priced < self.planned else ""
        return (
            f"{money}{partly}; {self.calls.p50:,} calls; "
            f"{self.minutes.p50:.1f} minutes ({self.minutes.p10:.1f} to {self.minutes.p90:.1f})"
        )


def estimate(
    prepared: Prepared,
    book: PriceBook,
    *,
    provider_of: Callable[[str], Provider] | None = None,
    history: History | None = None,
    concurrency: int = 16,
    judges: Sequence[str] = (),
    embedder: str | None = None,
    cached: float | Callable[[Item], bool] = 0.0,
) -> Estimate:
    """Return what a run is going to cost and take; it makes no call.

    Args:
        provider_of: Gives the provider of a model reference, which knows under what its prices are; without it the name
            before the colon is taken.
        history: Earlier results, whose lengths and latencies are taken instead of assumptions where there are five.
        concurrency: Most calls in flight.
        judges: The run's judges, all of which are asked; ``embedder`` its embedding model.
        cached: Which share of the answers is stored (0 to 1), or whether the one of an item is: those cost nothing.
            Judging them is counted, since what is judged may have changed.

    Raises:
        RunError: ``cached`` or ``concurrency`` is out of range (``estimate_invalid``).
        CardError, TemplateError: A case does not fit a card.
    """
    _check(cached, concurrency)

    def price_of(reference: str) -> Price | None:
        connection, _, model = reference.partition(":")
        key = connection.partition("/")[0]
        provider = provider_of(reference) if provider_of is not None else None
        endpoint = provider.endpoint if provider is not None else ""
        return book.find(provider.price_key if provider is not None else key, model, endpoint=endpoint)

    history = history or History()
    loads = Survey(prepared, price_of, tuple(judges), embedder, cached).run()
    by_key = loads.by_key
    lengths = {key: _length(key, history) for key in by_key}
    latencies = {key: history.latencies_s(key.purpose, key.label, key.model) for key in by_key}
    repeated = REPEATED if history.repeated is None else history.repeated
    totals = Forecast(by_key, lengths, latencies, concurrency, repeated, REPAIRED).run()
    notes = _assumptions(loads, lengths, latencies, repeated, history)
    return _summed_up(prepared.plan.total, by_key, totals, notes)


def _check(cached: float | Callable[[Item], bool], concurrency: int) -> None:
    if concurrency < 1 or not (callable(cached) or 0 <= cached <= 1):
        raise RunError(
            f"An estimate cannot be made for concurrency {concurrency!r:.20} and stored share {cached!r:.60}.",
            hint="Concurrency is 1 or more; the share is between 0 and 1.",
            code="estimate_invalid",
        )


def _length(key: LoadKey, history: History) -> Spread:
    if key.purpose == "embedding":
        return _NO_OUTPUT
    # A changed prompt is answered like the prompt itself.
    purpose = "answer" if key.purpose == "variant" else key.purpose
    seen = history.lengths(purpose, key.label, key.model)
    return seen or (_JUDGEMENT if purpose == "judge" else _ANSWER)


def _summed_up(items: int, loads: dict[LoadKey, Load], totals: Totals, notes: tuple[str, ...]) -> Estimate:
    planned = sum(load.usual for load in loads.values())
    priced = sum(load.usual for load in loads.values() if load.price is not None)
    low, mid, high = _quantiles(totals.usd)
    usd = (
        None
        if planned and not priced
        else Quantiles(*(Decimal(str(value)).quantize(_MICRO) for value in (low, mid, high)))
    )
    return Estimate(
        items=items,
        calls=_whole(totals.calls),
        calls_most=round(sum(load.most for load in loads.values())),
        planned=round(planned),
        priced=round(priced),
        tokens_input=_whole(totals.tokens_input),
        tokens_output=_whole(totals.tokens_output),
        usd=None if planned and not priced else usd,
        minutes=Quantiles(*_quantiles(totals.minutes)),
        assumptions=notes,
    )


def _quantiles(values: list[float]) -> tuple[float, float, float]:
    low, mid, high = (percentile(values, share) or 0.0 for share in (0.1, 0.5, 0.9))
    return low, mid, high


def _whole(values: list[float]) -> Quantiles[int]:
    return Quantiles(*(round(value) for value in _quantiles(values)))


def _assumptions(
    loads: Loads,
    lengths: Mapping[LoadKey, Spread],
    latencies: Mapping[LoadKey, Spread | None],
    repeated: float,
    history: History,
) -> tuple[str, ...]:
    notes = ["Input tokens are estimated from the kinds of characters, without the model's tokenizer."]
    if loads.cases < loads.all_cases:
        notes.append(f"{loads.cases:,} of {loads.all_cases:,} cases, evenly spaced, stand for all.")
    if _ANSWER in lengths.values():
        notes.append(f"Answers without history: about {_ANSWER.median:.0f} tokens, up to max_tokens.")
    if _JUDGEMENT in lengths.values():
        notes.append(f"Judgements without history: about {_JUDGEMENT.median:.0f} tokens.")
    if any(latency is None for latency in latencies.values()):
        notes.append(f"Latency without history: {FIRST_TOKEN_S} s and {TOKEN_S} s for each output token.")
    source = "assumed" if history.repeated is None else "as before"
    notes.append(f"Calls made again after a failure: {repeated:.0%} ({source}), counted as paid for.")
    if any(key.purpose != "answer" for key in loads.by_key):
        notes.append(f"Judgements asked for again: {REPAIRED:.0%} (assumed). Sets and cascades are taken whole.")
    if any(load.price is None for load in loads.by_key.values()):
        unknown = sorted({key.model for key, load in loads.by_key.items() if load.price is None})
        notes.append(f"No price is known for {', '.join(unknown[:5])}; those calls are in no sum of money.")
    return tuple(notes)
