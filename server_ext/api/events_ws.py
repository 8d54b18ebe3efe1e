"""The events of a run over a websocket: ``…/runs/R/events?after=SEQ``.

Each message is one event with its number and the results it brings. A client that was cut off comes back with the last
number it saw and misses nothing: the events stand in the database, Redis only says when to look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, TypeVar

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.websocket import WebSocketMixin
from msgspec import Meta, Struct
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from promptcard_ext.core import wire
from promptcard_ext.core.contract.runs import FINAL
from promptcard_ext.core.errors import Denied, NotFound, PromptCardError, Unauthenticated
from server_ext.api.base import PromptCardsHandler
from server_ext.api.reading import read_query
from server_ext.runtime import Runtime
from server_ext.services import items, runs
from server_ext.services.scope import open_scope

T = TypeVar("T")
# Redis may be away; then this is how late an event can be.
LOOK_EVERY_S = 1.0


class EventQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the socket.

    Attributes:
        after: Number of the last event that was seen.
    """

    after: Annotated[int, Meta(ge=0, le=2**62)] = 0


class RunEventsHandler(WebSocketMixin, WebSocketHandler, PromptCardsHandler):
    """A watcher of one run. Who it is and whether it still may is asked again each time it looks."""

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
        self.run_id = str((await self._use(runtime, runs.get, run)).id)
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
        if self._following is not None:
            self._following.cancel()

    async def _follow(self) -> None:
        news = self.app.news(self.run_id)
        try:
            while True:
                # Cleared before the look, not after it: what comes in between is noticed.
                news.clear()
                if not await self._send_new():
                    break
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), LOOK_EVERY_S)
            self.close(1000, "the run has ended")
        except WebSocketClosedError:
            return
        except (Unauthenticated, Denied, NotFound) as error:
            self.close(1008, error.code)  # may not see it any more
        except PromptCardError as error:
            self.close(1011, error.code)
        except Exception:
            # Nobody waits for this task: without a word the client would look at an open socket for ever.
            self.log.exception("Following run %s broke (request %s)", self.run_id, self.request_id)
            self.close(1011, "internal_error")
        finally:
            self.app.forget(self.run_id, news)

    async def _send_new(self) -> bool:
        """Send what is new; tell whether more may come."""
        while True:
            runtime = await self.runtime()
            events, run = await self._use(runtime, items.events_after, self.run, self.after)
            for event in events:
                message = {"seq": event.seq, "kind": event.kind, "status": run.status, **_content(event)}
                # Waiting for the buffer keeps a slow reader from filling our memory.
                await self.write_message(wire.encode(message))
                self.after = event.seq
            if len(events) < items.MAX_EVENTS:
                return run.status not in FINAL


def _content(event: items.RunEventOut) -> dict[str, object]:
    return {"payload": event.payload, "items": event.items}
