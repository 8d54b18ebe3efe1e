"""One connection to a server: requests, retries, errors of our own tree."""

from __future__ import annotations

import http.client
import threading
import time
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from promptcard_ext.client.credentials import Credentials
from promptcard_ext.client.discovery import Address
from promptcard_ext.core import errors, wire
from promptcard_ext.core.contract.accounts import AccessToken, ExchangeSpec

API = "promptcards/api/v1/"
TIMEOUT_S = 90.0
RETRIES = 3

_BY_STATUS: dict[int, type[errors.PromptCardError]] = {
    401: errors.Denied,
    403: errors.Denied,
    404: errors.NotFound,
    412: errors.Conflict,
    413: errors.CardError,
    422: errors.CardError,
    428: errors.CardError,
    503: errors.Unavailable,
    507: errors.Unavailable,
}

_BY_CODE: dict[str, type[errors.PromptCardError]] = {
    "unknown_model": errors.UnknownModel,
    "unknown_provider": errors.UnknownModel,
}


class Session:
    """A keep-alive connection that any thread may use; requests take turns.

    Args:
        address: Where the server is.
        exchange: Whether to work with short-lived tokens of the server's own, for which the address's is exchanged.
            A server that has none gets the address's.
    """

    def __init__(self, address: Address, *, exchange: bool = False) -> None:
        try:
            parts = urlsplit(address.url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:  # a port that is no number; the text may hold a token, so it is not repeated
            raise errors.Unavailable("The server's URL is not valid.", code="url_invalid") from None
        # A URL copied from a browser may carry a token or a password; what we show and send has neither.
        host = f"[{self._host}]" if ":" in self._host else self._host
        shown = f"{parts.scheme}://{host}{f':{self._port}' if self._port else ''}{parts.path.rstrip('/')}/"
        if parts.scheme not in ("http", "https") or not self._host:
            raise errors.Unavailable(f"'{shown}' is not the address of a server.", code="url_invalid")
        self.address = Address(shown, address.token.strip())
        self._secure = parts.scheme == "https"
        self._base = parts.path.rstrip("/") + "/" + API
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self.credentials = Credentials(self.address.token, self._ask_for_token if exchange else None)

    @property
    def headers(self) -> dict[str, str]:
        """What lets us in without any exchange."""
        return self.credentials.given

    def url(self, *path: str, **query: Any) -> str:
        """Return the path of a resource below the API, with its parts quoted."""
        text = self._base + "/".join(quote(part, safe="") for part in path)
        return f"{text}?{urlencode(query)}" if query else text

    def get(self, *path: str, **query: Any) -> Any:
        """Return the JSON answer of a GET; see `request` for errors."""
        return _decoded(self.request("GET", self.url(*path, **query)))

    def send(self, method: str, *path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Return the JSON answer of a request with a body; see `request` for errors."""
        data = wire.encode(body) if body is not None else b""
        return _decoded(self.request(method, self.url(*path), data, headers))

    def request(self, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
        """Make a request and return the body of the answer.

        A request that cannot have changed anything, or names its idempotency key, is repeated up to three times when
        the server is away or says "later".

        Raises:
            PromptCardError: What the server answered, as the class that fits its status.
            Unavailable: The server does not answer (``server_unreachable``).
        """
        safe = method in ("GET", "PUT") or "Idempotency-Key" in (headers or {})
        credentials = self.credentials.headers()
        status, answer = self._persist(method, url, body, {**credentials, **(headers or {})}, safe)
        # Refused is not done, so that any request may be repeated.
        if status == 401 and self.credentials.give_up(credentials):
            credentials = self.credentials.headers()
            status, answer = self._persist(method, url, body, {**credentials, **(headers or {})}, safe)
        if status >= 300:
            raise _error(status, answer)
        return answer

    def _ask_for_token(self) -> AccessToken | None:
        """Exchange the address's token for one of the server's own; None from a server that has no such thing."""
        body = wire.encode(ExchangeSpec("kernel"))
        status, answer = self._persist("POST", self.url("auth", "exchange"), body, self.headers, safe=True)
        if status == 404:
            return None
        if status >= 300:
            raise _error(status, answer)
        try:
            return msgspec.json.decode(answer, type=AccessToken)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _not_json() from None

    def _persist(self, method: str, url: str, body: bytes, headers: dict[str, str], safe: bool) -> tuple[int, bytes]:
        """Make a request, and again while the server is away; return status and body of the answer."""
        sent = {"Content-Type": "application/json", **headers}
        for attempt in range(RETRIES + 1):
            try:
                with self._lock:
                    status, answer, wait = self._exchange(method, url, body, sent)
            except (OSError, http.client.HTTPException) as error:
                if not safe or attempt == RETRIES:
                    raise errors.Unavailable(
                        f"The server at {self.address.url} does not answer ({type(error).__name__}).",
                        hint="Is it still running?",
                        code="server_unreachable",
                    ) from None
                wait = None
            else:
                if status != 503 or not safe or attempt == RETRIES:
                    return status, answer
            time.sleep(wait if wait is not None else 0.3 * 2**attempt)
        raise AssertionError("the loop above returns or raises")

    def _exchange(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, float | None]:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=TIMEOUT_S)
        try:
            self._connection.request(method, url, body or None, headers)
            response = self._connection.getresponse()
            answer = response.read()
        except BaseException:  # Ctrl-C too: the next request must not get the rest of this answer
            self._drop()
            raise
        later = response.headers.get("Retry-After", "")
        return response.status, answer, min(10.0, float(later)) if later.isdecimal() else None

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _decoded(answer: bytes) -> Any:
    try:
        return msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _not_json() from None


def _not_json() -> errors.Unavailable:
    return errors.Unavailable(
        "The server's answer is not JSON.", hint="Is this a Prompt Cards server?", code="answer_invalid"
    )


def _error(status: int, answer: bytes) -> errors.PromptCardError:
    """Return the error that an answer stands for."""
    try:
        value = msgspec.json.decode(answer)
        code, message = str(value["code"]), str(value["message"])
        hint = str(value.get("hint") or "")
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        code, message, hint = "error", f"The server answered {status}.", "Is this a Prompt Cards server?"
        if status == 404:
            return errors.Unavailable(
                "This Jupyter server has no Prompt Cards.",
                hint="Install 'promptcards[server]' beside it.",
                code="no_extension",
            )
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, errors.PromptCardError)
    if kind is errors.Conflict:
        return errors.Conflict(message, hint=hint, code=code, current=value.get("current"))
    return kind(message, hint=hint, code=code)
