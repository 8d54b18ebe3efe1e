"""The events of a run over a websocket: ``…/runs/R/events?after=SEQ``.

Each message is one event with its number and the results it brings. A client that was cut off comes back with the last
number it saw and misses nothing: the events stand in the database, Redis only says when to look.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Annotated, Any, TypeVar
from uuid import UUID

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.websocket import WebSocketMixin
from msgspec import Meta, Struct
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from promptcard_ext.core.contract.runs import RunOut
from promptcard_ext.core.errors import Denied, NotFound, PromptCardError, Unauthenticated
from server_ext.api.base import PromptCardsHandler
from server_ext.api.reading import read_query
from server_ext.api.run_feeds import Message, RunFeed, message_of
from server_ext.auth.actor import Actor
from server_ext.auth.permissions import require
from server_ext.runtime import Runtime
from server_ext.services import items, runs
from server_ext.services.scope import Scope, find_right, open_scope, right_among

T = TypeVar("T")
ACTION = "test:read"
# Rights are remembered for three seconds at most where no news of them comes: both together stay below five.
RECHECK_S = 1.5
# Somebody who has read nothing for so long is not there any more.
SLOW_S = 30.0
PORTION_BYTES = 262_144
_WATCHERS = Actor(UUID(int=0), "watchers", kind="service")


class EventQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the socket.

    Attributes:
        after: Number of the last event that was seen.
    """

    after: Annotated[int, Meta(ge=0, le=2**62)] = 0


class RunEventsHandler(WebSocketMixin, WebSocketHandler, PromptCardsHandler):
    """A watcher of one run. Who it is and whether it still may is asked again every one and a half seconds."""

    _following: asyncio.Task[None] | None = None

    def check_origin(self, origin: str | None = None) -> bool:
        """Let in whoever shows a credential of ours: no browser sends that of its own accord."""
        return self._credential is not None or bool(super().check_origin(origin))

    @allow_unauthenticated
    async def get(self, workspace: str, run: str) -> None:
        """Check that the run is there and may be seen, then open the socket."""
        self.after = read_query(self.request.query_arguments, EventQuery).after
        self.workspace, self.run = workspace, run
        runtime = await self.runtime()
        self._workspace_id, self._run = await self._use(runtime, _entered, run)
        self.run_id = str(self._run.id)
        await super().get()

    async def _use(self, runtime: Runtime, use: Callable[..., T], *arguments: Any) -> T:
        def work() -> T:
            actor = self.identify()
            with open_scope(runtime.database, actor, self.workspace, runtime.remembered_rights) as scope:
                return use(scope, *arguments)

        return await self.call(work)

    def open(self, *arguments: str, **named: str) -> None:
        """Start to follow."""
        super().open(*arguments)
        self._following = asyncio.ensure_future(self._follow())

    def on_message(self, message: str | bytes) -> None:
        """Clients have nothing to say here; whoever does is cut off."""
        self.close(1003, "this socket only sends")

    def on_close(self) -> None:
        """Stop following."""
        super().on_close()
        pings: Any = self.ping_callback
        if pings is not None:
            # They would keep all of this in memory until the next one: half a minute of everybody who comes and goes.
            pings.stop()
        if self._following is not None:
            self._following.cancel()

    async def _follow(self) -> None:
        feed, woken = self.app.feeds.enter(self._run, self.after, self._read_run)
        # Not all at the same moment: they are woken together.
        due = time.monotonic() + RECHECK_S * random.random()  # noqa: S311
        try:
            while await self._send_new(feed):
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, due - time.monotonic())):
                        await woken.wait()
                woken.clear()
                if time.monotonic() >= due:
                    await self._recheck()
                    due = time.monotonic() + RECHECK_S
            self.close(1000, "the run has ended")
        except WebSocketClosedError:
            return
        except TimeoutError:
            self._cut()  # it has read nothing for so long that it is not there any more
        except (Unauthenticated, Denied, NotFound) as error:
            self.close(1008, error.code)  # may not see it any more
        except PromptCardError as error:
            self.close(1011, error.code)
        except Exception:
            # Nobody waits for this task: without a word the client would look at an open socket for ever.
            self.log.exception("Following run %s broke (request %s)", self.run_id, self.request_id)
            self.close(1011, "internal_error")
        finally:
            self.app.feeds.leave(self.run_id, feed, woken)

    async def _send_new(self, feed: RunFeed) -> bool:
        """Send what is new; tell whether more may come."""
        while True:
            if feed.problem is not None:
                raise feed.problem
            known = feed.behind(self.after)
            if known is None:
                runtime = await self.runtime()
                events, run = await self._use(runtime, items.events_after, self.run, self.after)
                known = [message_of(event, run) for event in events]
            if not known:
                if self.after < feed.last:
                    continue  # the feed has read on while we asked the database
                return not feed.ended
            for portion in _portions(known):
                # Waiting for the buffer keeps a slow reader from filling our memory.
                async with asyncio.timeout(SLOW_S):
                    await self._write(b"".join(message.frame for message in portion))
                self.after = portion[-1].seq

    async def _write(self, frames: bytes) -> None:
        """Write frames as they are: `write_message` would make each anew for everybody who watches, and a task too."""
        connection: Any = self.ws_connection
        if connection is None or connection.is_closing():
            raise WebSocketClosedError
        try:
            await connection.stream.write(frames)
        except StreamClosedError:
            raise WebSocketClosedError from None

    async def _read_run(self, after: int) -> tuple[list[items.RunEventOut], RunOut]:
        """Read for everybody who watches this run: each of them may, and they see the same."""
        runtime = await self.runtime()

        def work() -> tuple[list[items.RunEventOut], RunOut]:
            with runtime.database.transaction(self._workspace_id) as connection:
                scope = Scope(connection, self._workspace_id, _WATCHERS, "viewer", runtime.database)
                return items.events_after(scope, self.run_id, after)

        return await self.call(work)

    async def _recheck(self) -> None:
        """Raise unless this watcher still may; mostly without a thread, for rights are remembered for some seconds."""
        runtime = await self.runtime()
        if self._allowed_at_hand(runtime):
            return
        # What one of them has read the others remember: thousands of threads' work at once would stop the loop.
        async with self.app.feeds.checking:
            if not self._allowed_at_hand(runtime):
                await self.call(self._check, runtime)

    def _allowed_at_hand(self, runtime: Runtime) -> bool:
        """Tell whether memory says that this watcher may; raise where it says that they may not."""
        actor = self.at_hand()
        rights = None if actor is None else runtime.cache.find("perms", None, str(actor.user_id))
        if actor is None or rights is None or (right := right_among(rights, actor, self.workspace)) is None:
            return False
        require(right.role, ACTION, actor.scopes)
        return True

    def _check(self, runtime: Runtime) -> None:
        actor = self.identify()
        right = find_right(runtime.database, actor, self.workspace, runtime.remembered_rights)
        require(right.role, ACTION, actor.scopes)

    def _cut(self) -> None:
        connection: Any = self.ws_connection
        if connection is not None:
            connection.stream.close()


def _entered(scope: Scope, run: str) -> tuple[UUID, RunOut]:
    return scope.workspace_id, runs.get(scope, run)


def _portions(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Cut messages into portions of some size each: somebody far behind is not sent everything at once."""
    first = size = 0
    for number, message in enumerate(messages, 1):
        size += len(message.frame)
        if size >= PORTION_BYTES or number == len(messages):
            yield messages[first:number]
            first, size = number, 0
