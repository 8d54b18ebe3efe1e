"""Following a run over its websocket, across reconnections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from promptcard_ext.client.refusals import error_of
from promptcard_ext.client.session import Session
from promptcard_ext.core.errors import Unavailable
from promptcard_ext.core.results import ItemResult

MAX_MESSAGE_BYTES = 64_000_000
GIVE_UP_S = 120.0
_LATER = (502, 503, 504)


class StreamEvent(Struct):
    """One event of a run.

    Attributes:
        seq: Number of the event, from 1, without gaps.
        status: Status of the run when the event was sent.
        items: The results that it brings.
    """

    seq: int
    kind: str
    status: str
    payload: dict[str, Any]
    items: list[ItemResult]


async def follow(session: Session, workspace: str, run_id: str, after: int = 0) -> AsyncIterator[StreamEvent]:
    """Yield the events of a run behind number ``after``, to its end.

    A broken connection is opened again at the last number seen: nothing is missed and nothing comes twice.

    Raises:
        Unavailable: The server was away for two minutes (``server_unreachable``).
        PromptCardError: The server refuses, as `Session.ask` says.
    """
    decoder = msgspec.json.Decoder(StreamEvent)
    loop = asyncio.get_running_loop()
    seen, wait = loop.time(), 0.2  # `seen`: when the server was there the last time
    headers, renewed = session.headers, False
    while True:
        url = _socket_url(session, session.url("workspaces", workspace, "runs", run_id, "events", after=after))
        try:
            headers = await asyncio.to_thread(session.credentials.headers)
            async with connect(
                url, additional_headers=headers, max_size=MAX_MESSAGE_BYTES, proxy=None, open_timeout=30
            ) as socket:
                renewed = False
                try:
                    async for message in socket:
                        event = decoder.decode(message)
                        wait, after = 0.2, event.seq
                        yield event
                        if event.kind == "finished":
                            return
                finally:
                    seen = loop.time()
        except InvalidStatus as refusal:
            status = refusal.response.status_code
            if status == 401 and not renewed and session.credentials.give_up(headers):
                renewed = True
                continue
            if status not in _LATER:
                raise error_of(status, bytes(refusal.response.body or b"")) from None
        except (ConnectionClosed, WebSocketException, OSError, TimeoutError, Unavailable):
            pass
        if loop.time() - seen > GIVE_UP_S:
            raise Unavailable(
                f"The server at {session.address.url} has been away for {GIVE_UP_S:.0f} s. The run goes on without it.",
                hint="Open the run again when the server is back.",
                code="server_unreachable",
            )
        await asyncio.sleep(wait)
        wait = min(5.0, wait * 2)


def _socket_url(session: Session, path: str) -> str:
    scheme, _, rest = session.address.url.partition("://")
    host = rest.split("/", 1)[0]
    return f"{'wss' if scheme == 'https' else 'ws'}://{host}{path}"
