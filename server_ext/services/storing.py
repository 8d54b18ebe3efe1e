"""Batches into the database, whatever is in them: a result that PostgreSQL refuses takes no other one with it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from promptcard_ext.core.card import ModelSettings
from promptcard_ext.core.errors import Unavailable
from promptcard_ext.core.results import Generation, ItemResult, Outcome, Tokens
from server_ext.db.engine import Database
from server_ext.db.errors import STORING, is_refusal, met_another
from server_ext.services import recording
from server_ext.services.fresh_events import FreshEvent
from server_ext.services.recording import Recorded
from server_ext.services.tasks import Lease

log = logging.getLogger("promptcards.worker")
_TURNS = 6


class Stored(NamedTuple):
    """What became of a batch.

    Attributes:
        seq: Number of the last event that it brought to its run; 0 when it brought none.
        refused: The results that could not be stored as they are; the run has errors in their place.
        events: Those events that are known without reading them.
    """

    seq: int
    refused: tuple[Recorded, ...] = ()
    events: tuple[FreshEvent, ...] = ()


def store(database: Database, lease: Lease, batch: Sequence[Recorded]) -> Stored:
    """Store a batch in one transaction; one that the database refuses in halves, down to the result that is at fault.

    That one is stored as an error with the code ``result_not_storable`` and with what it cost.

    Raises:
        Unavailable: The database is away, or too busy; what is stored of the batch by then may be stored again.
    """
    # In one order, whoever writes: two that write the same rows wait for each other, and never both ways.
    return _store(database, lease, sorted(batch, key=lambda one: one.result.ordinal))


def _store(database: Database, lease: Lease, batch: Sequence[Recorded]) -> Stored:
    try:
        return _in_turn(database, lease, batch)
    except STORING as error:
        if not is_refusal(error):
            raise
        if len(batch) == 1:
            return _store_without_content(database, lease, batch[0], error)._replace(refused=(batch[0],))
    middle = len(batch) // 2
    first, second = _store(database, lease, batch[:middle]), _store(database, lease, batch[middle:])
    return Stored(max(first.seq, second.seq), first.refused + second.refused, first.events + second.events)


def _in_turn(database: Database, lease: Lease, batch: Sequence[Recorded]) -> Stored:
    """Store a batch, again when another transaction was in its way."""
    for turn in range(_TURNS):
        try:
            with database.transaction(lease.workspace_id) as connection:
                brought = recording.record(connection, lease, batch)
            return Stored(brought.seq, events=() if brought.event is None else (brought.event,))
        except Unavailable as error:
            if turn == _TURNS - 1 or not met_another(error):
                raise
            time.sleep(0.01 * 2**turn * random.random())  # noqa: S311  So that the two do not meet again.
    raise AssertionError("the loop above returns or raises")


def _store_without_content(database: Database, lease: Lease, one: Recorded, error: Exception) -> Stored:
    cause = getattr(error, "orig", None) or error  # never its text: that quotes the answer
    log.error(
        "Run %s: the database refuses the result of item %d (%s).",
        lease.run_id,
        one.result.ordinal,
        type(cause).__name__,
    )
    try:
        return _in_turn(database, lease, [without_content(one)])
    except STORING as further:
        if not is_refusal(further):
            raise
        # Even its numbers are impossible.
        return _in_turn(database, lease, [without_content(one, with_numbers=False)])


def without_content(one: Recorded, *, with_numbers: bool = True) -> Recorded:
    """Return an error in place of a result, without all that could be refused, but with what it cost.

    Args:
        with_numbers: Whether tokens and prices are kept, too.
    """
    result = one.result
    message = f"The database refuses to store the result of item {result.ordinal}. What it cost is kept."
    error = ItemResult(
        ordinal=result.ordinal,
        card=result.card,
        version=result.version,
        label=result.label,
        model=result.model,
        case=result.case,
        case_uid=result.case_uid,
        repeat=result.repeat,
        outcome=Outcome.ERROR,
        reason="result_not_storable",
        message=message,
        generation=_numbers(result.generation, with_numbers) if result.generation is not None else None,
        cached=result.cached,
        calls=tuple(replace(call, generation=_numbers(call.generation, with_numbers)) for call in result.calls),
    )
    return replace(one, result=error, messages=(), settings=ModelSettings())


def _numbers(generation: Generation, with_numbers: bool) -> Generation:
    return Generation(
        provider=generation.provider,
        model=generation.model,
        request_hash=generation.request_hash,
        output=None,
        latency_ms=generation.latency_ms,
        tokens=generation.tokens if with_numbers else Tokens(),
        cost_usd=generation.cost_usd,
        price_id=generation.price_id if with_numbers else None,
        attempts=generation.attempts if with_numbers else 1,
    )
