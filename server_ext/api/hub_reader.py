"""The Hub's service, as the server of one of the Hub's users reads from it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec
from msgspec import Meta, Struct
from yarl import URL

from promptcard_ext.core.errors import CardError, Denied, NotFound, PromptCardError, RateLimited, Unavailable
from promptcard_ext.core.named_server import named_server
from server_ext.api.routes import PREFIX
from server_ext.auth.hub import in_users_server

MAX_BODY_BYTES = 8_000_000
MAX_CONNECTIONS = 64
CONNECT_S = 10.0
WHOLE_S = 60.0
# The service's event streams say something every 15 s.
SILENCE_S = 45.0
GONE = (aiohttp.ClientError, OSError, TimeoutError)
"""What is raised when a connection to the service cannot be made, or breaks."""

_KINDS: dict[int, type[PromptCardError]] = {
    403: Denied,
    404: NotFound,
    422: CardError,
    429: RateLimited,
    503: Unavailable,
}


class HubReader:
    """Reads from the service. Only for the thread of the event loop.

    Args:
        url: Base URL of the service; of it only scheme, host, port and path are used.
        token: What lets this server in there. It is sent nowhere else, and no error repeats it.

    Raises:
        ValueError: URL or token are none.
    """

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host or not (token.isascii() and token.isprintable()):
            raise ValueError("no address of a service")
        named, port = f"[{host}]" if ":" in host else host, f":{parts.port}" if parts.port else ""
        self.url = f"{parts.scheme}://{named}{port}{parts.path.rstrip('/')}/"
        # A token of the Hub, of Jupyter or of ours: each is understood in this form.
        self._headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
        self._session: aiohttp.ClientSession | None = None
        self._followed: set[aiohttp.ClientResponse] = set()

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self | None:
        """Return the reader of a user's server; None elsewhere, and where nothing says where the service is."""
        named = named_server(environment) if in_users_server(environment) else None
        if named is None or not named[1].strip():
            return None
        try:
            return cls(named[0], named[1].strip())
        except ValueError:
            return None

    async def read(self, path: str, query: str = "") -> bytes:
        """Return the JSON that a GET below the service's API is answered with.

        Args:
            path: Of nothing but checked parts.
            query: As it is to be sent; may be empty.

        Raises:
            PromptCardError: The service refuses, or is not there.
        """
        try:
            async with asyncio.timeout(WHOLE_S), await self._ask(path, query) as response:
                body = await _body(response)
        except GONE as error:
            raise self._away(type(error).__name__) from None
        if response.status != 200 or response.content_type != "application/json":
            raise self._refusal(response, body)
        return body

    @asynccontextmanager
    async def follow(self, path: str) -> AsyncIterator[aiohttp.StreamReader]:
        """Yield what an event stream brings; it breaks off when the reader is closed.

        Raises:
            PromptCardError: As `read`.
        """
        response = await self._stream(path)
        self._followed.add(response)
        try:
            yield response.content
        finally:
            self._followed.discard(response)
            response.close()

    async def close(self) -> None:
        """End all connections."""
        # Closing the session alone would leave whoever reads from them waiting.
        for response in self._followed:
            response.close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _stream(self, path: str) -> aiohttp.ClientResponse:
        """Return an event stream of which only the head has been read."""
        try:
            response = await self._ask(path)
            if response.status == 200 and response.content_type == "text/event-stream":
                return response
            async with asyncio.timeout(WHOLE_S), response:
                body = await _body(response)
        except GONE as error:
            raise self._away(type(error).__name__) from None
        raise self._refusal(response, body)

    async def _ask(self, path: str, query: str = "") -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=SILENCE_S),
            )
        url = URL(f"{self.url}{PREFIX}/{path}{'?' if query else ''}{query}", encoded=True)
        # A redirect would take the token elsewhere.
        return await self._session.get(url, allow_redirects=False)

    def _refusal(self, response: aiohttp.ClientResponse, body: bytes) -> PromptCardError:
        """Return the error for an answer that is not what was asked for."""
        status = response.status
        if status == 401:
            return Denied(
                "The Hub's service does not know this server.",
                hint="Stop your server in the Hub's control panel and start it again.",
                code="hub_token_refused",
            )
        if (kind := _KINDS.get(status)) is not None:
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                said = msgspec.json.decode(body, type=_Said)
                error = kind(said.message, hint=said.hint, code=said.code)
                waits = response.headers.get("Retry-After", "")
                error.retry_after_s = float(waits) if re.fullmatch("[0-9]{1,4}", waits) else error.retry_after_s
                return error
        if status >= 500:
            return self._away(f"status {status}")
        if status == 404 or 300 <= status < 400:
            return Unavailable(
                f"There is no Prompt Cards service at {self.url}.",
                hint="The Hub's operator starts it, or says by PROMPTCARDS_URL where it is.",
                code="server_not_found",
            )
        return _no_answer("is of another kind" if status == 200 else f"has the status {status}")

    def _away(self, reason: str) -> Unavailable:
        return Unavailable(
            f"The Hub's service at {self.url} does not answer ({reason}).",
            hint="Wait a moment. If it stays away, tell the Hub's operator.",
            code="server_unreachable",
        )


class _Said(Struct):
    """An error of ours, as the service puts it."""

    code: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,60}\Z")]
    message: Annotated[str, Meta(max_length=2000)]
    hint: Annotated[str, Meta(max_length=2000)] = ""


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise _no_answer(f"has more than {MAX_BODY_BYTES:,} bytes")
    return bytes(body)


def _no_answer(what: str) -> Unavailable:
    return Unavailable(
        f"The answer of the Hub's service {what}.", hint="Is it a Prompt Cards service?", code="answer_invalid"
    )
