"""One way to a server: requests, repetitions, errors of our own tree."""

from __future__ import annotations

import http.client
import time
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from promptcard_ext.client.connections import Connections, Reply, retry_after_s
from promptcard_ext.client.credentials import Credentials
from promptcard_ext.client.discovery import Address
from promptcard_ext.client.download import Download
from promptcard_ext.client.refusals import error_of, not_json
from promptcard_ext.client.retries import TOTAL_S, Retries
from promptcard_ext.core import errors, wire
from promptcard_ext.core.contract.accounts import AccessToken, ExchangeSpec

T = TypeVar("T")
API = "promptcards/api/v1/"
TIMEOUT_S = 90.0
"""Longest time without anything from the server."""
EXCHANGE_S = 30.0
"""Longest time for getting a token."""


class Session:
    """A server and a credential for it, for all threads. Connections are kept open, and closed by `close`.

    Args:
        address: Where the server is.
        exchange: Whether to work with short-lived tokens of the server's own, for which the address's is exchanged.
            A server that has none gets the address's.

    Raises:
        Unavailable: The address is none (``url_invalid``).
        Unauthenticated: The token has characters that no token has.
    """

    def __init__(self, address: Address, *, exchange: bool = False) -> None:
        try:
            parts = urlsplit(address.url)
            host, port = parts.hostname or "", parts.port
        except ValueError:  # a port that is no number; the text may hold a token, so it is not repeated
            raise errors.Unavailable("The server's URL is not valid.", code="url_invalid") from None
        # A URL copied from a browser may carry a token or a password; what we show and send has neither.
        named = f"[{host}]" if ":" in host else host
        shown = f"{parts.scheme}://{named}{f':{port}' if port else ''}{parts.path.rstrip('/')}/"
        if parts.scheme not in ("http", "https") or not host:
            raise errors.Unavailable(f"'{shown}' is not the address of a server.", code="url_invalid")
        token = address.token.strip()
        if not (token.isascii() and token.isprintable()):  # the error of http.client would show it
            raise errors.Unauthenticated("The token has characters that no token has.", hint="Copy it again.")
        self.address = Address(shown, token)
        self._base = parts.path.rstrip("/") + "/" + API
        self.connections = Connections(host, port, secure=parts.scheme == "https")
        self.credentials = Credentials(self.address.token, self._ask_for_token if exchange else None)

    @property
    def headers(self) -> dict[str, str]:
        """What lets us in without any exchange."""
        return self.credentials.given

    def url(self, *path: str, **query: Any) -> str:
        """Return the path of a resource below the API, with its parts quoted; a list is a parameter given often."""
        text = self._base + "/".join(quote(part, safe="") for part in path)
        return f"{text}?{urlencode(query, doseq=True)}" if query else text

    def get(self, *path: str, **query: Any) -> Any:
        """Return the JSON answer of a GET; see `ask` for errors."""
        return decoded(self.ask("GET", self.url(*path, **query)).body, object)

    def send(self, method: str, *path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Return the JSON answer of a request with a body; see `ask` for errors."""
        data = wire.encode(body) if body is not None else b""
        return decoded(self.ask(method, self.url(*path), data, headers).body, object)

    def ask(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        total_s: float = TOTAL_S,
    ) -> Reply:
        """Make a request and return the answer.

        One that can do no harm when it is done twice (it reads, it replaces something unconditionally, or it names its
        idempotency key) is repeated up to three times when the connection breaks or the server says "later".

        Args:
            total_s: Longest time for all of it, in seconds.

        Raises:
            PromptCardError: What the server answered, as the class that fits its code and status.
            Unavailable: The server does not answer (``server_unreachable``).
        """
        given = headers or {}
        safe = method == "GET" or (method == "PUT" and "If-Match" not in given) or "Idempotency-Key" in given
        retries = Retries(total_s)
        shown = self.credentials.headers()
        reply = self._persist(method, url, body, {**shown, **given}, safe, retries)
        # Refused is not done, so that any request may be repeated.
        if reply.status == 401 and self.credentials.give_up(shown):
            reply = self._persist(method, url, body, {**self.credentials.headers(), **given}, safe, retries)
        if reply.status >= 300:
            raise error_of(reply.status, reply.body, reply.retry_after_s)
        return reply

    def download(self, url: str) -> Download:
        """Return a file whose pieces are read as they are asked for; see `ask` for errors and repetitions."""
        connection, response = self.open(url)
        return Download(response, connection.close)

    def open(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        total_s: float = TOTAL_S,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Return a connection of its own, to be closed, and the answer to a GET, to be read; see `ask` for errors.

        Args:
            timeout_s: Longest time without anything from the server.
            total_s: Longest time until the answer begins.
        """
        retries, renewed = Retries(total_s), False
        while True:
            shown = self.credentials.headers()
            try:
                connection, response = self.connections.open("GET", url, b"", {**shown, **(headers or {})}, timeout_s)
                if response.status < 300:
                    return connection, response
                body = response.read()
                connection.close()
            except (OSError, http.client.HTTPException) as error:
                wait = retries.next_wait_s(None)
                if wait is None:
                    raise self._unreachable(error) from None
            else:
                problem = error_of(response.status, body, retry_after_s(response.headers))
                if response.status == 401 and not renewed and self.credentials.give_up(shown):
                    renewed, wait = True, 0.0
                elif response.status not in (429, 503) or (wait := retries.next_wait_s(problem.retry_after_s)) is None:
                    raise problem
            time.sleep(wait)

    def _ask_for_token(self) -> AccessToken | None:
        """Exchange the address's token for one of the server's own; None from a server that has no such thing."""
        body = wire.encode(ExchangeSpec("kernel"))
        reply = self._persist("POST", self.url("auth", "exchange"), body, self.headers, True, Retries(EXCHANGE_S))
        if reply.status == 404:
            return None
        if reply.status >= 300:
            raise error_of(reply.status, reply.body, reply.retry_after_s)
        return decoded(reply.body, AccessToken)

    def _persist(
        self, method: str, url: str, body: bytes, headers: dict[str, str], safe: bool, retries: Retries
    ) -> Reply:
        """Make a request, and again while the server is away; return the answer."""
        sent = {"Content-Type": "application/json", **headers}
        while True:
            try:
                timeout_s = max(0.1, min(TIMEOUT_S, retries.left_s))
                reply = self.connections.exchange(method, url, body, sent, timeout_s)
            except (OSError, http.client.HTTPException) as error:
                wait = retries.next_wait_s(None) if safe else None
                if wait is None:
                    raise self._unreachable(error) from None
            else:
                wait = retries.next_wait_s(reply.retry_after_s) if safe and _later(reply) else None
                if wait is None:
                    return reply
            time.sleep(wait)

    def _unreachable(self, error: Exception) -> errors.Unavailable:
        return errors.Unavailable(
            f"The server at {self.address.url} does not answer ({type(error).__name__}).",
            hint="Is it still running?",
            code="server_unreachable",
        )

    def close(self) -> None:
        """Close the connections; the next request opens another."""
        self.connections.end()


def _later(reply: Reply) -> bool:
    # Busy: our own first attempt under this idempotency key is still at work.
    return reply.status in (429, 503) or (reply.status == 409 and b'"idempotency_busy"' in reply.body)


def decoded(answer: bytes, kind: type[T]) -> T:
    """Return a JSON answer as ``kind``.

    Raises:
        Unavailable: It is something else (``answer_invalid``).
    """
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise not_json() from None


def parameters(query: Struct) -> dict[str, Any]:
    """Return the parameters of a query, without those that say nothing."""
    values: dict[str, Any] = msgspec.to_builtins(query)
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in values.items()
        if value is not None and value != []
    }
