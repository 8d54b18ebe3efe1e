"""HTTP to providers: one connection pool, no redirects, no proxies from the environment, capped bodies."""

from __future__ import annotations

import asyncio
import email.utils
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec

from promptcard_ext.core.errors import ProviderError, UnknownModel

MAX_BODY_BYTES = 10_000_000
CONNECT_TIMEOUT_S = 10.0
_DECODER = msgspec.json.Decoder()


class Http:
    """A client for one endpoint, bound to the event loop of its first call.

    Args:
        name: Provider's name, for errors.
        base_url: May hold a name and password, which are sent but shown nowhere.
        headers: Sent with every request; may hold a credential, so they are in no error and no repr.
    """

    def __init__(self, name: str, base_url: str, headers: Mapping[str, str]) -> None:
        self.name, self._url = name, base_url.rstrip("/")
        self.base_url = without_credentials(self._url)
        self._headers = dict(headers)
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
                # The engine sets the deadline of a call; here only the connection has one.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                trust_env=False,
                auto_decompress=True,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def post(self, path: str, body: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send JSON and give the response, once its status is known to be 200.

        Raises:
            ProviderError: With the class of failure, as `refusal` says.
        """
        try:
            data = msgspec.json.encode(body)
        except UnicodeEncodeError:
            # A lone surrogate, which has no UTF-8; written as an escape it is JSON.
            data = json.dumps(msgspec.to_builtins(body)).encode()
        try:
            async with self._open().post(self._url + path, data=data, headers=_JSON, allow_redirects=False) as response:
                if response.status != 200:
                    raise await self._refusal(response)
                yield response
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise self.unreachable(error) from None
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise ProviderError(
                f"The address of {self.name}, '{self.base_url:.200}', is no web address.",
                code="provider_address",
                sent=False,
                hint="Write it as http://HOST:PORT/….",
            ) from None
        except (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError) as error:
            raise self.broken(f"the reply broke off ({type(error).__name__})") from None

    def unreachable(self, error: Exception) -> ProviderError:
        """Return the error for an endpoint that takes no connection."""
        return ProviderError(
            f"{self.name} at {self.base_url} takes no connection ({error.__class__.__name__}).",
            code="provider_unreachable",
            retryable=True,
            sent=False,
            hint="Is it running, and is the address right?",
        )

    def broken(self, what: str) -> ProviderError:
        """Return the error for a reply that did not arrive whole; the call may have been paid for."""
        return ProviderError(f"{self.name} at {self.base_url}: {what}.", code="broken_reply", retryable=True)

    async def read_json(self, response: aiohttp.ClientResponse) -> dict[str, Any]:
        """Return the body as a mapping.

        Raises:
            ProviderError: It is longer than 10 MB (``reply_too_long``), not JSON, or not a mapping.
        """
        raw = await read_capped(response, self.name)
        try:
            value = decode(raw)
        except (ValueError, RecursionError):
            raise self.broken("the reply is not JSON") from None
        if not isinstance(value, dict):
            raise self.broken("the reply is not a JSON object")
        if value.get("error"):
            raise ProviderError(
                f"{self.name} at {self.base_url} answered with an error: {_error_text(value)}.",
                code="provider_refused",
            )
        return value

    async def _refusal(self, response: aiohttp.ClientResponse) -> ProviderError:
        try:
            raw = await read_capped(response, self.name)
        except (ProviderError, aiohttp.ClientError, ConnectionError):
            # The status says enough.
            raw = b""
        return self.refusal(response.status, raw, response.headers)

    def refusal(self, status: int, raw: bytes, headers: Mapping[str, str]) -> ProviderError:
        """Return the error for a reply with a status other than 200."""
        detail = _detail(raw)
        where = f"{self.name} at {self.base_url}"
        if status == 429:
            return ProviderError(
                f"{where} refuses for now (429): {detail}.",
                code="provider_429",
                retryable=True,
                retry_after_s=retry_after(headers),
                hint="Lower the concurrency, or ask for a higher rate limit.",
            )
        if status >= 500:
            return ProviderError(
                f"{where} failed ({status}): {detail}.",
                code="provider_5xx",
                retryable=True,
                retry_after_s=retry_after(headers),
            )
        if status == 404:
            return UnknownModel(
                f"{where} does not know this (404): {detail}.", hint="Check the model's name and the address."
            )
        if status in (401, 403):
            return ProviderError(
                f"{where} refuses the credential ({status}): {detail}.",
                code="provider_auth",
                hint="Check the API key.",
            )
        return ProviderError(f"{where} refuses the request ({status}): {detail}.", code="provider_refused")


# Nothing compressed: a small reply is slower to unpack than to send, and a bomb unpacks to anything.
_JSON = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


def decode(raw: bytes) -> Any:
    """Return the JSON value of ``raw``; a lone surrogate (half an emoji, cut off by a token limit) is kept.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    try:
        return _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # msgspec is strict about surrogates; an answer that was paid for is not given up over half a character.
        return json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def without_credentials(url: str) -> str:
    """Return ``url`` without a name and password in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


async def read_capped(response: aiohttp.ClientResponse, name: str) -> bytes:
    """Return the decompressed body, or raise `ProviderError` when it is longer than 10 MB."""
    length = response.content_length
    if length is not None and length <= MAX_BODY_BYTES and "Content-Encoding" not in response.headers:
        return await response.read()
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise ProviderError(f"The reply of {name} is longer than {MAX_BODY_BYTES:,} bytes.", code="reply_too_long")
    return b"".join(parts)


def token_count(value: Any) -> int | None:
    """Return a count that a provider reported; nonsense (negative, fractional, text) is unknown, not counted."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a ``Retry-After`` header (a number or a date), or None when there is none to follow."""
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _detail(raw: bytes) -> str:
    try:
        value = decode(raw)
    except (ValueError, RecursionError):
        return "no explanation" if not raw else "an answer that is not JSON"
    return _error_text(value) if isinstance(value, dict) else "no explanation"


def _error_text(value: dict[str, Any]) -> str:
    error = value.get("error")
    text = error.get("message") if isinstance(error, dict) else error
    # One line, printable and short: this goes to logs and terminals.
    printable = "".join(sign if sign.isprintable() else " " for sign in str(text or "no explanation")[:2000])
    return " ".join(printable.split())[:300].rstrip(".")
