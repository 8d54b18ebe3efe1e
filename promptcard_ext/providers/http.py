"""HTTP to providers: one connection pool, no redirects, no proxies from the environment, capped bodies."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections.abc import Mapping
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from yarl import URL

from promptcard_ext._version import __version__
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.providers.outbound import Guard
from promptcard_ext.providers.refusal import Refusal

MAX_BODY_BYTES = 10_000_000
# An event of a stream holds a token in some 300 bytes, so that a long answer is many times its text.
MAX_STREAM_BYTES = 100_000_000
CONNECT_TIMEOUT_S = 10.0
# Uvicorn, in which many model servers run, closes an idle connection after 5 s. A request that is sent at that moment
# is lost, and nobody knows whether it was carried out.
_KEEP_ALIVE_S = 4.5
_DRAIN_S = 0.2
_LARGE = 1_000_000


class Received(NamedTuple):
    """A whole body, and the headers that came with it."""

    raw: bytes
    headers: Mapping[str, str]

    @property
    def content_type(self) -> str:
        """Value of the header, or an empty text."""
        return self.headers.get("Content-Type", "")


class Sink(Protocol):
    """What takes the parts of a stream as they come."""

    def feed(self, data: bytes) -> bool:
        """Take the next part, cut anywhere; return whether the answer is complete.

        Raises:
            ProviderError: The stream reports an error or cannot be read.
        """

    def close(self) -> None:
        """Take note that the stream has ended.

        Raises:
            ProviderError: It ended too early.
        """

    def received(self) -> str:
        """Return what was received so far, for the record."""


class Http:
    """A client for one endpoint, bound to the event loop of its first call.

    Args:
        name: Provider's name, for errors.
        base_url: May hold a name and password, which are sent but shown nowhere.
        key: Sent as a bearer token, shown nowhere.
        guard: Where may be called; None lets everything be called, for whoever runs this program chose the address.

    Attributes:
        endpoint: Where it calls, without credentials.
        limit_key: The endpoint with a hash of the credential: what shares a rate limit.
    """

    def __init__(self, name: str, base_url: str, key: str = "", guard: Guard | None = None) -> None:
        self._url = base_url.rstrip("/")
        self.endpoint = without_credentials(self._url)
        self._guard = guard
        self._key, password = key, _password(self._url)
        self.refusal = Refusal(name, self.endpoint, (key, password))
        self.limit_key = _limit_key(self.endpoint, self._url, key)
        self._session: aiohttp.ClientSession | None = None
        self._urls: dict[str, URL] = {}

    @property
    def guarded(self) -> bool:
        """Whether not everything may be called."""
        return self._guard is not None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint}>"

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                headers=self._headers(),
                connector=self._connector(),
                # The engine sets the deadline of a call; here only the connection has one.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                trust_env=False,
                auto_decompress=True,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _connector(self) -> aiohttp.TCPConnector:
        if self._guard is None:
            return aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=_KEEP_ALIVE_S)
        return self._guard.connector(self._guard.check(self._url), _KEEP_ALIVE_S)

    def _headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            # Nothing compressed: a small reply is slower to unpack than to send, and a bomb unpacks to anything.
            "Accept-Encoding": "identity",
            "User-Agent": f"promptcards/{__version__}",
        }
        if self._key:
            if not (self._key.isascii() and self._key.isprintable()):
                raise ProviderError(
                    f"The API key for {self.refusal.where} holds a character that no key has.",
                    code="provider_auth",
                    sent=False,
                    hint="Copy it again, without quotation marks, spaces and line breaks.",
                )
            headers["Authorization"] = f"Bearer {self._key}"
        elif has_credentials(self._url):
            headers["Authorization"] = _basic(self._url)
        return headers

    def _target(self, path: str) -> URL:
        if self._guard is not None:
            # Before anybody else reads the address, who may read it otherwise.
            self._guard.check(self._url)
        try:
            url = URL(without_credentials(self._url) + path)
        except ValueError:
            raise self.refusal.bad_address() from None
        self._urls[path] = url
        return url

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> Received:
        """Ask for something and return the whole body of the reply.

        Raises:
            ProviderError: As `fetch` says.
        """
        response = await self._send(path, None)
        try:
            return Received(await self._read(response), response.headers)
        finally:
            response.release()

    async def fetch(self, path: str, data: bytes) -> Received:
        """Send JSON and return the whole body of the reply.

        Raises:
            ProviderError: With the class of failure, as `Refusal` says; ``reply_too_long`` above 10 MB;
                ``address_refused`` where the guard lets nothing be sent to.
        """
        response = await self._send(path, data)
        try:
            return Received(await self._read(response), response.headers)
        finally:
            response.release()

    async def upload(self, path: str, data: bytes, content_type: str) -> Received:
        """Send something that is not JSON, and return the whole body of the reply.

        Raises:
            ProviderError: As `fetch` says.
        """
        response = await self._send(path, data, {"Content-Type": content_type})
        try:
            return Received(await self._read(response), response.headers)
        finally:
            response.release()

    async def download(self, path: str, most: int) -> bytes:
        """Return a file of at most ``most`` bytes.

        Raises:
            ProviderError: As `fetch` says; ``reply_too_long`` for a longer one.
        """
        response = await self._send(path, None)
        try:
            return await self._read(response, most)
        finally:
            response.release()

    async def stream(self, path: str, data: bytes, sink: Sink) -> Mapping[str, str]:
        """Send JSON, feed the reply to ``sink`` as it comes, and return the headers.

        Raises:
            ProviderError: As `fetch` says, and what ``sink`` raises. What was received so far is in ``raw``.
        """
        response = await self._send(path, data)
        try:
            await self._pour(response, sink)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise self.refusal.broken(_broke_off(error), sink.received()) from None
        except asyncio.CancelledError as error:
            self._leave(error, sink.received())
            raise
        finally:
            response.release()
        return response.headers

    async def _send(
        self, path: str, data: bytes | None, headers: Mapping[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        url = self._urls.get(path) or self._target(path)
        # aiohttp takes up to a megabyte at once; more is to be given as a file, which it sends in parts.
        body = data if data is None or len(data) < _LARGE else io.BytesIO(data)
        method = "GET" if data is None else "POST"
        try:
            response = await self._open().request(method, url, data=body, headers=headers, allow_redirects=False)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise self.refusal.unreachable(error) from None
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise self.refusal.bad_address() from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise self.refusal.broken(_broke_off(error)) from None
        if 200 <= response.status < 300:
            return response
        try:
            raw = await self._read(response)
        except ProviderError:
            # The status says enough.
            raw = b""
        finally:
            response.release()
        raise self.refusal.of_status(response.status, raw, response.headers)

    async def _read(self, response: aiohttp.ClientResponse, most: int = MAX_BODY_BYTES) -> bytes:
        content, size = response.content, 0
        parts: list[bytes] = []
        try:
            while part := await content.readany():
                if content.at_eof() and not parts:
                    return part if len(part) <= most else self._too_long([part], most)
                parts.append(part)
                size += len(part)
                if size > most:
                    self._too_long(parts, most)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise self.refusal.broken(_broke_off(error), b"".join(parts)) from None
        except asyncio.CancelledError as error:
            self._leave(error, b"".join(parts))
            raise
        return b"".join(parts)

    def _leave(self, error: asyncio.CancelledError, received: bytes | str) -> None:
        """Leave what was received with the error: a deadline that ends a call finds there what was paid for."""
        error.raw = self.refusal.excerpt(received)  # type: ignore[attr-defined]

    def _too_long(self, parts: list[bytes], most: int) -> bytes:
        raise self.refusal.too_long(most, b"".join(parts))

    async def _pour(self, response: aiohttp.ClientResponse, sink: Sink) -> None:
        content, size = response.content, 0
        while part := await content.readany():
            size += len(part)
            if size > MAX_STREAM_BYTES:
                raise self.refusal.too_long(MAX_STREAM_BYTES, sink.received())
            if sink.feed(part):
                return await self._drain(content)
        sink.close()
        return None

    async def _drain(self, content: aiohttp.StreamReader) -> None:
        """Read what follows the end of the answer, or the connection could not be used again."""
        try:
            async with asyncio.timeout(_DRAIN_S):
                while not content.at_eof() and await content.readany():
                    pass
        except (TimeoutError, aiohttp.ClientError, ConnectionError):
            # The answer is here; the connection is closed instead.
            pass


def _broke_off(error: Exception) -> str:
    return f"the reply broke off ({type(error).__name__})"


def without_credentials(url: str) -> str:
    """Return ``url`` without a name and password in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    _, at, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=place)) if at else url


def has_credentials(url: str) -> bool:
    """Tell whether there is a name or a password in ``url``."""
    return without_credentials(url) != url


def _basic(url: str) -> str:
    parsed = URL(url)
    pair = f"{parsed.user or ''}:{parsed.password or ''}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _password(url: str) -> str:
    try:
        return URL(url).password or ""
    except ValueError:
        return ""


def _limit_key(endpoint: str, url: str, key: str) -> str:
    credential = f"{url}\n{key}" if key or has_credentials(url) else ""
    return f"{endpoint}#{hashlib.sha256(credential.encode()).hexdigest()[:12]}" if credential else endpoint
