"""PostgreSQL and Redis end and come back while a server works: what was acknowledged is there, what was not can be
repeated, and nobody needs to do anything."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Iterator
from http.client import HTTPConnection, IncompleteRead
from typing import Any
from uuid import uuid4

import pytest

from server_ext.embedded import valkey
from tests.server.busy import new_card
from tests.server.serving import API, TOKEN, Answer, Client, Load, Served, served
from tests.support import wait_for

CARDS = "workspaces/personal/cards"
RECOVERY_S = 5.0
# The longest of the time limits on the way to the database, and some for a machine that others use too.
LONGEST_S = 15.0


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """A server for all tests here; each leaves it as it should be."""
    with served(PROMPTCARDS_LEASE_S="3") as server:
        yield server


def card(name: str, text: str) -> dict[str, str]:
    return {"name": name, "template": f"{text} {{{{ who }}}}"}


class Creator:
    """Creates cards, each with a key of its own, and keeps what it was told."""

    def __init__(self) -> None:
        self.prefix = f"c{uuid4().hex[:8]}"
        self.acknowledged: dict[str, str] = {}
        self.unanswered: list[str] = []
        self._numbers = itertools.count()

    def __call__(self, load: Load, client: Client) -> None:
        name = f"{self.prefix}-{next(self._numbers)}"
        answer = load.note(self.create(client, name))
        if answer.status == 201:
            self.acknowledged[name] = answer.json["version_id"]
        else:
            self.unanswered.append(name)

    def create(self, client: Client, name: str) -> Answer:
        return client.ask("POST", CARDS, card(name, f"This is {name}:"), Idempotency_Key=name)

    def check(self, client: Client) -> None:
        """See that everything acknowledged is there, and that what was not is created exactly once."""
        assert self.acknowledged
        for name, version in self.acknowledged.items():
            found = client.ask("GET", f"{CARDS}/{name}/versions/1")
            assert found.status == 200, name
            assert found.json["id"] == version
            assert found.json["card"]["template"] == card(name, f"This is {name}:")["template"]
        # Those in flight when the outage began and when it ended: they may have been done, and the answer lost.
        for name in {*self.unanswered[:8], *self.unanswered[-8:]}:
            first, second = self.create(client, name), self.create(client, name)
            assert (first.status, second.status) == (201, 201), name
            assert first.json == second.json
            assert [one["version"] for one in client.ask("GET", f"{CARDS}/{name}/versions").json["items"]] == [1]


class Mover:
    """Moves a label to and fro, and keeps where it was told that it stands."""

    def __init__(self, server: Served) -> None:
        self.name = f"m{uuid4().hex[:8]}"
        client = server.client()
        for text in ("one", "two"):
            assert client.ask("POST", CARDS, card(self.name, text)).status == 201
        self.path = f"{CARDS}/{self.name}/labels/production"
        first = client.ask("PUT", self.path, {"version": 1})
        self.version, self.tag, self.certain = 1, first.headers["Etag"], True
        self.moves = 0

    def __call__(self, load: Load, client: Client) -> None:
        if not self.certain:
            found = load.note(client.ask("GET", self.path))
            if found.status != 200:
                return
            self.version, self.tag, self.certain = found.json["version"], found.headers["Etag"], True
        wanted = 3 - self.version
        answer = load.note(client.ask("PUT", self.path, {"version": wanted}, If_Match=self.tag))
        if answer.status == 200:
            self.version, self.tag = wanted, answer.headers["Etag"]
            self.moves += 1
        else:
            self.certain = False

    def check(self, client: Client) -> None:
        """See that the label stands where the last answer said."""
        assert self.moves
        if self.certain:
            assert client.ask("GET", self.path).json["version"] == self.version


def list_cards(load: Load, client: Client) -> None:
    load.note(client.ask("GET", f"{CARDS}?limit=20"))


def look_at_health(load: Load, client: Client) -> None:
    load.note(client.ask("GET", "health"))


def recovered(server: Served) -> float:
    """Return after how many seconds reads, writes and health succeed again, each asked for anew all the time."""
    began = time.monotonic()
    client = server.client()
    probe = itertools.count()

    def all_well() -> bool:
        made = client.ask("POST", CARDS, card(f"p{uuid4().hex[:8]}-{next(probe)}", "Probe"))
        return made.status == 201 and client.ask("GET", "health").status == client.ask("GET", CARDS).status == 200

    wait_for(all_well, 60)
    return time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, signal.SIGINT], ids=lambda number: number.name)
def test_nothing_acknowledged_is_lost_when_postgres_ends(server: Served, number: signal.Signals) -> None:
    creators, mover = [Creator(), Creator()], Mover(server)
    with Load(server, [*creators, mover, list_cards, list_cards, look_at_health]) as load:
        load.seen(201, 20)
        # The server's worker may have the database back before we look.
        before = load.statuses[503]
        server.end_postgres(number)
        load.seen(503, 20, since=before)
        server.start_services()
        took_s = recovered(server)
        load.seen(201, 20)
    assert not load.odd, load.odd[:3]
    assert load.slowest_s < LONGEST_S
    assert took_s < RECOVERY_S
    client = server.client()
    for work in (*creators, mover):
        work.check(client)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_requests_go_on_without_redis(server: Served, number: signal.Signals) -> None:
    creator, mover = Creator(), Mover(server)
    with Load(server, [creator, mover, list_cards]) as load:
        load.seen(201, 20)
        server.end_valkey(number)
        load.seen(200, 100)
        load.seen(201, 20)
        client = server.client()
        health, export = client.ask("GET", "health"), client.ask("GET", f"{CARDS}/{mover.name}/cases/export")
        server.start_services()
        took_s = recovered(server)
        load.seen(201, 20)
    assert set(load.statuses) == {200, 201}
    assert load.slowest_s < LONGEST_S
    for refused, code in ((health, "queue_unavailable"), (export, "limiter_unavailable")):
        assert (refused.status, refused.json["code"]) == (503, code)
        assert int(refused.headers["Retry-After"]) >= 1
    assert took_s < RECOVERY_S
    creator.check(client)
    mover.check(client)


def test_redis_may_be_flushed_at_any_time(server: Served) -> None:
    creator, mover = Creator(), Mover(server)
    fetch = f"{CARDS}/{mover.name}/fetch?label=production"
    with Load(server, [creator, mover, list_cards, lambda load, client: load.note(client.ask("GET", fetch))]) as load:
        for command in ("FLUSHALL", "SCRIPT FLUSH", "FLUSHALL"):
            load.seen(201, 10)
            assert valkey.ask(server.home, command) == "+OK"
        load.seen(201, 10)
    assert set(load.statuses) == {200, 201}
    client = server.client()
    assert client.ask("GET", fetch).json["version"] == mover.version
    creator.check(client)
    mover.check(client)


def test_a_run_goes_on_after_postgres_and_redis_have_ended(server: Served) -> None:
    client = server.client()
    name = f"r{uuid4().hex[:8]}"
    assert client.ask("POST", CARDS, card(name, "Say hello to")).status == 201
    for number in range(60):
        case = {"variables": {"who": f"Ada {number}"}, "assertions": [{"type": "contains", "value": "Ada"}]}
        assert client.ask("POST", f"{CARDS}/{name}/cases", case).status == 201
    plan = {"card": name, "models": ["simulated:steady?latency_ms=400&spread=0"], "concurrency": 2}
    run = client.ask("POST", "workspaces/personal/runs", plan).json["id"]

    def look() -> Any:
        answer = client.ask("GET", f"workspaces/personal/runs/{run}")
        return answer.json if answer.status == 200 else None

    wait_for(lambda: look()["counts"]["done"] >= 4)
    server.end_postgres(signal.SIGKILL)
    server.end_valkey(signal.SIGKILL)
    wait_for(lambda: client.ask("GET", CARDS).status == 503)
    server.start_services()
    wait_for(lambda: (found := look()) and found["status"] == "completed", 120)
    assert look()["counts"]["done"] == 60


def test_an_export_is_cut_off_when_postgres_ends(server: Served) -> None:
    new_card(server, 60_000)
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    path = f"{API}/{CARDS}/busy/cases/export?format=jsonl"
    connection.request("GET", path, headers={"Authorization": f"token {TOKEN}"})
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.read(1000)
    server.end_postgres(signal.SIGKILL)
    with pytest.raises((IncompleteRead, ConnectionError)):
        answer.read()
    connection.close()
    server.start_services()
    assert recovered(server) < RECOVERY_S
