"""Requests over a real socket to a server that misbehaves as it is told."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from promptcard_ext.client import session as session_module
from promptcard_ext.client.discovery import Address
from promptcard_ext.client.session import Session
from promptcard_ext.core import errors

TOKEN = "s3cret-t0ken"
DROP = b""


def answer(status: int, body: Any = None, *, text: bytes | None = None, **headers: str) -> bytes:
    data = text if text is not None else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class Server:
    """Answers each request with the next answer it was given; an empty one closes the connection."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        self.answers: list[bytes] = []
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                while self._one(connection, lines):
                    pass

    def _one(self, connection: socket.socket, lines: Any) -> bool:
        first = lines.readline().decode().strip()
        if not first:
            return False
        headers = dict(line.decode().strip().lower().split(": ", 1) for line in iter(lines.readline, b"\r\n"))
        lines.read(int(headers.get("content-length", 0)))
        self.requests.append(first)
        self.headers.append(headers)
        reply = self.answers.pop(0)
        connection.sendall(reply)
        return reply != DROP

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setattr(session_module.time, "sleep", lambda seconds: waits.append(seconds))
    waits.clear()
    session = Session(Address(server.url, TOKEN))
    yield session
    session.close()


waits: list[float] = []


def test_a_read_is_repeated_when_the_connection_breaks(server: Server, client: Session) -> None:
    server.answers = [DROP, DROP, answer(200, {"well": True})]
    assert client.get("health") == {"well": True}
    assert len(server.requests) == 3
    assert waits == [0.3, 0.6]


def test_a_read_is_given_up_after_three_repetitions(server: Server, client: Session) -> None:
    server.answers = [DROP] * 4
    with pytest.raises(errors.Unavailable) as problem:
        client.get("health")
    assert problem.value.code == "server_unreachable"
    assert TOKEN not in str(problem.value)
    assert len(server.requests) == 4


def test_a_change_is_not_repeated_unless_that_is_harmless(server: Server, client: Session) -> None:
    server.answers = [DROP, DROP, answer(201, {}), DROP, answer(200, {})]
    with pytest.raises(errors.Unavailable):
        client.send("POST", "cards", body={})
    assert client.send("POST", "runs", body={}, headers={"Idempotency-Key": "k"}) == {}
    assert client.send("PUT", "cases", body={}) == {}
    assert [line.split()[0] for line in server.requests] == ["POST", "POST", "POST", "PUT", "PUT"]


def test_later_means_later_but_not_for_ever(server: Server, client: Session) -> None:
    server.answers = [
        answer(503, {"code": "starting", "message": "m"}, Retry_After="2"),
        answer(503, {"code": "starting", "message": "m"}, Retry_After="86400"),
        answer(200, {}),
    ]
    client.get("health")
    assert waits == [2.0, 10.0]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.Denied),
        (403, errors.Denied),
        (404, errors.NotFound),
        (412, errors.Conflict),
        (413, errors.CardError),
        (422, errors.CardError),
        (428, errors.CardError),
        (507, errors.Unavailable),
        (500, errors.PromptCardError),
        (400, errors.PromptCardError),
    ],
)
def test_errors_keep_their_code_message_and_hint(
    server: Server, client: Session, status: int, kind: type[errors.PromptCardError]
) -> None:
    server.answers = [answer(status, {"code": "some_code", "message": "It is so.", "hint": "Do that.", "current": 7})]
    with pytest.raises(kind) as problem:
        client.get("cards")
    assert type(problem.value) is kind
    assert (problem.value.code, problem.value.message, problem.value.hint) == ("some_code", "It is so.", "Do that.")
    if isinstance(problem.value, errors.Conflict):
        assert problem.value.current == 7


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (answer(404, text=b"<html>no such page</html>"), "no_extension"),
        (answer(302, text=b"", Location="/login"), "error"),
        (answer(502, text=b"<html>Bad gateway</html>"), "error"),
        (answer(200, text=b"<html>Welcome</html>"), "answer_invalid"),
        (answer(200, text=b"\xff"), "answer_invalid"),
        (answer(422, ["not", "an", "object"]), "error"),
    ],
)
def test_what_is_no_server_of_ours_is_told_apart(server: Server, client: Session, reply: bytes, code: str) -> None:
    server.answers = [reply]
    with pytest.raises(errors.PromptCardError) as problem:
        client.get("health")
    assert problem.value.code == code


def test_a_port_that_nobody_listens_on_is_said_to_be_away(client: Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(errors.Unavailable) as problem:
        Session(Address(f"http://127.0.0.1:{port}/", TOKEN)).get("health")
    assert problem.value.code == "server_unreachable"


def test_a_request_that_was_interrupted_leaves_nothing_to_the_next(
    server: Server, client: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [answer(200, {"number": 1}), answer(200, {"number": 2})]
    interrupted: list[Callable[[], Any]] = []
    real = session_module.http.client.HTTPResponse.read

    def read(response: Any, *arguments: Any) -> bytes:
        if not interrupted:
            interrupted.append(response)
            raise KeyboardInterrupt
        return real(response, *arguments)

    monkeypatch.setattr(session_module.http.client.HTTPResponse, "read", read)
    with pytest.raises(KeyboardInterrupt):
        client.get("health")
    monkeypatch.undo()
    assert client.get("health") == {"number": 2}


def test_threads_take_turns(server: Server, client: Session) -> None:
    server.answers = [answer(200, {"number": number}) for number in range(40)]
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.extend(client.get("x")["number"] for _ in range(10))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(found) == list(range(40))
