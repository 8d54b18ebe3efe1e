"""A reverse proxy that takes a prefix off the path, as many an ingress does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

_CLIENT = web.AppKey("client", aiohttp.ClientSession)
# Of one connection, and not of what is passed on.
_HOP = {"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding", "upgrade"}


@contextmanager
def stripping_proxy(targets: dict[str, str]) -> Iterator[str]:
    """Pass requests on without their prefix.

    Args:
        targets: Where to by prefix, both without a slash at the end: ``{"/dash": "http://127.0.0.1:8866"}``.

    Yields:
        The proxy's address, without a slash at the end.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner, url = asyncio.run_coroutine_threadsafe(_start(targets), loop).result(30)
    try:
        yield url
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _start(targets: dict[str, str]) -> tuple[web.AppRunner, str]:
    async def session(app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(auto_decompress=True) as client:
            app[_CLIENT] = client
            yield

    async def answer(request: web.Request) -> web.StreamResponse:
        for prefix, target in targets.items():
            if request.path.startswith(f"{prefix}/"):
                url = target + request.path_qs.removeprefix(prefix)
                socket = request.headers.get("Upgrade", "").lower() == "websocket"
                return await (_socket if socket else _plain)(request, url)
        raise web.HTTPNotFound

    app = web.Application(client_max_size=2**26)
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}"


def _passed(request: web.Request) -> dict[str, str]:
    kept = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
    return {name: value for name, value in kept.items() if not name.lower().startswith("sec-websocket")}


async def _plain(request: web.Request, url: str) -> web.StreamResponse:
    headers = _passed(request)
    client = request.app[_CLIENT]
    body = await request.read()
    async with client.request(request.method, url, headers=headers, data=body, allow_redirects=False) as found:
        # Several cookies come in as many headers.
        passed = CIMultiDict((name, value) for name, value in found.headers.items() if name.lower() not in _HOP)
        response = web.StreamResponse(status=found.status, headers=passed)
        await response.prepare(request)
        async for piece in found.content.iter_any():
            await response.write(piece)
        return response


async def _socket(request: web.Request, url: str) -> web.StreamResponse:
    protocols = [one.strip() for one in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if one.strip()]
    headers = _passed(request)
    async with request.app[_CLIENT].ws_connect(
        url.replace("http", "ws", 1), headers=headers, protocols=protocols, max_msg_size=0
    ) as far:
        near = web.WebSocketResponse(protocols=[far.protocol] if far.protocol else [], max_msg_size=0)
        await near.prepare(request)
        there, back = asyncio.create_task(_pass(near, far)), asyncio.create_task(_pass(far, near))
        await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        there.cancel()
        back.cancel()
        return near


async def _pass(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    target: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)
    await target.close()
