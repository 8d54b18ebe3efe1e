"""What keeps a server busy: requests that wait for a lock, searches through many rows, exports of many more."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from uuid import UUID

import psutil
import sqlalchemy as sa

from server_ext import embedded
from server_ext.db.engine import Database
from server_ext.db.tables import test_executions
from tests.server.serving import API, TOKEN, Served
from tests.support import wait_for

HOME = "workspaces/personal"
CARD = "busy"
AT_ONCE = 8
BATCH = 50_000
_CASES = sa.text(
    "insert into test_cases (workspace_id, card_id, position, name, case_uid, input_variables)"
    " select workspace_id, id, n, 'case ' || n, lpad(to_hex(n), 64, '0'), jsonb_build_object('who', repeat('ab ', 60))"
    " from prompt_cards, generate_series(1, :count) as n where name = :card"
)


@dataclass
class Pings:
    """What a client got that asked for the server's health all the time."""

    asked: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)


@contextmanager
def pings(server: Served) -> Iterator[Pings]:
    """Ask for health from a process of its own while the block goes on."""
    found = Pings()
    command = [sys.executable, "-m", "bench.pings", "127.0.0.1", str(server.port), f"{API}/health", TOKEN]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield found
    finally:
        out, _ = process.communicate(timeout=60)
    for name, value in json.loads(out).items():
        setattr(found, name, value)


@contextmanager
def opened(server: Served) -> Iterator[tuple[Database, UUID]]:
    """Yield the server's database, past the server, and the workspace."""
    workspace = UUID(server.client().ask("GET", HOME).json["id"])
    with (
        embedded.attach(server.settings) as services,
        Database(services.database_url, statement_timeout_s=600) as database,
    ):
        yield database, workspace


def new_card(server: Served, cases: int) -> None:
    """Make the card, and give it so many cases."""
    saved = server.client().ask("POST", f"{HOME}/cards", {"name": CARD, "template": "Say hello to {{ who }}."})
    assert saved.status == 201
    with opened(server) as (database, workspace), database.transaction(workspace) as connection:
        connection.execute(_CASES, {"count": cases, "card": CARD})


def new_run(server: Served, rows: int) -> str:
    """Return a run of one item, which is there so many times."""
    client = server.client()
    text = {"name": "one", "template": "Say hello to {{ who }}."}
    assert client.ask("POST", f"{HOME}/cards", text).status == 201
    case = {"variables": {"who": "Ada"}, "assertions": [{"type": "contains", "value": "Ada"}]}
    assert client.ask("POST", f"{HOME}/cards/one/cases", case).status == 201
    run = client.ask("POST", f"{HOME}/runs", {"card": "one", "models": ["simulated:echo"]})
    assert run.status == 201, run
    run_id: str = run.json["id"]
    wait_for(lambda: client.ask("GET", f"{HOME}/runs/{run_id}").json["status"] == "completed", 60)
    new = {"id": "uuidv7()", "ordinal": "ordinal + n", "repeat": "repeat + n"}
    names = [column.name for column in test_executions.columns]
    copy = sa.text(
        f"insert into test_executions ({', '.join(names)}) select {', '.join(new.get(name, name) for name in names)}"
        " from test_executions, generate_series(cast(:first as integer), :last) as n"
        " where run_id = :run and ordinal = 0"
    )
    with opened(server) as (database, workspace):
        for first in range(1, rows, BATCH):
            with database.transaction(workspace) as connection:
                last = min(first + BATCH, rows) - 1
                connection.execute(copy, {"first": first, "last": last, "run": run_id})
    return run_id


@contextmanager
def waiting_requests(server: Served) -> Iterator[None]:
    """Have eight requests wait for a lock that somebody else holds, which takes all threads of the server."""
    lock = sa.text("select from prompt_cards where name = :card for update")
    waiters = sa.text("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")
    path, any_state = f"{HOME}/cards/{CARD}", {"If_Match": "*"}
    with (
        opened(server) as (database, workspace),
        ThreadPoolExecutor(AT_ONCE) as pool,
        database.transaction(workspace) as connection,
    ):
        connection.execute(lock, {"card": CARD})
        for _ in range(AT_ONCE):
            pool.submit(server.client(60).ask, "PATCH", path, {"title": "Busy"}, **any_state)

        def all_wait() -> bool:
            with database.transaction() as looking:
                return bool(looking.execute(waiters).scalar_one() >= AT_ONCE)

        wait_for(all_wait)
        yield


@contextmanager
def heavy_searches(server: Served) -> Iterator[list[float]]:
    """Have eight clients look through all cases of the card again and again; yields how long each took, in seconds."""
    over, took = threading.Event(), []

    def search() -> None:
        client = server.client(60)
        while not over.is_set():
            answer = client.ask("GET", f"{HOME}/cards/{CARD}/cases?text=not+there")
            assert answer.status == 200, answer
            took.append(answer.seconds)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        searches = [pool.submit(search) for _ in range(AT_ONCE)]
        try:
            yield took
        finally:
            over.set()
            for one in searches:
                one.result()


@dataclass(frozen=True)
class Exported:
    """What came of an export."""

    rows: int
    bytes: int
    seconds: float
    growth_mb: float


def export(server: Served, run: str, form: str = "jsonl") -> Exported:
    """Read an export as fast as it comes, and watch the memory of the server."""
    process = psutil.Process(server.program.pid)
    before, most = process.memory_info().rss, 0
    connection = HTTPConnection("127.0.0.1", server.port, timeout=120)
    began = time.monotonic()
    path = f"{API}/{HOME}/runs/{run}/export?format={form}"
    connection.request("GET", path, headers={"Authorization": f"token {TOKEN}"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    rows = size = 0
    while piece := answer.read(1 << 20):
        rows, size = rows + piece.count(b"\n"), size + len(piece)
        most = max(most, process.memory_info().rss)
    connection.close()
    return Exported(rows, size, time.monotonic() - began, (most - before) / 1e6)
