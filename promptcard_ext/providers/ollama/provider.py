"""Ollama's protocol, behind `core.ports.Provider` and `core.ports.Embedder`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from promptcard_ext.core.card import ModelSettings
from promptcard_ext.core.ports import Embeddings, Reply, Request
from promptcard_ext.core.results import Tokens
from promptcard_ext.providers.body import Bodies
from promptcard_ext.providers.fields import label, token_count
from promptcard_ext.providers.http import Http
from promptcard_ext.providers.json_text import to_json
from promptcard_ext.providers.listing import models_of
from promptcard_ext.providers.ollama.address import OLLAMA_URL, address
from promptcard_ext.providers.ollama.listing import models_at
from promptcard_ext.providers.ollama.reply import Chat
from promptcard_ext.providers.ollama.request import fields
from promptcard_ext.providers.outbound import Guard
from promptcard_ext.providers.reading import as_object
from promptcard_ext.providers.vectors import Vectors, in_batches


class Ollama:
    """Chat and embeddings with a local Ollama.

    Args:
        base_url: Address; default ``OLLAMA_HOST``, else port 11434 on this machine.
        api_key: For one behind a proxy that wants it as a bearer token; default none.
        guard: Where may be called; see `Http`.
    """

    name = "ollama"
    price_key = "ollama"

    def __init__(self, base_url: str | None = None, api_key: str = "", guard: Guard | None = None) -> None:
        self._url = address(base_url or os.environ.get("OLLAMA_HOST") or OLLAMA_URL)
        self._http = Http("Ollama", self._url, api_key.strip(), guard)
        self.endpoint, self.limit_key = self._http.endpoint, self._http.limit_key
        self._bodies = Bodies(fields)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint}>"

    def check_settings(self, settings: ModelSettings) -> None:
        """Raise `ProviderError` (``setting_not_supported``) for settings that `generate` would refuse to send."""
        fields(settings)

    async def generate(self, request: Request) -> Reply:
        """Make one call; see `core.ports.Provider`."""
        started = time.perf_counter()
        body = self._bodies.of(request.model, request.settings, request.messages)
        chat = Chat(self._http.refusal, started, request.settings.stream)
        if request.settings.stream:
            return chat.reply(await self._http.stream("/api/chat", body, chat))
        received = await self._http.fetch("/api/chat", body)
        chat.whole(received)
        return chat.reply(received.headers)

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """Turn texts into vectors; see `core.ports.Embedder`. Many texts take several calls, one after the other."""
        started = time.perf_counter()
        vectors, counts, reported = Vectors(self._http.refusal), list[int | None](), None
        for batch in in_batches(texts):
            # Without this Ollama cuts a text that is too long for the model, and says nothing.
            body = to_json({"model": model, "input": batch, "truncate": False})
            received = await self._http.fetch("/api/embed", body)
            value, _ = as_object(received, self._http.refusal)
            vectors.add(value.get("embeddings"), len(batch), received.raw)
            counts.append(token_count(value.get("prompt_eval_count")))
            reported = label(value.get("model"))
        total = None if None in counts else sum(filter(None, counts))
        return Embeddings(
            vectors.all(), (time.perf_counter() - started) * 1000, Tokens(input=total, output=0), reported
        )

    async def list_models(self) -> list[str]:
        """Return the models that are pulled; see `core.ports.Provider`."""
        # The official client resolves names itself, past the guard.
        if self._http.guarded:
            return await models_of(self._http, "/api/tags", "models", "model")
        return await models_at(self._url, self._http.refusal)

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()
