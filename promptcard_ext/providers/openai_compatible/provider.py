"""The OpenAI protocol, behind `core.ports.Provider` and `core.ports.Embedder`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from promptcard_ext.core.card import ModelSettings
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Embeddings, Reply, Request
from promptcard_ext.core.results import Tokens
from promptcard_ext.providers.body import Bodies
from promptcard_ext.providers.fields import label
from promptcard_ext.providers.http import Http, has_credentials
from promptcard_ext.providers.json_text import to_json
from promptcard_ext.providers.listing import models_of
from promptcard_ext.providers.openai_batch import OpenAIBatches
from promptcard_ext.providers.openai_compatible import request as asked
from promptcard_ext.providers.openai_compatible.listing import models_at
from promptcard_ext.providers.openai_compatible.reply import reply, tokens
from promptcard_ext.providers.openai_compatible.stream import Stream
from promptcard_ext.providers.outbound import Guard
from promptcard_ext.providers.reading import as_object
from promptcard_ext.providers.vectors import Vectors, in_batches

OPENAI_URL = "https://api.openai.com/v1"


class OpenAICompatible:
    """Chat completions and embeddings over HTTP.

    Args:
        base_url: Address up to and with ``/v1``; default ``OPENAI_BASE_URL``, else OpenAI.
        api_key: Default ``OPENAI_API_KEY``, unless the address has a name and password; servers on your own machine
            need none.
        max_tokens_field: What ``max_tokens`` is called: default ``max_completion_tokens`` at OpenAI, whose reasoning
            models refuse the old name, and ``max_tokens`` elsewhere, where the new one may be unknown.
        guard: Where may be called; see `Http`.
    """

    name = "openai"
    public_url = OPENAI_URL

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        max_tokens_field: str | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._url = (base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).rstrip("/")
        if api_key is None:
            api_key = "" if has_credentials(self._url) else os.environ.get("OPENAI_API_KEY", "")
        # A key that was read from a file tends to end with a line break, which no header may have.
        self._key = api_key.strip()
        self._http = Http("OpenAI API", self._url, self._key, guard)
        self.endpoint, self.limit_key = self._http.endpoint, self._http.limit_key
        # Another server's model may carry an OpenAI name; OpenAI's prices say nothing about it.
        self.price_key = "openai" if _is_openai(self.endpoint) else ""
        self._max_tokens_field = max_tokens_field or ("max_completion_tokens" if self.price_key else "max_tokens")
        self._bodies = Bodies(self._fields)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint}>"

    def _fields(self, settings: ModelSettings) -> dict[str, Any]:
        return asked.fields(settings, self._max_tokens_field)

    def check_settings(self, settings: ModelSettings) -> None:
        """Raise `ProviderError` (``setting_not_supported``) for settings that `generate` would refuse to send."""
        self._fields(settings)

    async def generate(self, request: Request) -> Reply:
        """Make one call; see `core.ports.Provider`."""
        self._need_key()
        started = time.perf_counter()
        body = self._bodies.of(request.model, request.settings, request.messages)
        if request.settings.stream:
            stream = Stream(self._http.refusal, started)
            return stream.reply(await self._http.stream("/chat/completions", body, stream))
        received = await self._http.fetch("/chat/completions", body)
        return reply(received, (time.perf_counter() - started) * 1000, self._http.refusal)

    def batches(self) -> OpenAIBatches:
        """Return the endpoint's interface for calls that can wait, on the same connections.

        Raises:
            ProviderError: There is no key (``provider_auth``).
        """
        self._need_key()
        return OpenAIBatches(self._http, self._bodies)

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """Turn texts into vectors; see `core.ports.Embedder`. Many texts take several calls, one after the other."""
        self._need_key()
        started = time.perf_counter()
        vectors, counts, reported = Vectors(self._http.refusal), list[int | None](), None
        for batch in in_batches(texts):
            body = to_json({"model": model, "input": batch, "encoding_format": "float"})
            received = await self._http.fetch("/embeddings", body)
            value, _ = as_object(received, self._http.refusal)
            vectors.add_indexed(value.get("data"), len(batch), received.raw)
            counts.append(tokens(value.get("usage")).input)
            reported = label(value.get("model"))
        total = None if None in counts else sum(filter(None, counts))
        return Embeddings(
            vectors.all(), (time.perf_counter() - started) * 1000, Tokens(input=total, output=0), reported
        )

    def _need_key(self) -> None:
        if not self._key and self.price_key:
            raise ProviderError(
                "There is no key for the OpenAI API.",
                code="provider_auth",
                sent=False,
                hint="Set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own.",
            )

    async def list_models(self) -> list[str]:
        """Return the models that the endpoint offers; see `core.ports.Provider`."""
        self._need_key()
        # The official client resolves names itself, past the guard.
        if self._http.guarded:
            return await models_of(self._http, "/models", "data", "id")
        return await models_at(self._url, self._key, self._http.refusal)

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()


def _is_openai(url: str) -> bool:
    try:
        return urlsplit(url).hostname == "api.openai.com"
    except ValueError:
        return False
