"""The side panel in the server of a JupyterHub's user: what it reads is asked of the Hub's service, and passed on.

The service knows that server by the token that the Hub has given it, as it knows the notebooks there: whoever Jupyter
lets in sees what the server's owner may see. Only the few paths that the panel reads are passed on; everything else is
refused, as everywhere in a user's server.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.iostream import StreamClosedError

from promptcard_ext.core import card
from promptcard_ext.core.errors import CardError, NotFound
from server_ext.api.base import PromptCardsHandler
from server_ext.api.handler import OperationHandler
from server_ext.api.hub_reader import GONE, HubReader
from server_ext.api.operation import NoQuery, Operation
from server_ext.api.reading import read_query
from server_ext.api.routes import PREFIX, by_path, pattern_of

EVENTS = "workspaces/{workspace}/events"
PATHS = (
    "workspaces",
    "workspaces/{workspace}/cards",
    "workspaces/{workspace}/search",
    "workspaces/{workspace}/cards/{card}/labels",
    "workspaces/{workspace}/runs",
)
"""What is passed on besides the events: all that `labextension/src/server.js` reads."""

# All that gets into an address. Whatever fits stands in a URL as it is, and none of it is `..`.
_NAMES = {"workspace": re.compile(r"[a-z0-9][a-z0-9._-]{0,99}"), "card": card.NAME}
# What is meant for Jupyter; a token of a URL goes no further.
_JUPYTERS = frozenset({"token", "_xsrf"})
MAX_QUERY = 6000
# A browser that takes nothing for so long is not there any more.
SLOW_S = 30.0


class RelayHandler(OperationHandler):
    """A path whose GET is passed on; other methods are answered as in every user's server."""

    auth_resource = "promptcards"

    def initialize(self, operations: dict[str, Operation], reader: HubReader | None = None) -> None:
        """Take note of the operations of this path, and of where their answers come from."""
        super().initialize(operations)
        assert reader is not None
        self.reader = reader

    @web.authenticated
    @authorized
    async def get(self, **path: str) -> None:  # type: ignore[override]  # by the types of the decorators
        """Answer with what the service says."""
        operation = self.operations["GET"]
        self.finish(await self.reader.read(_filled(operation.path, path), self._query(operation.query)))

    def _query(self, kind: Any) -> str:
        """Return the query to be passed on, all of which is understood here."""
        given = self.request.query_arguments
        read_query(given, kind)
        text = urlencode({name: texts for name, texts in given.items() if name not in _JUPYTERS}, doseq=True)
        if len(text) > MAX_QUERY:
            raise CardError(f"The query has more than {MAX_QUERY:,} characters.", code="request_invalid")
        return text


class RelayEventsHandler(PromptCardsHandler):
    """The events of a workspace, passed on as they come."""

    auth_resource = "promptcards"
    _passing: asyncio.Task[None] | None = None

    def initialize(self, reader: HubReader) -> None:
        """Take note of where the events come from."""
        self.reader = reader

    @web.authenticated
    @authorized
    async def get(self, **path: str) -> None:
        """Send events until the service ends the stream, or the browser goes."""
        read_query(self.request.query_arguments, NoQuery)
        async with self.reader.follow(_filled(EVENTS, path)) as events:
            self.set_header("Content-Type", "text/event-stream; charset=utf-8")
            self.set_header("X-Accel-Buffering", "no")
            self._passing = asyncio.ensure_future(self._pass_on(events))
            try:
                await self._passing
            except asyncio.CancelledError:
                pass  # the browser has gone
            except (*GONE, StreamClosedError):
                # Not `finish`: an answer that ends in good order would look as if nothing were missing.
                connection: Any = self.request.connection
                connection.stream.close()

    def on_connection_close(self) -> None:
        """Let go of the service when the browser has gone."""
        super().on_connection_close()
        if self._passing is not None:
            self._passing.cancel()

    async def _pass_on(self, events: aiohttp.StreamReader) -> None:
        """Pass each piece on when the last one has left; what comes meanwhile waits at the service."""
        await self.flush()
        async for piece in events.iter_any():
            self.write(piece)
            async with asyncio.timeout(SLOW_S):
                await self.flush()


def _filled(template: str, given: Mapping[str, str]) -> str:
    """Return a path with its parameters filled in.

    Raises:
        NotFound: One has characters that no name has.
    """
    for name, value in given.items():
        if not _NAMES[name].fullmatch(value):
            raise NotFound(f"There is no {name} of such a name.")
    return template.format(**given)


def handlers(reader: HubReader) -> list[tuple[Any, ...]]:
    """Return the routes that are passed on; they go before those of `routes`."""

    def below(path: str) -> str:
        return url_path_join("/", PREFIX, pattern_of(path))

    known = by_path()
    return [
        *((below(path), RelayHandler, {"operations": known[path], "reader": reader}) for path in PATHS),
        (below(EVENTS), RelayEventsHandler, {"reader": reader}),
    ]
