"""Answers of models over REST, with what was asked."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from promptcard_ext.core.results import Generation, Outcome


class GenerationHead(Struct, frozen=True):
    """One answer in a list.

    Attributes:
        id: Its id.
        created_at: When it was stored.
        provider, model: Who answered.
        request_hash: Identity of what was asked; the same question has the same one.
        output: The beginning of the answer, at most 200 characters; null when there is no text.
        tokens_input, tokens_output: Null when not known.
        latency_ms: Of the call that succeeded.
        cost_usd: Null when not known.
    """

    id: UUID
    created_at: datetime
    provider: str
    model: str
    request_hash: str
    output: str | None
    tokens_input: int | None
    tokens_output: int | None
    latency_ms: float | None
    cost_usd: Decimal | None


class AttemptOut(Struct, frozen=True):
    """An entry of the ledger of calls.

    Attributes:
        attempt: Number of the attempt of the shard.
        state: ``open``, ``recorded``, ``released`` (not completed), ``late`` (another was faster) or ``unknown``
            (its worker died; it may have been paid for).
        worker: Who made the call.
        claimed_at, closed_at: When.
    """

    attempt: int
    state: str
    worker: str
    claimed_at: datetime
    closed_at: datetime | None


class GenerationUse(Struct, frozen=True):
    """An item of a run whose answer this is.

    Attributes:
        run_id, ordinal: Which item.
        card_version_id: Version of the card that asked.
        outcome: How it was judged.
        attempts: Every call that was announced for the item.
    """

    run_id: UUID
    ordinal: int
    card_version_id: UUID
    outcome: Outcome
    attempts: list[AttemptOut]


class GenerationOut(Struct, frozen=True):
    """One answer, never changed.

    Attributes:
        id: Its id.
        created_at: When it was stored.
        request: What was asked, as it was sent: messages and settings; for a judge only its purpose.
        generation: The answer with tokens, latency and cost.
        uses: Items whose answer it is, at most 20; none for a judge's.
    """

    id: UUID
    created_at: datetime
    request: dict[str, Any]
    generation: Generation
    uses: list[GenerationUse]


class GenerationQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which answers to list, newest first.

    Attributes:
        card: Name or id: answers to this card. Those of judges belong to no card.
        model: Name of the model, without its provider.
        provider: Name of the provider.
        request_hash: Answers to this very question.
        created_after, created_before: From this time on, before this time.
        cursor: ``next`` of the page before.
        limit: Most answers on a page.
    """

    card: Annotated[str, Meta(max_length=255)] | None = None
    model: Annotated[str, Meta(max_length=500)] | None = None
    provider: Annotated[str, Meta(max_length=100)] | None = None
    request_hash: Annotated[str, Meta(max_length=64)] | None = None
    created_after: Annotated[datetime, Meta(tz=True)] | None = None
    created_before: Annotated[datetime, Meta(tz=True)] | None = None
    cursor: Annotated[str, Meta(max_length=2000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
