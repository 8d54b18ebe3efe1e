"""Rate limits: exact over several servers, by the clock of Redis, and what is left of them without it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from promptcard_ext.core.errors import SetupError, Unavailable
from server_ext.embedded import Services
from server_ext.limits import LIMITS, Limit, Limiter, LimitName, Rate, limits_from
from server_ext.limits.gcra import LocalGcra
from server_ext.limits.limiter import LOCAL_PART
from server_ext.limits.rates import network_of
from server_ext.redis_line import RedisLine
from tests.support import wait_for
from tests.valkey import OwnValkey

NOBODY = "unix:///nonexistent/redis.sock"
CLOSED: list[LimitName] = ["login", "export", "key_test", "invitation"]
OPEN: list[LimitName] = ["anonymous", "refresh", "authenticated"]


@pytest.fixture
def url(services: Services, redis: Redis) -> Iterator[str]:
    yield services.redis_url
    redis.flushall()


@pytest.fixture
def limiter(url: str) -> Iterator[Limiter]:
    limiter = Limiter(RedisLine(url), "test")
    yield limiter
    limiter.close()


def allowed_of(limiter: Limiter, name: LimitName, *identity: str, tries: int) -> int:
    return sum(limiter.check(name, *identity).allowed for _ in range(tries))


# -- how many --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", get_args(LimitName))
def test_fifty_clients_of_two_servers_get_what_the_limit_says_within_a_hundredth(
    url: str, redis: Redis, name: LimitName
) -> None:
    # Addresses of one network, or the same words: one client as far as the limit goes.
    who = ("2001:db8::1",) if LIMITS[name].by_network else ("ada", "workspace")
    # Their clocks are an hour apart, and neither has the right time.
    servers = [
        Limiter(RedisLine(url, timeout_s=10), "test", clock=lambda hours=hours: 3600.0 * hours)  # type: ignore[misc]
        for hours in (0, 1)
    ]
    start = threading.Barrier(50)

    def client(number: int) -> int:
        start.wait(30)
        return allowed_of(servers[number % 2], name, *who, tries=60)

    began = now_of(redis)
    with ThreadPoolExecutor(50) as pool:
        allowed = sum(pool.map(client, range(50)))
    rate = LIMITS[name].rate
    most = rate.burst + (now_of(redis) - began) / rate.interval_s
    assert rate.burst <= allowed <= most * 1.01
    for server in servers:
        server.close()


def now_of(redis: Redis) -> float:
    seconds, microseconds = redis.time()  # type: ignore[misc]
    return float(seconds + microseconds / 1e6)


def test_the_reference_lets_a_hundred_strangers_requests_in_and_says_when_the_next_is_welcome(
    limiter: Limiter,
) -> None:
    decisions = [limiter.check("anonymous", "192.0.2.1") for _ in range(101)]
    assert [decision.allowed for decision in decisions] == [True] * 100 + [False]
    assert [decision.remaining for decision in decisions] == [*range(99, -1, -1), 0]
    assert decisions[0].headers == {"RateLimit-Limit": "100", "RateLimit-Remaining": "99", "RateLimit-Reset": "9"}
    assert set(decisions[0].headers) | {"Retry-After"} == set(decisions[-1].headers)
    assert 890 <= int(decisions[-1].headers["RateLimit-Reset"]) <= 900
    assert 1 <= int(decisions[-1].headers["Retry-After"]) <= 9
    assert limiter.check("anonymous", "192.0.2.2").allowed


def test_what_is_said_about_when_to_come_again_is_true(url: str) -> None:
    limiter = Limiter(RedisLine(url), "test", {"export": Limit(Rate(10, 2, burst=1))})
    assert limiter.check("export", "w").allowed
    refused = limiter.check("export", "w")
    assert not refused.allowed
    assert 0 < refused.retry_after_s <= 0.2
    asked = time.monotonic()
    # A refusal does not count: asking all the time does not make it later.
    wait_for(lambda: limiter.check("export", "w").allowed, 2.0)
    assert time.monotonic() - asked >= refused.retry_after_s - 0.05


def test_kinds_users_and_installations_are_counted_apart(url: str, limiter: Limiter) -> None:
    assert allowed_of(limiter, "export", "one", tries=20) == 10
    assert allowed_of(limiter, "export", "other", tries=20) == 10
    assert allowed_of(limiter, "key_test", "one", tries=20) == 10
    elsewhere = Limiter(RedisLine(url), "elsewhere")
    assert allowed_of(elsewhere, "export", "one", tries=20) == 10
    # ("a", "bc") is somebody else than ("ab", "c").
    assert allowed_of(limiter, "export", "a", "bc", tries=19) == 10
    assert allowed_of(limiter, "export", "ab", "c", tries=19) == 10


@pytest.mark.parametrize("name", ["anonymous", "login"])
def test_an_ipv6_client_cannot_get_more_by_changing_its_address(limiter: Limiter, name: LimitName) -> None:
    addresses = [f"2001:db8:0:1:{n:x}::{n:x}" for n in range(200)]
    assert sum(limiter.check(name, address).allowed for address in addresses) == LIMITS[name].rate.burst
    assert limiter.check(name, "2001:db8:0:2::1").allowed


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unix socket", "unix socket"),
        ("256.1.1.1", "256.1.1.1"),
    ],
)
def test_a_client_is_an_address_or_a_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_names_of_any_kind_are_counted_and_none_can_be_read_in_redis(limiter: Limiter, redis: Redis) -> None:
    for name in ("ada@example.org", "x" * 100_000, "\0", "\ud800", "*", "{hash}"):
        assert limiter.check("export", name).allowed
    keys = [key.decode() for key in redis.keys("pc:test:limit:*")]  # type: ignore[union-attr]
    assert len(keys) == 6
    assert all(len(key) < 80 and "ada" not in key for key in keys)
    assert all(0 < redis.ttl(key) <= 181 for key in keys)  # type: ignore[operator]


def test_a_request_needs_one_way_to_redis_and_those_of_users_mostly_none(limiter: Limiter, redis: Redis) -> None:
    def calls() -> int:
        stats = redis.info("commandstats")
        assert isinstance(stats, dict)
        return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("evalsha", "eval", "script|load"))

    limiter.check("export", "first")
    before = calls()
    for n in range(30):
        limiter.check("export", str(n))
    assert calls() - before == 30
    for _ in range(60):
        limiter.check("authenticated", "ada", "w")
    assert calls() - before - 30 <= 60 / 6 + 3


def test_scripts_that_redis_has_forgotten_are_loaded_again(limiter: Limiter, redis: Redis) -> None:
    assert limiter.check("export", "w").remaining == 9
    redis.script_flush()
    assert limiter.check("export", "w").remaining == 8


@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=80),
)
def test_in_no_span_of_time_are_there_more_than_the_rate_and_a_burst(count: int, burst: int, gaps: list[float]) -> None:
    rate, gcra, now, granted = Rate(count, 10.0, burst), LocalGcra(), 0.0, []
    for gap in gaps:
        now += gap
        verdict = gcra.take("key", rate, now)
        assert (verdict.next_in_s == 0) == (verdict.room > 0)
        if verdict.granted:
            granted.append(now)
    for first in range(len(granted)):
        for last in range(first, len(granted)):
            span = granted[last] - granted[first]
            assert last - first + 1 <= burst + span / rate.interval_s + 1e-3


# -- without Redis ---------------------------------------------------------------------------------------------------


def test_every_kind_is_either_closed_or_open_without_redis() -> None:
    assert sorted(CLOSED + OPEN) == sorted(LIMITS) == sorted(get_args(LimitName))


@pytest.mark.parametrize("name", CLOSED)
def test_without_redis_what_must_be_counted_is_refused(name: LimitName) -> None:
    limiter = Limiter(RedisLine(NOBODY), "test")
    for _ in range(3):
        with pytest.raises(Unavailable) as refusal:
            limiter.check(name, "ada")
        assert refusal.value.code == "limiter_unavailable"
        assert refusal.value.retry_after_s


@pytest.mark.parametrize("name", OPEN)
def test_without_redis_the_rest_goes_on_in_small_numbers(name: LimitName) -> None:
    limiter = Limiter(RedisLine(NOBODY), "test", clock=lambda: 0.0)
    small = LIMITS[name].rate.burst // LOCAL_PART
    decisions = [limiter.check(name, "ada") for _ in range(small + 5)]
    assert [decision.allowed for decision in decisions] == [True] * small + [False] * 5
    assert decisions[0].limit == small
    assert decisions[-1].headers["Retry-After"]
    assert limiter.check(name, "grace").allowed


@pytest.mark.parametrize("name", get_args(LimitName))
def test_every_kind_is_as_before_when_redis_is_back(tmp_path: Path, name: LimitName) -> None:
    with OwnValkey(tmp_path) as valkey:
        limiter = Limiter(RedisLine(valkey.url), "test")
        allowed_of(limiter, name, "grace", tries=2)
        valkey.stop()
        if name in CLOSED:
            with pytest.raises(Unavailable):
                limiter.check(name, "ada")
        else:
            assert limiter.check(name, "ada").limit == LIMITS[name].rate.burst // LOCAL_PART
        valkey.start()

        def is_back() -> bool:
            try:
                return limiter.check(name, str(uuid4())).limit == LIMITS[name].rate.burst
            except Unavailable:
                return False

        wait_for(is_back, 5.0)
        limiter.close()


def test_a_redis_that_hangs_is_not_waited_for_by_every_request(tmp_path: Path) -> None:
    with OwnValkey(tmp_path) as valkey:
        limiter = Limiter(RedisLine(valkey.url, timeout_s=0.2), "test")
        limiter.check("authenticated", "warm", "w")
        with Redis.from_url(valkey.url) as client:
            client.execute_command("CLIENT", "PAUSE", 5000, "ALL")
        began = time.monotonic()
        assert allowed_of(limiter, "anonymous", "ada", tries=20) == 20
        assert time.monotonic() - began < 2.0
        limiter.close()


# -- what an operator sets -------------------------------------------------------------------------------------------


def test_limits_can_be_set() -> None:
    assert limits_from(None) == limits_from("") == limits_from(" , ") == LIMITS
    changed = limits_from("authenticated=12000/60/1200, export=30/60,")
    assert changed["authenticated"].rate == Rate(12000, 60, 1200)
    assert changed["export"].rate == Rate(30, 60, 30)
    assert changed["export"].closed
    assert {name: limit for name, limit in changed.items() if name not in ("authenticated", "export")} == {
        name: limit for name, limit in LIMITS.items() if name not in ("authenticated", "export")
    }


@pytest.mark.parametrize(
    "setting",
    [
        "export",
        "export=",
        "export=1",
        "export=0/60",
        "export=1/0",
        "export=1/60/0",
        "export=1/60/1/1",
        "export=-1/60",
        "export=1.5/60",
        "export=1/9999999",
        "export=1/60;login=1/60",
        "EXPORT=1/60",
        "nothing=1/60",
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(setting: str) -> None:
    with pytest.raises(SetupError) as refusal:
        limits_from(setting)
    assert refusal.value.code == "limits_invalid"
    assert setting[:60] in refusal.value.message
