"""Events of a run as clients get them, encoded; and those that have just been written, without reading them again.

What was written may come back changed: jsonb has no negative zero and other ways to write large numbers, keeps its keys
in an order of its own, and some of what a worker knows is not stored. An event is encoded from what was written only
where that gives the very bytes that reading it gives. It is left to readers otherwise, which is never wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from promptcard_ext.core import wire
from promptcard_ext.core.results import Generation, ItemResult, Tokens, Verdict
from server_ext.db.text import pg_safe
from server_ext.services.answers import is_override

# Below it every whole number is a float, too; and no float is written in a way that another one is read from.
_EXACT = 2.0**53
_NO_TOKENS = next(field.default for field in msgspec.structs.fields(Generation) if field.name == "tokens")


class FreshEvent(Struct, frozen=True):
    """An event that brings results, as the transaction that wrote it knows it.

    Attributes:
        status: The run's, at that time.
        card: Name of the card by the run's plan.
        results: What it brings, in any order.
    """

    seq: int
    status: str
    payload: dict[str, Any]
    card: str
    results: tuple[ItemResult, ...]


class _Changed(Exception):
    """Something of an event comes back from the database in another form."""


def encoded(seq: int, kind: str, status: str, payload: Any, items: Iterable[ItemResult]) -> bytes:
    """Return an event as it is sent."""
    return wire.encode({"seq": seq, "kind": kind, "status": status, "payload": payload, "items": items})


def encode_fresh(event: FreshEvent, most_bytes: int) -> bytes | None:
    """Return an event as it is sent; None when it is larger than ``most_bytes``, or must be read to know its form."""
    if sum(map(_texts, event.results)) > most_bytes:
        return None  # seen without encoding it
    try:
        ordered = sorted(event.results, key=lambda result: result.ordinal)
        items = [_as_read(result, event.card) for result in ordered]
        message = encoded(event.seq, "items", event.status, _as_jsonb(event.payload), items)
    except (_Changed, RecursionError):
        return None
    return message if len(message) <= most_bytes else None


def _texts(result: ItemResult) -> int:
    """Return how many characters an item's answers have."""
    generation = result.generation
    size = 0 if generation is None else len(generation.output or "") + len(generation.raw or "")
    for call in result.calls:
        size += len(call.generation.output or "") + len(call.generation.raw or "")
    return size


def _as_read(result: ItemResult, card: str) -> ItemResult:
    if result.card != card or result.label != f"{card}@{result.version}":
        raise _Changed
    if result.score is not None and type(result.score) is not float:
        raise _Changed
    for verdict in result.verdicts:
        _check_verdict(verdict)
    generation = None if result.generation is None else _answer_as_read(result.generation)
    if not result.calls:
        return result if generation is result.generation else replace(result, generation=generation)
    calls = tuple(replace(call, generation=_answer_as_read(call.generation)) for call in result.calls)
    return replace(result, generation=generation, calls=calls)


def _check_verdict(verdict: Verdict) -> None:
    # In jsonb, other than the numbers of an answer: those have columns.
    if verdict.score is not None:
        _check_number(verdict.score)
    _check_number(verdict.weight)
    for part in verdict.parts:
        _check_verdict(part)


def _check_number(value: float) -> None:
    if type(value) is not float or not -_EXACT < value < _EXACT or (value == 0 and math.copysign(1, value) < 0):
        raise _Changed


def _answer_as_read(generation: Generation) -> Generation:
    if type(generation.latency_ms) is not float or type(generation.ttft_ms) not in (float, type(None)):
        raise _Changed
    if generation.cost_usd is not None:
        _check_amount(generation.cost_usd)
    if generation.price_id is not None and not _is_canonical(generation.price_id):
        raise _Changed
    tokens = generation.tokens
    changed: dict[str, Any] = {}
    if tokens.cache_write is not None or tokens is _NO_TOKENS:
        changed["tokens"] = Tokens(tokens.input, tokens.output, tokens.cached, tokens.reasoning)
    if generation.tool_calls is not None:
        changed["tool_calls"] = _as_jsonb(generation.tool_calls)
    if generation.logprobs is not None:
        for logprob in generation.logprobs:
            _check_number(logprob)
        changed["logprobs"] = generation.logprobs or None
    return replace(generation, **changed) if changed else generation


def _check_amount(amount: Decimal) -> None:
    """Raise unless ``numeric`` gives back an amount with the same digits."""
    exponent = amount.as_tuple().exponent
    if type(exponent) is not int or not -1000 < exponent <= 0 or amount.is_signed():
        raise _Changed


@lru_cache(maxsize=1000)
def _is_canonical(price_id: str) -> bool:
    """Tell whether an id is written as it is read."""
    text = price_id.rpartition(":")[2] if is_override(price_id) else price_id
    return str(UUID(text)) == text


def _as_jsonb(value: Any) -> Any:
    """Return a value as ``jsonb`` gives it back."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, float):
        _check_number(value)
        return value
    if isinstance(value, int):
        if not -_EXACT < value < _EXACT:
            raise _Changed
        return value
    if isinstance(value, list | tuple):
        return [_as_jsonb(one) for one in value]
    if not isinstance(value, dict) or any(type(key) is not str or pg_safe(key) != key for key in value):
        raise _Changed
    # Shorter keys come first.
    ordered = sorted((len(name := key.encode()), name, key) for key in value)
    return {key: _as_jsonb(value[key]) for _, _, key in ordered}
