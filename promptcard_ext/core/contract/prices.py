"""Prices over REST: the book of the installation, and a workspace's own."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from promptcard_ext.core.price import Tier

ProviderName = Annotated[str, Meta(min_length=1, max_length=300)]
ModelName = Annotated[str, Meta(min_length=1, max_length=300)]
Source = Annotated[str, Meta(min_length=1, max_length=1000)]


class PriceOverrideSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A price of the workspace's own, in USD per million tokens; it comes before one of the book.

    Attributes:
        provider: Name of the provider, or ``openai@HOST`` or ``openai@HOST:PORT`` for one endpoint.
        model: Name of the model; dated snapshots of it cost the same. ``*`` is every model.
        input_per_mtok, output_per_mtok: Output is null for a model that writes nothing.
        cached_input_per_mtok, cache_write_per_mtok: Default as input.
        reasoning_per_mtok: Default as output.
        per_call: For each call, whatever its tokens.
        tiers: Other prices for long inputs, shortest first.
        valid_from: First day, UTC.
        valid_to: First day on which it no longer holds.
        source: Where the price comes from, such as a contract.
    """

    provider: ProviderName
    model: ModelName
    input_per_mtok: Decimal
    output_per_mtok: Decimal | None
    valid_from: date
    source: Source
    valid_to: date | None = None
    cached_input_per_mtok: Decimal | None = None
    cache_write_per_mtok: Decimal | None = None
    reasoning_per_mtok: Decimal | None = None
    per_call: Decimal = Decimal(0)
    tiers: Annotated[list[Tier], Meta(max_length=20)] = []


class PriceOverridePatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What of an override can be changed. Its rates cannot: answers were priced by them.

    Attributes:
        valid_to: First day on which it no longer holds; null has it hold on.
        source: Where the price comes from.
    """

    valid_to: date | UnsetType | None = UNSET
    source: Source | UnsetType = UNSET


class PriceOverrideOut(Struct, frozen=True):
    """A price of the workspace's own; its fields are those of `PriceOverrideSpec`.

    Attributes:
        provider, model, input_per_mtok, output_per_mtok, valid_from, valid_to, source, cached_input_per_mtok,
        cache_write_per_mtok, reasoning_per_mtok, per_call, tiers: As in `PriceOverrideSpec`.
        id: Its id.
        price_id: How answers that were priced by it name it.
        created_by: Id of the user who made it.
        created_at: When.
    """

    id: UUID
    price_id: str
    provider: str
    model: str
    input_per_mtok: Decimal
    output_per_mtok: Decimal | None
    valid_from: date
    valid_to: date | None
    source: str
    cached_input_per_mtok: Decimal | None
    cache_write_per_mtok: Decimal | None
    reasoning_per_mtok: Decimal | None
    per_call: Decimal
    tiers: list[Tier]
    created_by: UUID | None
    created_at: datetime


class PriceOut(Struct, frozen=True):
    """A price that holds in the workspace.

    Attributes:
        id: How answers name it.
        override: Whether it is the workspace's own, and not of the book.
        provider, model, input_per_mtok, output_per_mtok, cached_input_per_mtok, cache_write_per_mtok,
        reasoning_per_mtok, per_call, tiers, valid_from, valid_to, source: As in `PriceOverrideSpec`.
    """

    id: str
    override: bool
    provider: str
    model: str
    input_per_mtok: Decimal
    output_per_mtok: Decimal | None
    cached_input_per_mtok: Decimal | None
    cache_write_per_mtok: Decimal | None
    reasoning_per_mtok: Decimal | None
    per_call: Decimal
    tiers: list[Tier]
    valid_from: date
    valid_to: date | None
    source: str


class PriceQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which prices to list, by provider and model.

    Attributes:
        on: The day, UTC; default today.
        provider: Name of the provider.
        model: A part of the model's name, in any case.
        cursor: ``next`` of the page before.
        limit: Most prices on a page.
    """

    on: date | None = None
    provider: Annotated[str, Meta(max_length=300)] | None = None
    model: Annotated[str, Meta(max_length=300)] | None = None
    cursor: Annotated[str, Meta(max_length=2000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 200


class PriceOverrideQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which overrides to list, by provider, model and first day.

    Attributes:
        cursor: ``next`` of the page before.
        limit: Most overrides on a page.
    """

    cursor: Annotated[str, Meta(max_length=2000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
