"""What the engine needs from outside, as protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.matrix import Item
from promptcard_ext.core.results import Tokens


class Request(Struct, frozen=True):
    """One call of a model.

    Attributes:
        nonce: Same for the same case and repeat in every run. Real providers do not see it; the simulated one
            draws its chances from it.
    """

    model: str
    messages: tuple[Message, ...]
    settings: ModelSettings
    nonce: str = ""


class Reply(Struct, frozen=True, omit_defaults=True):
    """What a provider answered; times in milliseconds."""

    output: str | None
    latency_ms: float
    tokens: Tokens = Tokens()
    finish_reason: str | None = None
    ttft_ms: float | None = None
    model_reported: str | None = None
    fingerprint: str | None = None
    tool_calls: Any = None


class Provider(Protocol):
    """An adapter to one endpoint.

    Attributes:
        name: Name in model references, such as ``openai``.
        price_key: Under which name the price book knows it, or an empty text for an endpoint without known prices.
        endpoint: Where it calls, for errors and identity; no credentials.
    """

    name: str
    price_key: str
    endpoint: str

    async def generate(self, request: Request) -> Reply:
        """Make one call, without retries.

        Raises:
            ProviderError: It failed; says whether a retry may help and whether the request was sent.
        """

    async def list_models(self) -> list[str]:
        """Return the names of the models that are there.

        Raises:
            ProviderError: The endpoint does not answer.
        """

    async def close(self) -> None:
        """Close connections; calling it twice is fine."""


class Attempts(Protocol):
    """Where the intention to call is written down before the call is made."""

    async def open(self, items: Sequence[Item]) -> None:
        """Record that these items are about to be called; the calls start after it returns.

        Raises:
            RunError: The right to work on these items was lost (another worker has them).
        """
