"""Requests over a real socket to a server that misbehaves as it is told."""

from __future__ import annotations

import json
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
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
        self.connections = 0
        self.closes_after = 0
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            while self._one(connection, lines):
                pass

    def _one(self, connection: socket.socket, lines: Any) -> bool:
        first = lines.readline().decode().strip()
        if not first:
            return False
        headers = dict(line.decode().strip().lower().split(": ", 1) for line in iter(lines.readline, b"\r\n"))
        lines.read(int(headers.get("content-length", 0)))
        with self._lock:
            self.requests.append(first)
            self.headers.append(headers)
            reply = self.answers.pop(0)
        connection.sendall(reply)
        return reply != DROP and len(self.requests) != self.closes_after

    def hang_up(self) -> None:
        """Close the open connections, which nobody is using."""
        for connection in self._open:
            connection.shutdown(socket.SHUT_RDWR)

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
    assert 0.15 <= waits[0] <= 0.3 <= waits[1] <= 0.6


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
        answer(429, {"code": "rate_limited", "message": "m"}, Retry_After="3"),
        answer(200, {}),
        answer(429, {"code": "rate_limited", "message": "m"}, Retry_After="86400"),
    ]
    client.get("health")
    assert 2.0 <= waits[0] <= 2.2
    assert 3.0 <= waits[1] <= 3.3
    with pytest.raises(errors.RateLimited) as problem:
        client.get("health")
    assert problem.value.retry_after_s == 86400
    assert len(waits) == 2


def test_what_is_refused_for_other_reasons_is_asked_once(server: Server, client: Session) -> None:
    for status in (400, 403, 404, 409, 422, 500):
        server.answers = [answer(status, {"code": "c", "message": "m"})]
        with pytest.raises(errors.PromptCardError):
            client.send("POST", "runs", body={}, headers={"Idempotency-Key": "k"})
    assert (len(server.requests), waits) == (6, [])


def test_a_request_whose_twin_is_still_at_work_is_repeated(server: Server, client: Session) -> None:
    busy = answer(409, {"code": "idempotency_busy", "message": "m"}, Retry_After="1")
    server.answers = [DROP, busy, answer(201, {"id": 1})]
    assert client.send("POST", "runs", body={}, headers={"Idempotency-Key": "k"}) == {"id": 1}
    assert {headers["idempotency-key"] for headers in server.headers} == {"k"}


def test_a_change_on_a_condition_is_not_repeated(server: Server, client: Session) -> None:
    for method in ("PUT", "PATCH", "DELETE"):
        server.answers = [DROP]
        with pytest.raises(errors.Unavailable):
            client.send(method, "cards", "c", body={}, headers={"If-Match": '"1"'})
    assert len(server.requests) == 3


def test_all_repetitions_together_have_an_end(server: Server, client: Session) -> None:
    server.answers = [answer(503, {"code": "starting", "message": "m"}, Retry_After="2")]
    with pytest.raises(errors.Unavailable) as problem:
        client.ask("GET", client.url("health"), total_s=1.0)
    assert (problem.value.code, problem.value.retry_after_s) == ("starting", 2)
    assert len(server.requests) == 1


def test_one_connection_serves_one_request_after_the_other(server: Server, client: Session) -> None:
    server.answers = [answer(200, {}) for _ in range(5)]
    for _ in range(5):
        client.get("health")
    assert server.connections == 1


def test_a_connection_that_the_server_has_closed_is_not_used_for_a_change(server: Server, client: Session) -> None:
    server.answers = [answer(200, {}, Connection="keep-alive"), answer(201, {"made": True})]
    client.get("health")
    server.hang_up()
    assert client.send("POST", "cards", body={}) == {"made": True}
    assert server.connections == 2


def test_nobody_is_followed_elsewhere_with_a_credential(server: Server, client: Session) -> None:
    elsewhere = Server()
    server.answers = [answer(307, text=b"", Location=elsewhere.url)]
    with pytest.raises(errors.PromptCardError):
        client.get("health")
    elsewhere.close()
    assert elsewhere.requests == []


@pytest.mark.parametrize("token", ["a\nb: c", "s3cret\x00", "s\u20accret"])
def test_a_token_that_can_be_none_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(errors.Unauthenticated) as problem:
        Session(Address("http://localhost/", token))
    assert token not in str(problem.value)
    assert token not in repr(problem.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.Unauthenticated),
        (403, errors.Denied),
        (404, errors.NotFound),
        (410, errors.NotFound),
        (412, errors.Conflict),
        (413, errors.CardError),
        (422, errors.CardError),
        (428, errors.CardError),
        (429, errors.RateLimited),
        (502, errors.Unavailable),
        (503, errors.Unavailable),
        (504, errors.Unavailable),
        (507, errors.Unavailable),
        (500, errors.PromptCardError),
        (400, errors.PromptCardError),
    ],
)
def test_errors_keep_their_code_message_and_hint(
    server: Server, client: Session, status: int, kind: type[errors.PromptCardError]
) -> None:
    body = {"code": "some_code", "message": "It is so.", "hint": "Do that.", "current": 7, "diff": {"title": 8}}
    server.answers = [answer(status, body, Retry_After="999")]
    with pytest.raises(kind) as problem:
        client.get("cards")
    assert type(problem.value) is kind
    assert (problem.value.code, problem.value.message, problem.value.hint) == ("some_code", "It is so.", "Do that.")
    if isinstance(problem.value, errors.Conflict):
        assert (problem.value.current, problem.value.diff) == (7, {"title": 8})


def test_a_template_error_keeps_its_place(server: Server, client: Session) -> None:
    server.answers = [answer(422, {"code": "template_syntax", "message": "m", "line": 3, "column": 5})]
    with pytest.raises(errors.TemplateError) as problem:
        client.get("cards")
    assert (problem.value.line, problem.value.column) == (3, 5)


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


def test_a_download_is_there_as_a_whole_or_not_at_all(server: Server, client: Session, tmp_path: Path) -> None:
    whole = answer(200, text=b"all of it", Content_Type="text/csv")
    server.answers = [answer(503, {"code": "starting", "message": "m"}), whole, whole[:-1]]
    file = client.download(client.url("export")).save(tmp_path / "whole.csv")
    assert file.read_bytes() == b"all of it"
    server.closes_after = 3
    with pytest.raises(errors.Unavailable) as problem:
        client.download(client.url("export")).save(tmp_path / "part.csv")
    assert problem.value.code == "server_unreachable"
    assert list(tmp_path.iterdir()) == [file]


def test_a_download_takes_no_memory(server: Server, client: Session) -> None:
    server.answers = [answer(200, text=b"x" * 30_000_000)]
    tracemalloc.start()
    try:
        assert sum(map(len, client.download(client.url("export")))) == 30_000_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_a_refused_download_is_an_error_like_others(server: Server, client: Session) -> None:
    server.answers = [answer(404, {"code": "not_found", "message": "m"})]
    with pytest.raises(errors.NotFound):
        client.download(client.url("export"))
