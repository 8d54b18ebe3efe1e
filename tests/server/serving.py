"""A server process with services of its own, which a test may kill, and clients that ask it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import psutil

from server_ext import embedded
from server_ext.embedded import postgres, valkey
from server_ext.embedded.home import Home, open_home
from server_ext.settings import Settings
from tests.support import Program, free_port, temporary_home, wait_for

API = "/promptcards/api/v1"
TOKEN = "serving"
LIMITS = "authenticated=9000000/60/9000000,export=900000/60"


class Answer(NamedTuple):
    """What the server said; a status of 0 means that the connection broke."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection, opened anew when it breaks. For one thread."""

    def __init__(self, port: int, timeout_s: float = 30.0) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Ask for a path of the interface; ``If_Match`` is the header If-Match."""
        sent = {"Authorization": f"token {TOKEN}", **{name.replace("_", "-"): text for name, text in headers.items()}}
        began = time.perf_counter()
        try:
            self._connection.request(method, f"{API}/{path}", None if body is None else json.dumps(body), sent)
            answer = self._connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read(), time.perf_counter() - began)
        except (OSError, HTTPException):
            self._connection.close()
            return Answer(0, {}, b"", time.perf_counter() - began)

    def close(self) -> None:
        self._connection.close()


class Served:
    """The server, its home and its services."""

    def __init__(self, home: Path, *arguments: str, **environment: str) -> None:
        self.settings = Settings(home=home)
        self.port = free_port()
        self._clients: list[Client] = []
        more = {"JUPYTER_TOKEN": TOKEN, "PROMPTCARDS_LIMITS": LIMITS, **environment}
        self.program = Program(home, "serve", "--port", str(self.port), *arguments, **more)

    def __enter__(self) -> Self:
        self.program.__enter__()
        client = self.client()
        wait_for(lambda: client.ask("GET", "health").status == 200, 90)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.close()
        try:
            self.program.stop()
        finally:
            self.program.__exit__(kind, error, trace)

    def client(self, timeout_s: float = 30.0) -> Client:
        """Return a client that is closed with the server."""
        client = Client(self.port, timeout_s)
        self._clients.append(client)
        return client

    @property
    def home(self) -> Home:
        return open_home(self.settings.home)

    def end_postgres(self, number: signal.Signals) -> None:
        """End PostgreSQL by a signal: SIGQUIT is ``-m immediate``, SIGKILL what a machine does."""
        _end(postgres.pid_of(self.home), number)

    def end_valkey(self, number: signal.Signals) -> None:
        """End Valkey by a signal."""
        _end(valkey.pid_of(self.home), number)

    def start_services(self) -> None:
        """Start what does not run; the server's own marker keeps it running."""
        embedded.attach(self.settings).close()


def _end(pid: int | None, number: signal.Signals) -> None:
    assert pid is not None
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    os.kill(pid, number)
    _, alive = psutil.wait_procs(family, 30)
    assert not [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def served(*arguments: str, **environment: str) -> Iterator[Served]:
    """Yield a server in a home of its own."""
    with temporary_home() as home, Served(home, *arguments, **environment) as server:
        yield server


class Load:
    """Threads that each do something again and again; a context manager. What breaks in one is raised at the end.

    Attributes:
        statuses: How often which status was answered.
        slowest_s: How long the longest answer took.
        odd: Answers that should not be: neither success, nor 503 with when to come back.
    """

    def __init__(self, server: Served, works: Sequence[Callable[[Load, Client], None]]) -> None:
        self.statuses: Counter[int] = Counter()
        self.slowest_s = 0.0
        self.odd: list[Answer] = []
        self._server, self._works = server, works
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._problems: list[BaseException] = []
        self._threads = [threading.Thread(target=self._repeat, args=[work], daemon=True) for work in works]

    def note(self, answer: Answer) -> Answer:
        """Count an answer."""
        with self._lock:
            self.statuses[answer.status] += 1
            self.slowest_s = max(self.slowest_s, answer.seconds)
            good = answer.status in (200, 201) or (answer.status == 503 and "Retry-After" in answer.headers)
            if not good:
                self.odd.append(answer)
        return answer

    def seen(self, status: int, more: int = 1, *, since: int | None = None) -> None:
        """Wait until ``more`` answers of a status have come, counted from now or from how many there were before."""
        enough = (self.statuses[status] if since is None else since) + more
        try:
            wait_for(lambda: self.statuses[status] >= enough or self._problems)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.statuses}, {self.odd[:3]}") from None

    def _repeat(self, work: Callable[[Load, Client], None]) -> None:
        client = self._server.client()
        try:
            while not self._over.is_set():
                work(self, client)
        except BaseException as error:  # noqa: BLE001  raised where the test sees it
            self._problems.append(error)
        finally:
            client.close()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        if error is None and self._problems:
            raise self._problems[0]
