"""What a shard has announced to call, and which of it was really sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from promptcard_ext.core.engine.caller import UNCLEAR
from promptcard_ext.core.errors import ProviderError, RunError
from promptcard_ext.core.item import Item
from promptcard_ext.core.ports import Embedder, Embeddings, Provider, Reply, Request
from server_ext.jobs.context import Context
from server_ext.services import tasks

_item: ContextVar[int | None] = ContextVar("promptcards_item", default=None)


class Ledger:
    """Writes the intention to call into the database before the calls are made, and notes when they are.

    Attributes:
        sent: Ordinals of items that were called and may have been paid for. Those of them that have no result when
            the shard ends are of unknown fate; what was announced and is not here was never called.
    """

    def __init__(self, context: Context, lease: tasks.Lease) -> None:
        self._context, self._lease = context, lease
        self.sent: set[int] = set()

    async def open(self, items: Sequence[Item]) -> None:
        """Record the attempts, or raise `RunError` when the lease is lost."""
        ordinals = [item.ordinal for item in items]
        if not await asyncio.to_thread(tasks.open_attempts, self._context.database, self._lease, ordinals):
            raise RunError("Another worker has this shard.", code="lease_lost")

    def begin(self, item: Item) -> None:
        """Hear that the calls which this task of the event loop makes from here on are for ``item``."""
        _item.set(item.ordinal)

    def watch(self, provider_of: Callable[[str], Provider]) -> Callable[[str], Provider]:
        """Return ``provider_of`` with providers whose calls are noted."""

        def watched(reference: str) -> Provider:
            provider = provider_of(reference)
            kind = _WatchedEmbedder if isinstance(provider, Embedder) else _Watched
            return kind(provider, self)

        return watched

    @contextmanager
    def call(self) -> Iterator[None]:
        """Note that a call is made; forget it when the provider says that it was not carried out."""
        ordinal = _item.get()
        if ordinal is None or ordinal in self.sent:
            yield
            return
        self.sent.add(ordinal)
        try:
            yield
        except ProviderError as error:
            if not (error.sent and error.code in UNCLEAR):
                self.sent.discard(ordinal)
            raise


class _Watched:
    """A provider that notes its calls; in all else the one it was given."""

    def __init__(self, provider: Any, ledger: Ledger) -> None:
        self._provider, self._ledger = provider, ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    async def generate(self, request: Request) -> Reply:
        with self._ledger.call():
            reply: Reply = await self._provider.generate(request)
            return reply


class _WatchedEmbedder(_Watched):
    """The same for one that also makes vectors. A protocol is looked for in classes, so this is one of its own."""

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        with self._ledger.call():
            embeddings: Embeddings = await self._provider.embed(model, texts)
            return embeddings
