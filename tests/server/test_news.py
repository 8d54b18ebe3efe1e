"""News of changes between processes: each has a cache and a listener of its own, as servers do."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from redis import Redis

from server_ext import embedded
from server_ext.cache import Cache, Shared
from server_ext.db.engine import Database
from server_ext.embedded import Services
from server_ext.news import News
from server_ext.redis_line import RedisLine
from server_ext.services import changes
from server_ext.services.changes import Change
from server_ext.settings import Settings
from tests.support import Tenant, temporary_home, wait_for


class Server:
    """What a server process has of this."""

    def __init__(self, services: Services, name: str = "test") -> None:
        self.cache = Cache(Shared(RedisLine(services.redis_url), name, b"s" * 32))
        self.news = News(services.database_url, self.cache)
        self.heard: list[Change | None] = []
        self.news.subscribe(self.heard.append)

    def start(self) -> None:
        self.news.start()
        wait_for(lambda: self.cache.hearing)

    def close(self) -> None:
        self.news.close()
        self.cache.close()


@pytest.fixture
def servers(services: Services, redis: Redis) -> Iterator[tuple[Server, Server]]:
    with ExitStack() as stack:
        made = Server(services), Server(services)
        for server in made:
            stack.callback(server.close)
            server.start()
            server.cache.get("cards", uuid4(), "first", lambda: b"")
        yield made
    redis.flushall()


def listeners(services: Services) -> list[int]:
    """Return the backends that listen."""
    query = "select pid from pg_stat_activity where application_name = 'promptcards news'"
    with same_role(services) as connection:
        return [row[0] for row in connection.execute(query)]


def same_role(services: Services) -> psycopg.Connection:
    return psycopg.connect(services.database_url.replace("+psycopg", ""), autocommit=True)


def test_a_label_that_is_moved_in_one_process_is_seen_in_the_others_within_a_second(
    servers: tuple[Server, Server], tenant: Tenant
) -> None:
    production = [b"version 1"]
    caches = [server.cache for server in servers]
    read = [
        lambda cache=cache: cache.get("cards", tenant.id, "triage/production", lambda: production[0])
        for cache in caches
    ]  # type: ignore[misc]
    for number in range(2, 12):
        assert [look() for look in read] == [production[0]] * 2
        with tenant.scope() as scope:
            production[0] = b"version %d" % number
            changes.announce(scope, "label", "triage/production")
        for look in read:
            wait_for(lambda look=look: look() == production[0], 1.0)  # type: ignore[misc]


def test_nobody_hears_of_what_is_rolled_back(servers: tuple[Server, Server], tenant: Tenant) -> None:
    one, other = servers
    one.cache.get("cards", tenant.id, "x", lambda: b"value")

    with tenant.scope() as scope:
        changes.announce(scope, "card", "x")
        scope.connection.rollback()
    with tenant.scope() as scope:
        changes.announce(scope, "run", "the next")
    wait_for(lambda: other.heard[-1:] == [Change(tenant.id, "run", "the next")])
    assert Change(tenant.id, "card", "x") not in other.heard
    assert one.cache.find("cards", tenant.id, "x") == b"value"


def test_changes_are_heard_in_order_by_everybody_and_none_is_missing(
    servers: tuple[Server, Server], tenant: Tenant
) -> None:
    sent = [Change(tenant.id, "card", f"card-{number}") for number in range(300)]
    for change in sent:
        with tenant.scope() as scope:
            changes.announce(scope, change.family, change.key)
    for server in servers:
        wait_for(lambda server=server: sent[-1] in server.heard)  # type: ignore[misc]
        assert [change for change in server.heard if change is None or change.family == "card"] == [None, *sent]


def test_rights_of_a_user_are_forgotten_wherever_they_were_changed(
    servers: tuple[Server, Server], tenant: Tenant
) -> None:
    user = str(uuid4())
    for server in servers:
        server.cache.get("perms", None, user, lambda: b"owner")
    with tenant.scope() as scope:
        changes.announce(scope, "perms", user)
    for server in servers:
        wait_for(lambda server=server: server.cache.find("perms", None, user) is None, 1.0)  # type: ignore[misc]
        assert server.cache.get("perms", None, user, lambda: b"viewer") == b"viewer"


def test_when_the_connection_is_cut_nothing_cached_is_used_until_it_is_back_and_nothing_of_before_ever(
    servers: tuple[Server, Server], services: Services, tenant: Tenant
) -> None:
    one, _ = servers
    heard_before = len(one.heard)
    one.cache.get("cards", tenant.id, "x", lambda: b"old")
    cut = listeners(services)
    assert len(cut) == 2
    with same_role(services) as connection:
        for pid in cut:
            connection.execute("select pg_terminate_backend(%s)", [pid])
        # In the middle of the pause, and so heard by nobody.
        with tenant.scope() as scope:
            changes.announce(scope, "card", "x")
    wait_for(lambda: not set(listeners(services)) & set(cut) and len(listeners(services)) == 2, 5.0)
    wait_for(lambda: one.cache.hearing, 5.0)
    assert one.cache.get("cards", tenant.id, "x", lambda: b"new") == b"new"
    # Whoever follows the changes is told that some may be missing.
    assert None in one.heard[heard_before:]


def test_a_process_that_has_gone_deaf_without_noticing_stops_using_what_it_has(
    servers: tuple[Server, Server], services: Services, database: Database, tenant: Tenant
) -> None:
    one, _ = servers
    one.cache.get("perms", None, "ada", lambda: b"owner")
    with ExitStack() as stack:
        # Its proofs no longer arrive, as behind a proxy that does not keep sessions together.
        stack.callback(setattr, one.news, "_proofs", one.news._proofs)
        one.news._proofs = "promptcards_elsewhere"
        wait_for(lambda: not one.cache.hearing, 8.0)
        assert one.cache.get("perms", None, "ada", lambda: b"viewer") == b"viewer"
    wait_for(lambda: one.cache.hearing, 8.0)


def test_news_that_cannot_be_read_is_passed_over(
    servers: tuple[Server, Server], database: Database, tenant: Tenant
) -> None:
    with database.transaction() as connection:
        for payload in ("", "{", "[]", '["x", "card", "y"]', '[null, "of a newer version", "y"]'):
            connection.execute(sa.select(sa.func.pg_notify(changes.CHANNEL, payload)))
        changes.send(connection, Change(None, "session", "s"))
    for server in servers:
        wait_for(lambda server=server: server.heard[-1] == Change(None, "session", "s"))  # type: ignore[misc]
        # It was not even told that something may be missing: there was no new start.
        assert server.heard.count(None) == 1


def test_a_listener_that_breaks_is_taken_up_again(
    servers: tuple[Server, Server], tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = servers
    broken = threading.Event()

    def heard(change: Change | None) -> None:
        if change is not None and not broken.is_set():
            broken.set()
            raise ValueError("a subscriber with a mistake")

    one.news.subscribe(heard)
    with tenant.scope() as scope:
        changes.announce(scope, "card", "x")
    wait_for(lambda: broken.is_set() and one.heard[-1] is None, 5.0)
    wait_for(lambda: one.cache.hearing, 5.0)
    assert "taken up again" in caplog.text
    with tenant.scope() as scope:
        changes.announce(scope, "card", "y")
    wait_for(lambda: one.heard[-1] == Change(tenant.id, "card", "y"), 1.0)


def test_it_is_back_within_seconds_of_a_database_that_was_killed() -> None:
    with temporary_home() as home, embedded.attach(Settings(home=home)) as services:
        server = Server(services, "killed")
        server.start()
        server.cache.get("cards", None, "x", lambda: b"old")
        killed = embedded.status(Settings(home=home)).postgres.pid
        assert killed
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: not server.cache.hearing, 5.0)
        assert server.cache.get("cards", None, "x", lambda: b"new") == b"new"
        with embedded.attach(Settings(home=home)):
            wait_for(lambda: server.cache.hearing, 5.0)
            assert server.cache.get("cards", None, "x", lambda: b"newer") == b"newer"
            server.close()


def test_it_waits_for_a_database_that_is_not_there(services: Services) -> None:
    server = Server(services)
    server.news._url = "postgresql://nobody@127.0.0.1:1/nothing"
    server.news.start()
    assert server.cache.get("cards", None, "x", lambda: b"1") == b"1"
    assert server.cache.get("cards", None, "x", lambda: b"2") == b"2"
    server.news._url = services.database_url.replace("+psycopg", "")
    wait_for(lambda: server.cache.hearing, 5.0)
    server.close()
    assert not server.cache.hearing
