"""What changes in a workspace, as server-sent events: ``…/workspaces/W/events``.

Changes are not stored. Whoever was away, or reads too slowly, or was connected to a server that has missed something,
is told to drop all they know (``event: reset``); everybody else is told each change once, by its exact key.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from tornado.iostream import StreamClosedError

from promptcard_ext.core import wire
from promptcard_ext.core.errors import PromptCardError, RateLimited, Unavailable
from server_ext.api.base import PromptCardsHandler
from server_ext.api.change_streams import Stream
from server_ext.api.operation import NoQuery
from server_ext.api.reading import read_query
from server_ext.auth.permissions import allows, require
from server_ext.runtime import Runtime
from server_ext.services.changes import Family
from server_ext.services.scope import Right, find_right

ACTION = "prompt:read"
# What is told, and who is told of it.
ACTIONS: dict[Family, str] = {"card": "prompt:read", "label": "prompt:read", "run": "test:read"}
# Rights are read anew within three seconds in any case (`server_ext.cache`), so that a stream ends within five.
RECHECK_S = 2.0
HEARTBEAT_S = 15.0
# Somebody who has read nothing for so long is not there any more.
SLOW_S = 30.0
RETRY_MS = 1000


class ChangesHandler(PromptCardsHandler):
    """One follower of a workspace's changes."""

    _stream: Stream | None = None

    # We do this ourselves, in `prepare`.
    @allow_unauthenticated
    async def get(self, workspace: str) -> None:
        """Send changes until the client goes, or may not see them any more."""
        read_query(self.request.query_arguments, NoQuery)
        self._workspace = workspace
        runtime = await self.runtime()
        right = await self.call(self._admit, runtime)
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("X-Accel-Buffering", "no")
        self._stream = self.app.streams.open(right.workspace_id, self._cut, self.request.headers.get("Last-Event-ID"))
        try:
            await self._follow(runtime, self._stream)
        except (StreamClosedError, TimeoutError):
            self._stream.end()
        finally:
            self.app.streams.close(self._stream)

    def on_connection_close(self) -> None:
        """Stop when the client has gone."""
        super().on_connection_close()
        if self._stream is not None:
            self._stream.end()

    def _cut(self) -> None:
        # Not `finish`: an answer that ends in good order would look as if nothing were missing.
        connection: Any = self.request.connection
        connection.stream.close()

    def _admit(self, runtime: Runtime) -> Right:
        """Return the right by which somebody opens a stream, counted as a request."""
        right = self._check(runtime)
        decision = runtime.limiter.check("authenticated", str(self.identify().user_id), str(right.workspace_id))
        if not decision.allowed:
            raise RateLimited("Too many requests of this kind.", retry_after_s=decision.retry_after_s)
        return right

    def _check(self, runtime: Runtime) -> Right:
        """Return the right by which somebody follows, as it is now; note what they may be told of."""
        if not runtime.cache.hearing:
            raise Unavailable("This server does not hear of changes at the moment.", code="changes_unavailable")
        actor = self.identify()
        right = find_right(runtime.database, actor, self._workspace, runtime.remembered_rights)
        require(right.role, ACTION, actor.scopes)
        self._told = {family for family, action in ACTIONS.items() if allows(right.role, action, actor.scopes)}
        return right

    async def _follow(self, runtime: Runtime, stream: Stream) -> None:
        await self._send(f"retry: {RETRY_MS}\n\n")
        checked = sent = time.monotonic()
        while not stream.ended:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, checked + RECHECK_S - time.monotonic())):
                    await stream.news.wait()
            if time.monotonic() - checked >= RECHECK_S:
                try:
                    await self.call(self._check, runtime)
                except PromptCardError as error:
                    await self._send(_event("end", {"code": error.code}))
                    return
                checked = time.monotonic()
            text = "".join(
                _event(kind, {"key": key} if key is not None else {}, event_id)
                for event_id, kind, key in stream.take()
                if key is None or kind in self._told
            )
            if not text and time.monotonic() - sent >= HEARTBEAT_S:
                text = ": still here\n\n"
            if text:
                await self._send(text)
                sent = time.monotonic()

    async def _send(self, text: str) -> None:
        """Send, and wait until it has left: what comes meanwhile is bounded by the stream."""
        self.write(text)
        async with asyncio.timeout(SLOW_S):
            await self.flush()


def _event(kind: str, data: dict[str, str], event_id: str = "") -> str:
    number = f"id: {event_id}\n" if event_id else ""
    return f"{number}event: {kind}\ndata: {wire.encode(data).decode()}\n\n"
