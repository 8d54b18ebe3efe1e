"""Further calls of one item: its judges, embeddings and changed prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence

from msgspec.structs import replace

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.engine.breaker import Role
from promptcard_ext.core.engine.caller import Caller
from promptcard_ext.core.engine.identity import embedding_hash
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.identity import digest
from promptcard_ext.core.ports import Embedder, Request
from promptcard_ext.core.results import Call, Generation


class ItemAsker:
    """The `Asker` of one item; ``calls`` is its record of what was asked."""

    def __init__(self, caller: Caller, model: str, nonce: str, repeat: int) -> None:
        self.model = model
        self.judges = caller.options.judges
        self.embedder = caller.options.embedder
        self.calls: list[Call] = []
        self._caller, self._nonce, self._repeat = caller, nonce, repeat

    async def ask(
        self,
        model: str,
        messages: Sequence[Message],
        settings: ModelSettings = ModelSettings(),  # noqa: B008  frozen
        *,
        purpose: str = "judge",
        repeat: int = 0,
    ) -> Generation:
        """Call a model; see `core.ports.Asker`."""
        provider, name = self._caller.provider(model)
        if repeat and settings.seed is not None:
            settings = replace(settings, seed=settings.seed + repeat)
        request = Request(name, tuple(messages), settings, digest([self._nonce, purpose, repeat])[:16])
        # The same question to a judge about the same answer is the same call, whichever repeat the answer is of;
        # a changed prompt is asked anew in every repeat.
        number = repeat if purpose == "judge" else repeat + 1000 * self._repeat
        role: Role = "judge" if purpose == "judge" else "task"
        answered = await self._caller.generate(provider, request, number, role)
        self.calls.append(Call(purpose, answered.generation, answered.cached))
        return answered.generation

    async def embed(self, model: str, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """Return one vector per text; see `core.ports.Asker`."""
        provider, name = self._caller.provider(model)
        if not isinstance(provider, Embedder):
            raise ProviderError(
                f"{provider.name} has no embeddings.",
                code="no_embeddings",
                sent=False,
                hint="Name an embedding model, such as openai:text-embedding-3-small.",
            )
        asked = embedding_hash(provider, name, texts)
        stored = self._caller.stored(asked, 0)
        if stored is not None:
            self.calls.append(Call("embedding", replace(stored, output=None), cached=True))
            return _vectors(stored)
        price = self._caller.price(provider, name)
        purse = self._caller.purse
        prompt = Request(name, tuple(Message("user", text) for text in texts), ModelSettings(max_tokens=1))
        reserve = None if purse is None else purse.for_request(price, prompt)
        embedder: Embedder = provider
        reply, calls = await self._caller.call(
            provider, prompt, lambda: embedder.embed(name, list(texts)), reserve, price, "judge"
        )
        cost = None if price is None else price.cost_of(reply.tokens)
        generation = Generation(
            provider.name, name, asked, json.dumps(reply.vectors), reply.latency_ms, reply.tokens,
            model_reported=reply.model_reported, cost_usd=cost,
            price_id=price.id if price is not None and cost is not None else None, attempts=calls,
        )  # fmt: skip
        self._caller.keep(asked, 0, generation)
        # The vectors are in the store; in the results they would be thousands of numbers that nobody reads.
        self.calls.append(Call("embedding", replace(generation, output=None)))
        return reply.vectors


def _vectors(generation: Generation) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(vector) for vector in json.loads(generation.output or "[]"))
