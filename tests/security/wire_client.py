"""HTTP as bytes, as quickly as Python can: tests of security send tens of thousands of requests and look at each."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

PREFIX = "/promptcards/api/v1/"
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        head: Status line and headers as they came.
        truncated: Whether the server cut the connection before the end of the body.
    """

    status: int
    head: bytes
    body: bytes
    truncated: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The headers, names in lower case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def json(self) -> Any:
        """The body, or None when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Connection:
    """One connection to a server on this machine, kept alive and made anew when the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._rest = b""

    def ask(self, method: str, target: str, headers: Mapping[str, str | bytes], body: bytes | None = None) -> Reply:
        """Send a request and return its answer.

        Args:
            target: Path and query below the interface's root, percent-encoded.
        """
        request = self._request(method, target, headers, body)
        kept = self._socket is not None
        try:
            return self._exchange(request)
        except (ConnectionError, BrokenPipeError):
            self.close()
            if not kept:
                raise
        # The server had closed a connection that it had kept until then: it has not seen this request.
        return self._exchange(request)

    def _request(self, method: str, target: str, headers: Mapping[str, str | bytes], body: bytes | None) -> bytes:
        lines = [f"{method} {PREFIX}{target} HTTP/1.1".encode(), b"Host: 127.0.0.1"]
        for name, value in headers.items():
            lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else value.encode("utf-8")))
        if body is not None or method in ("POST", "PUT", "PATCH"):
            lines.append(b"Content-Length: %d" % len(body or b""))
        return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")

    def _exchange(self, request: bytes) -> Reply:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._rest = b""
        try:
            self._socket.sendall(request)
        except (ConnectionError, BrokenPipeError):
            # A server that refuses a request unread answers before it closes.
            if not self._readable():
                raise
        return self._answer(request.startswith(b"HEAD"))

    def _readable(self) -> bool:
        try:
            self._more()
        except ConnectionError:
            return False
        return True

    def _answer(self, bodiless: bool) -> Reply:
        while (end := self._rest.find(b"\r\n\r\n")) < 0:
            self._more()
        head, self._rest = self._rest[:end], self._rest[end + 4 :]
        lowered = head.lower()
        status = int(head[9:12])
        truncated = False
        if bodiless or status in (101, 204, 304):
            body = b""
        elif b"\r\ntransfer-encoding: chunked" in lowered:
            body, truncated = self._chunks()
        else:
            place = lowered.find(b"\r\ncontent-length: ")
            body = self._take(int(lowered[place + 18 :].split(b"\r\n", 1)[0])) if place >= 0 else b""
        if truncated or b"\r\nconnection: close" in lowered:
            self.close()
        return Reply(status, head, body, truncated)

    def _chunks(self) -> tuple[bytes, bool]:
        found: list[bytes] = []
        try:
            while True:
                while (end := self._rest.find(b"\r\n")) < 0:
                    self._more()
                size = int(self._rest[:end], 16)
                self._rest = self._rest[end + 2 :]
                found.append(self._take(size))
                self._take(2)
                if not size:
                    return b"".join(found), False
        except ConnectionError:
            return b"".join(found) + self._rest, True

    def _take(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._more()
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def _more(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the server has closed the connection")
        self._rest += data

    def open_stream(self, target: str, headers: Mapping[str, str | bytes]) -> Reply:
        """Ask for something that stays open and return the head of the answer; read on with `overheard`.

        An answer that refuses comes with its body.
        """
        assert self._socket is None
        self._socket = socket.create_connection(("127.0.0.1", self._port), TIMEOUT_S)
        self._socket.sendall(self._request("GET", target, headers, None))
        while (end := self._rest.find(b"\r\n\r\n")) < 0:
            self._more()
        if self._rest[9:12] in (b"200", b"101"):
            head, self._rest = self._rest[:end], self._rest[end + 4 :]
            return Reply(int(head[9:12]), head, b"")
        return self._answer(False)

    def overheard(self, seconds: float = 0.0) -> tuple[bytes, bool]:
        """Return what has come by now or comes within ``seconds``, and whether the server has ended it."""
        if self._socket is None:
            return b"", True
        taken, ended, give_up = [self._rest], False, time.monotonic() + seconds
        self._rest = b""
        try:
            while True:
                self._socket.settimeout(max(0.001, give_up - time.monotonic()))
                data = self._socket.recv(1 << 16)
                if not data:
                    ended = True
                    break
                taken.append(data)
        except TimeoutError:
            pass
        except ConnectionError:
            ended = True
        return b"".join(taken), ended

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket, self._rest = None, b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def websocket_headers() -> dict[str, str]:
    """Return what asks for a websocket; nothing is compressed, so that frames can be searched as they are."""
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
