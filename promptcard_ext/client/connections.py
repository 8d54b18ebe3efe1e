"""Connections to one server, kept open between requests and shared by all threads."""

from __future__ import annotations

import http.client
import selectors
import ssl
import threading
from email.message import Message
from typing import NamedTuple

KEPT = 8
"""Connections that are kept open while nobody uses them."""


class Reply(NamedTuple):
    """An answer, as it came.

    Attributes:
        headers: Looked up in any case.
    """

    status: int
    body: bytes
    headers: Message

    @property
    def etag(self) -> str:
        """The entity tag without quotes; empty when there is none."""
        return self.headers.get("ETag", "").removeprefix("W/").strip('"')

    @property
    def retry_after_s(self) -> float | None:
        """How long the server wants us to wait, in seconds; None when it does not say."""
        return retry_after_s(self.headers)


def retry_after_s(headers: Message) -> float | None:
    """Return what ``Retry-After`` says in seconds; None when it is not there, or is a date."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdecimal() else None


class Connections:
    """Connections to one host and port. Redirects are answers like others: nothing is sent elsewhere.

    Args:
        secure: Whether to use TLS; certificate and name of the server are then checked.
    """

    def __init__(self, host: str, port: int | None, *, secure: bool) -> None:
        self._host, self._port = host, port
        self._tls = ssl.create_default_context() if secure else None
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._over = False

    def exchange(self, method: str, url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> Reply:
        """Make one request and return the answer.

        Raises:
            OSError, http.client.HTTPException: The connection broke, or nothing came for ``timeout_s``.
        """
        connection, response = self.open(method, url, body, headers, timeout_s)
        try:
            reply = Reply(response.status, response.read(), response.headers)
        except BaseException:  # Ctrl-C too: the next request must not get the rest of this answer
            connection.close()
            raise
        self.give_back(connection)
        return reply

    def open(
        self, method: str, url: str, body: bytes, headers: dict[str, str], timeout_s: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Make one request; return an answer whose body has not been read yet, and what to close afterwards.

        Raises:
            OSError, http.client.HTTPException: As `exchange`.
        """
        connection = self._take(timeout_s)
        try:
            connection.request(method, url, body or None, headers)
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            # The others lead to the same server, which has probably been started anew.
            self.close()
            raise

    def give_back(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection, whose answer was read to its end, for the next request."""
        with self._lock:
            if connection.sock is not None and len(self._idle) < KEPT and not self._over:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close what is idle; the next request opens a connection of its own."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def end(self) -> None:
        """Close what is idle, and from now on each connection after its answer: nobody will come to close it."""
        with self._lock:
            self._over = True
        self.close()

    def _take(self, timeout_s: float) -> http.client.HTTPConnection:
        while (connection := self._idle_one()) is not None:
            if not _ended(connection):
                connection.sock.settimeout(timeout_s)
                return connection
            connection.close()
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)

    def _idle_one(self) -> http.client.HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None


def _ended(connection: http.client.HTTPConnection) -> bool:
    """Tell whether the server has closed a connection: nothing else can be read where nothing was asked."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection.sock, selectors.EVENT_READ)
        return bool(selector.select(0))
