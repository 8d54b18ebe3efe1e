"""What the engine needs from outside, as protocols."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.item import Item
from promptcard_ext.core.results import Generation, Tokens


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


class Quota(Struct, frozen=True):
    """What a provider says is left of its rate limit.

    Attributes:
        remaining: Share that is left of the scarcest limit (requests or tokens), 0 to 1.
        reset_s: Seconds until that limit is whole again, or None when it was not said.
    """

    remaining: float
    reset_s: float | None = None


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
    logprobs: tuple[float, ...] | None = None
    quota: Quota | None = None
    raw: str | None = None


class Embeddings(Struct, frozen=True):
    """One vector per text, in order."""

    vectors: tuple[tuple[float, ...], ...]
    latency_ms: float
    tokens: Tokens = Tokens()
    model_reported: str | None = None


class Provider(Protocol):
    """An adapter to one endpoint.

    Attributes:
        name: Name in model references, such as ``openai``.
        price_key: Under which name the price book knows it, or an empty text for an endpoint without known prices.
        endpoint: Where it calls, for errors and identity; no credentials.

    A provider may also have an attribute ``limit_key``, a text that is the same for all that share a rate limit (the
    endpoint with a hash of the credential, never the credential); without one it is the endpoint. It may have a method
    ``check_settings(settings)``, which raises `ProviderError` for settings that it could not send. An error with
    ``sent`` may have ``raw``: what was received and could not be read.
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


@runtime_checkable
class Embedder(Protocol):
    """A provider that can also turn texts into vectors."""

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """Make one call, without retries.

        Raises:
            ProviderError: As `Provider.generate` says.
        """


class Asker(Protocol):
    """What an assertion may ask for: further calls, which are cached, limited, counted and priced like any other.

    Attributes:
        model: Reference of the model whose answer is judged.
        judges: References of the run's judges, in order; may be empty.
        embedder: Reference of the run's embedding model, or None.
    """

    model: str
    judges: tuple[str, ...]
    embedder: str | None

    async def ask(
        self,
        model: str,
        messages: Sequence[Message],
        settings: ModelSettings = ModelSettings(),  # noqa: B008
        *,
        purpose: str = "judge",
        repeat: int = 0,
    ) -> Generation:
        """Call ``model``, which is a reference such as ``openai:gpt-4.1``.

        Args:
            purpose: ``judge`` or ``variant``, for the record.
            repeat: Another number is another answer to the same question.

        Raises:
            ProviderError: It failed after all retries; or the budget is spent (``budget_exhausted``), or a replay has
                no record of it (``not_recorded``).
        """

    async def embed(self, model: str, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """Return one vector per text.

        Raises:
            ProviderError: As `ask` says; or the provider has no embeddings (``no_embeddings``).
        """


class Attempts(Protocol):
    """Where the intention to call is written down before the call is made."""

    async def open(self, items: Sequence[Item]) -> None:
        """Record that these items are about to be called; the calls start after it returns.

        Raises:
            RunError: The right to work on these items was lost (another worker has them).
        """


class GenerationStore(Protocol):
    """Answers by what was asked. Quick: it is called on the event loop."""

    def get(self, key: str, max_age_s: float | None = None) -> Generation | None:
        """Return what is stored under ``key`` and is not older than ``max_age_s``."""

    def put(self, key: str, generation: Generation) -> None:
        """Store an answer; an earlier one under the same key is replaced."""

    def flush(self) -> None:
        """Make everything stored so far survive the death of this process."""


class Budget(Protocol):
    """Money that a run may spend, reserved before each call, so that it is never overspent by what is in flight."""

    async def reserve(self, usd: Decimal) -> bool:
        """Set ``usd`` aside; False when not that much is left."""

    async def settle(self, reserved_usd: Decimal, spent_usd: Decimal) -> None:
        """Replace a reservation by what was really spent (0 when the call was not made)."""
