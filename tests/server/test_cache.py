"""The two levels of the cache: what is kept, what is forgotten, and what can never be kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from redis import Redis

from promptcard_ext.core.errors import NotFound, PromptCardError, Unavailable
from server_ext.cache import FAMILIES, Cache, FamilyName, Shared
from server_ext.cache.families import name_of
from server_ext.cache.local import MAX_ENTRIES, MAX_VALUE_BYTES
from server_ext.redis_line import RedisLine
from tests.support import wait_for
from tests.valkey import OwnValkey

SECRET = b"s" * 32
NOBODY = "unix:///nonexistent/redis.sock"


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """What is cached, as the database has it; counts how often it is read."""

    def __init__(self, value: bytes = b"old") -> None:
        self.value: bytes | PromptCardError = value
        self.reads = 0

    def load(self) -> bytes:
        self.reads += 1
        if isinstance(self.value, PromptCardError):
            raise self.value
        return self.value


def shared_on(url: str, secret: bytes = SECRET) -> Shared:
    return Shared(RedisLine(url), "test", secret)


def hearing_cache(shared: Shared | None = None, clock: Clock | None = None) -> Cache:
    """Return a cache as it is when news has just begun."""
    clock = clock or Clock()
    cache = Cache(shared, clock=clock)
    cache.restart()
    cache.heard(clock())
    return cache


def two_caches(url: str) -> tuple[Cache, Cache]:
    """Return caches of two processes that have been running for a while: a start makes a miss of all there was."""
    caches = hearing_cache(shared_on(url)), hearing_cache(shared_on(url))
    for cache in caches:
        cache.get("cards", uuid4(), "first", lambda: b"")
    return caches


@pytest.fixture
def url(services: object, redis: Redis) -> Iterator[str]:
    yield services.redis_url  # type: ignore[attr-defined]
    redis.flushall()


@pytest.fixture
def workspace() -> UUID:
    return uuid4()


# -- what is kept ----------------------------------------------------------------------------------------------------


def test_a_value_is_read_once_and_then_found_in_memory(workspace: UUID) -> None:
    cache, source = hearing_cache(), Source()
    assert cache.find("cards", workspace, "triage") is None
    assert [cache.get("cards", workspace, "triage", source.load) for _ in range(3)] == [b"old"] * 3
    assert cache.find("cards", workspace, "triage") == b"old"
    assert source.reads == 1


def test_another_process_finds_it_in_redis(url: str, workspace: UUID) -> None:
    one, other = two_caches(url)
    source = Source()
    one.get("cards", workspace, "triage", source.load)
    assert other.get("cards", workspace, "triage", source.load) == b"old"
    assert source.reads == 1


def test_workspaces_keys_and_families_are_kept_apart_and_users_are_the_same_everywhere(
    url: str, workspace: UUID
) -> None:
    cache = hearing_cache(shared_on(url))
    other = uuid4()
    values = {
        (family, place, key): f"{family} {place} {key}".encode()
        for family in ("cards", "config")
        for place in (workspace, other)
        for key in ("a", "a/b", "")
    }
    for (family, place, key), value in values.items():
        assert cache.get(family, place, key, lambda value=value: value) == value  # type: ignore[misc,arg-type]
    cache._local.clear()
    for (family, place, key), value in values.items():
        assert cache.get(family, place, key, lambda: b"") == value  # type: ignore[arg-type]
    cache.get("perms", workspace, "ada", lambda: b"rights")
    assert cache.find("perms", None, "ada") == b"rights"


@pytest.mark.parametrize("family", list(FAMILIES))
def test_each_family_has_the_key_and_the_lifetime_of_the_reference_in_redis(
    url: str, redis: Redis, workspace: UUID, family: FamilyName
) -> None:
    cache = hearing_cache(shared_on(url))
    cache.get(family, workspace, "x", lambda: b"value")
    lifetimes = {"metrics": 300, "analytics": 3600, "cards": 3600, "config": 86400, "perms": 86400}
    prefix = {"metrics": "metrics:realtime:"}.get(family, f"{family}:")
    place = workspace if FAMILIES[family].by_workspace else "-"
    stored = [key.decode() for key in redis.keys("pc:test:cache:*")]  # type: ignore[union-attr]
    if family == "session":
        assert stored == []
    else:
        assert stored == [f"pc:test:cache:{place}:{prefix}x"]
        assert lifetimes[family] - 5 <= redis.ttl(stored[0]) <= lifetimes[family]  # type: ignore[operator]


def test_memory_is_bounded_in_entries_and_in_the_size_of_each(workspace: UUID) -> None:
    cache, source = hearing_cache(), Source()
    for n in range(MAX_ENTRIES + 1):
        cache.get("cards", workspace, str(n), source.load)
    assert cache.find("cards", workspace, "0") is None
    assert cache.find("cards", workspace, str(MAX_ENTRIES)) == b"old"
    large = Source(b"x" * (MAX_VALUE_BYTES + 1))
    assert cache.get("cards", workspace, "large", large.load) == large.value
    assert cache.find("cards", workspace, "large") is None


@pytest.mark.parametrize(("family", "seconds"), [("cards", 60), ("config", 60), ("perms", 5), ("session", 5)])
def test_memory_is_trusted_for_so_long(family: FamilyName, seconds: float, workspace: UUID) -> None:
    clock = Clock()
    cache = hearing_cache(clock=clock)
    cache.get(family, workspace, "x", lambda: b"old")
    clock.now += seconds - 0.1
    cache.heard(clock())
    assert cache.find(family, workspace, "x") == b"old"
    clock.now += 0.2
    cache.heard(clock())
    assert cache.find(family, workspace, "x") is None


# -- what is forgotten -----------------------------------------------------------------------------------------------


def test_a_change_forgets_exactly_its_key_on_both_levels(url: str, workspace: UUID) -> None:
    one, other = two_caches(url)
    source = Source()
    for key in ("triage", "triage/production", "triage2"):
        one.get("cards", workspace, key, source.load)
    source.value = b"new"
    one.drop("cards", workspace, "triage")
    other.drop("cards", workspace, "triage")
    for cache in (one, other):
        assert cache.get("cards", workspace, "triage", source.load) == b"new"
        assert cache.get("cards", workspace, "triage/production", source.load) == b"old"
        assert cache.get("cards", workspace, "triage2", source.load) == b"old"


def test_who_hears_of_no_changes_reads_everything_anew(url: str, workspace: UUID) -> None:
    clock = Clock()
    cache, source = hearing_cache(shared_on(url), clock), Source()
    cache.get("perms", None, "ada", source.load)
    source.value = b"new"
    clock.now += 2.9
    assert cache.get("perms", None, "ada", source.load) == b"old"
    clock.now += 0.2
    # Neither memory nor Redis may answer now, in no family.
    assert cache.get("perms", None, "ada", source.load) == b"new"
    assert cache.get("cards", workspace, "x", source.load) == b"new"
    source.value = b"newer"
    assert cache.get("cards", workspace, "x", source.load) == b"newer"


def test_after_a_lost_connection_nothing_of_before_is_used_again(url: str, workspace: UUID) -> None:
    clock = Clock()
    cache, source = hearing_cache(shared_on(url), clock), Source()
    cache.get("cards", workspace, "x", source.load)
    cache.lost()
    source.value = b"new"
    assert cache.get("cards", workspace, "x", source.load) == b"new"
    source.value = b"newer"
    cache.restart()
    cache.heard(clock())
    assert cache.get("cards", workspace, "x", source.load) == b"newer"


# -- races -----------------------------------------------------------------------------------------------------------


class Paused:
    """A load that has read its value and does not return yet."""

    def __init__(self, value: bytes) -> None:
        self.value = value
        self.has_read, self.may_return = threading.Event(), threading.Event()

    def load(self) -> bytes:
        self.has_read.set()
        assert self.may_return.wait(20)
        return self.value


@pytest.mark.parametrize("event", ["drop", "drop by another", "lost", "restart", "restart of another", "flush"])
def test_what_was_read_before_a_change_is_never_stored_after_it(
    url: str, redis: Redis, workspace: UUID, event: str
) -> None:
    cache, other = two_caches(url)
    old = Paused(b"old")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(cache.get, "cards", workspace, "x", old.load)
        assert old.has_read.wait(20)
        # Here the change is committed.
        if event == "drop":
            cache.drop("cards", workspace, "x")
        elif event == "drop by another":
            # The reader's process has not heard yet: it may keep the value until it does, Redis may not.
            other.drop("cards", workspace, "x")
        elif event == "restart of another":
            # It had missed the change, and so makes a miss of everything, this lease included.
            other.restart()
            other.heard(other._clock())
            other.get("cards", workspace, "first", lambda: b"")
        elif event == "flush":
            redis.flushall()
        else:
            getattr(cache, event)()
        old.may_return.set()
        assert reading.result(20) == b"old"
    if event not in ("flush", "restart of another"):
        cache.drop("cards", workspace, "x")
    cache.heard(cache._clock())
    other._local.clear()
    if event in ("drop", "drop by another"):
        assert cache.get("cards", workspace, "x", lambda: b"new") == b"new"
    assert other.get("cards", workspace, "x", lambda: b"new") == b"new"


def test_whoever_asks_after_a_change_does_not_join_a_load_of_before(workspace: UUID) -> None:
    cache, old = hearing_cache(), Paused(b"old")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(cache.get, "cards", workspace, "x", old.load)
        assert old.has_read.wait(20)
        cache.drop("cards", workspace, "x")
        assert cache.get("cards", workspace, "x", lambda: b"new") == b"new"
        old.may_return.set()
        assert reading.result(20) == b"old"
    assert cache.find("cards", workspace, "x") == b"new"


def test_of_many_who_ask_at_once_one_loads(workspace: UUID) -> None:
    cache, paused, reads = hearing_cache(), Paused(b"value"), []

    def load() -> bytes:
        reads.append(1)
        return paused.load()

    with ThreadPoolExecutor(16) as pool:
        asking = [pool.submit(cache.get, "cards", workspace, "x", load) for _ in range(16)]
        assert paused.has_read.wait(20)
        paused.may_return.set()
        assert {future.result(20) for future in asking} == {b"value"}
    assert len(reads) == 1


def test_threads_that_change_and_read_never_see_what_is_older_than_the_last_change_they_heard_of(
    url: str, workspace: UUID
) -> None:
    # The "database" is a number. A writer raises it and then tells both processes; a reader that starts after that
    # must never get a smaller one.
    caches = two_caches(url)
    truth, told, wrong, done = [0], [0], [], threading.Event()

    def read(cache: Cache) -> None:
        while not done.is_set():
            at_least = told[0]
            if (seen := int(cache.get("cards", workspace, "x", lambda: b"%d" % truth[0]))) < at_least:
                wrong.append((seen, at_least))

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read, cache) for cache in caches * 2]
        for number in range(1, 400):
            truth[0] = number
            for cache in caches if number % 2 else reversed(caches):
                cache.drop("cards", workspace, "x")
            told[0] = number
        done.set()
        for reader in readers:
            reader.result(20)
    assert wrong == []


# -- when something is away ------------------------------------------------------------------------------------------


def test_without_redis_everything_works_and_it_is_not_asked_all_the_time(workspace: UUID) -> None:
    clock = Clock()
    line = RedisLine(NOBODY, clock=clock)
    cache, source = Cache(Shared(line, "test", SECRET), clock=clock), Source()
    cache.restart()
    cache.heard(clock())
    assert cache.get("cards", workspace, "x", source.load) == b"old"
    assert line._away_until == clock() + 1
    cache.drop("cards", workspace, "x")
    assert cache.get("cards", workspace, "x", source.load) == b"old"
    assert source.reads == 2


@pytest.mark.parametrize("restarted", [False, True])
def test_a_change_that_redis_did_not_hear_of_is_not_undone_when_it_is_back(
    tmp_path: Path, workspace: UUID, restarted: bool
) -> None:
    clock = Clock()
    with OwnValkey(tmp_path) as valkey:
        line = RedisLine(valkey.url, clock=clock)
        cache, source = Cache(Shared(line, "test", SECRET), clock=clock), Source()
        cache.restart()
        cache.heard(clock())
        cache.get("cards", workspace, "x", source.load)
        source.value = b"new"
        if restarted:
            # It comes back with what a server that lost its last second would have: the old value.
            with Redis.from_url(valkey.url) as client:
                kept = {key: client.dump(key) for key in client.keys("*")}  # type: ignore[union-attr]
            cache.drop("cards", workspace, "x")
            valkey.stop()
            valkey.start()
            with Redis.from_url(valkey.url) as client:
                for key, value in kept.items():
                    client.restore(key, 0, value)  # type: ignore[arg-type]
        else:
            line._away_until = clock() + 1  # as after a failure
            cache.drop("cards", workspace, "x")
            clock.now += 2
            cache.heard(clock())
        assert cache.get("cards", workspace, "x", source.load) == b"new"


def test_a_value_stands_in_for_the_database_within_bounds_and_only_where_nobodys_rights_hang_on_it(
    workspace: UUID,
) -> None:
    clock = Clock()
    cache = hearing_cache(clock=clock)
    families: list[FamilyName] = ["cards", "config", "perms", "session", "analytics", "metrics"]
    for family in families:
        cache.get(family, workspace, "x", lambda: b"old")
    cache.lost()  # the database went away, and the connection for news with it
    down = Source()
    down.value = Unavailable("away", code="database_unavailable")
    clock.now += 299
    for family in families:
        if FAMILIES[family].max_stale_s:
            assert cache.get(family, workspace, "x", down.load) == b"old"
        else:
            with pytest.raises(Unavailable):
                cache.get(family, workspace, "x", down.load)
    clock.now += 2
    for family in families:
        with pytest.raises(Unavailable):
            cache.get(family, workspace, "x", down.load)
    assert [family for family in families if FAMILIES[family].max_stale_s] == ["cards", "config"]


def test_what_is_gone_does_not_stand_in(workspace: UUID) -> None:
    clock = Clock()
    cache, source = hearing_cache(clock=clock), Source()
    cache.get("cards", workspace, "x", source.load)
    clock.now += 61
    source.value = NotFound("gone")
    with pytest.raises(NotFound):
        cache.get("cards", workspace, "x", source.load)
    source.value = Unavailable("away")
    with pytest.raises(Unavailable):
        cache.get("cards", workspace, "x", source.load)
    # Nor is it remembered that there was nothing.
    source.value = b"back"
    assert cache.get("cards", workspace, "x", source.load) == b"back"


def test_those_who_wait_hear_what_went_wrong_and_try_themselves_when_it_was_a_mistake_of_ours(workspace: UUID) -> None:
    cache = hearing_cache()
    for error, expected in ((NotFound("gone"), NotFound), (ZeroDivisionError(), bytes)):
        paused = Paused(b"")

        def fail(paused: Paused = paused, error: Exception = error) -> bytes:
            paused.load()
            raise error

        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(cache.get, "cards", workspace, "x", fail)
            assert paused.has_read.wait(20)
            flight, mine = cache._local.take_off(name_of("cards", workspace, "x"))
            assert not mine
            second = pool.submit(flight.wait, lambda: b"own")
            paused.may_return.set()
            wait_for(lambda first=first, second=second: first.done() and second.done())  # type: ignore[misc]
        assert type(first.exception()) is type(error)
        assert isinstance(second.exception() or second.result(), expected)


def test_whoever_writes_to_redis_cannot_put_words_into_our_mouth(url: str, redis: Redis, workspace: UUID) -> None:
    cache = hearing_cache(shared_on(url))
    for key in ("mine", "yours"):
        cache.get("cards", workspace, key, lambda key=key: key.encode())  # type: ignore[misc]
    place = f"pc:test:cache:{workspace}:cards"
    epoch, sealed = redis.hmget(f"{place}:mine", "epoch", "value")  # type: ignore[misc]
    assert epoch
    for forged in (b"", b"x", b"\0" * 32 + b"owner", sealed[:-4] + b"ours", redis.hget(f"{place}:yours", "value")):
        redis.hset(f"{place}:mine", "value", forged)  # type: ignore[arg-type]
        cache._local.clear()
        assert cache.get("cards", workspace, "mine", lambda: b"mine") == b"mine"
    # Of a key that another installation, or this one before its keys were replaced, has written.
    elsewhere = hearing_cache(shared_on(url, b"t" * 32))
    assert elsewhere.get("cards", workspace, "yours", lambda: b"loaded") == b"loaded"
