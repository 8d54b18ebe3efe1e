"""Events over Redis: for those who watch, from us only, and never more than a hint."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis import Redis

from promptcard_ext.core.results import Generation, ItemResult, Outcome
from server_ext.embedded import Services
from server_ext.jobs import live
from server_ext.jobs.live import Heard, Listener
from server_ext.keys import KeyRing, new_ring
from server_ext.redis_line import RedisLine
from server_ext.services.fresh_events import FreshEvent, encode_fresh
from tests.support import free_port, wait_for

WORKSPACE, RUN = uuid4(), uuid4()
CHANNEL = f"pc:watch:{WORKSPACE}:{RUN}"
NewEar = Callable[..., "Ear"]


class Ear:
    """A listener, and what it has heard of our run."""

    def __init__(self, url: str, keys: KeyRing) -> None:
        self._heard: queue.Queue[Heard] = queue.Queue()
        self.listener = Listener(url, keys, self._heard.put)
        self.listener.start()

    def next(self) -> Heard:
        """Return what comes next of our run; listeners hear hints of all."""
        while (heard := self._heard.get(timeout=10)).run_id != str(RUN):
            pass
        return heard


@pytest.fixture
def keys() -> KeyRing:
    return new_ring()


@pytest.fixture
def line(services: Services) -> Iterator[RedisLine]:
    line = RedisLine(services.redis_url)
    yield line
    line.close()


@pytest.fixture
def ear(services: Services, redis: Redis, keys: KeyRing) -> Iterator[NewEar]:
    made: list[Ear] = []

    def listen(follow: UUID | None = RUN) -> Ear:
        before = len(redis.pubsub_channels("pc:call:*"))
        made.append(Ear(services.redis_url, keys))
        wait_for(lambda: len(redis.pubsub_channels("pc:call:*")) > before)
        if follow is not None:
            followers = subscribers(redis)
            made[-1].listener.follow(WORKSPACE, str(follow))
            made[-1].listener.call()
            if follow == RUN:
                wait_for(lambda: subscribers(redis) > followers)
                assert made[-1].next() == Heard(str(RUN))  # what happened until now has not been heard
        return made[-1]

    yield listen
    for one in made:
        one.listener.close()


def subscribers(redis: Redis) -> int:
    return int(redis.pubsub_numsub(CHANNEL)[0][1])


def event(seq: int, output: str = "Hello") -> FreshEvent:
    generation = Generation("simulated", "echo", "a" * 64, output, 10.0)
    item = ItemResult(
        0, "greet", 1, "greet@1", "simulated:echo", "ada", "u", 0, Outcome.PASS, generation=generation
    )  # fmt: skip
    return FreshEvent(seq, "running", {"items": 1}, "greet", (item,))


class Untouchable(tuple[ItemResult, ...]):
    """Results that must not be looked at."""

    def __iter__(self) -> Any:
        raise AssertionError("somebody looks")


def test_nothing_is_encoded_when_nobody_watches(line: RedisLine, keys: KeyRing, ear: NewEar) -> None:
    unseen = FreshEvent(7, "running", {}, "greet", Untouchable())
    other = ear(follow=uuid4())
    live.publish_event(line, keys, WORKSPACE, RUN, unseen)
    assert other.next() == Heard(str(RUN), 7)
    watcher = ear()
    with pytest.raises(AssertionError, match="somebody looks"):
        live.publish_event(line, keys, WORKSPACE, RUN, unseen)
    watcher.listener.leave(str(RUN))
    watcher.listener.call()
    wait_for(lambda: line.subscribers(CHANNEL) == 0)
    live.publish_event(line, keys, WORKSPACE, RUN, unseen)
    assert watcher.next() == Heard(str(RUN), 7)


def test_all_servers_that_watch_get_the_event(line: RedisLine, keys: KeyRing, ear: NewEar) -> None:
    watchers, other = [ear(), ear()], ear(follow=None)
    live.publish_event(line, keys, WORKSPACE, RUN, event(3, "\ud800"))
    message = encode_fresh(event(3, "\ud800"), live.MOST_BYTES)
    assert message is not None
    live.publish(line, WORKSPACE, RUN, 4)
    for watcher in watchers:
        assert [watcher.next(), watcher.next()] == [Heard(str(RUN), 3, message), Heard(str(RUN), 4)]
    assert other.next() == Heard(str(RUN), 4)


def test_what_is_not_sealed_for_this_run_is_thrown_away(
    line: RedisLine, redis: Redis, keys: KeyRing, ear: NewEar
) -> None:
    watcher = ear()
    with redis.pubsub(ignore_subscribe_messages=True) as tap:
        tap.subscribe(CHANNEL)
        wait_for(lambda: subscribers(redis) == 2)
        live.publish_event(line, keys, WORKSPACE, RUN, event(3))
        genuine = wait_for(tap.get_message)["data"]
    assert watcher.next().seq == 3
    other_number = genuine[:32] + (4).to_bytes(8, "big") + genuine[40:]
    for forged in (b"", b"x", genuine[:40], genuine[:-1], genuine + b" ", bytes(32) + genuine[32:], other_number):
        redis.publish(CHANNEL, forged)
    # Of another run, another workspace, another installation: each is good where it belongs.
    for workspace, run, ring in ((WORKSPACE, uuid4(), keys), (uuid4(), RUN, keys), (WORKSPACE, RUN, new_ring())):
        channel = f"pc:watch:{workspace}:{run}"
        redis.publish(CHANNEL, live._seal(ring, channel, 3, genuine[40:]))
    redis.publish(CHANNEL, genuine)
    assert watcher.next() == Heard(str(RUN), 3, genuine[40:])


@pytest.mark.parametrize("data", ["x", "", "-1", "9" * 30, "1e3", "٣"])
def test_a_hint_that_is_no_number_is_a_reason_to_look(redis: Redis, ear: NewEar, data: str) -> None:
    watcher = ear()
    redis.publish(f"pc:run:{WORKSPACE}:{RUN}", data)
    assert watcher.next() == Heard(str(RUN))


def test_of_a_large_event_only_the_hint_comes(line: RedisLine, keys: KeyRing, ear: NewEar) -> None:
    watcher = ear()
    live.publish_event(line, keys, WORKSPACE, RUN, event(3, "x" * live.MOST_BYTES))
    live.publish_event(line, keys, WORKSPACE, RUN, event(4))
    assert watcher.next() == Heard(str(RUN), 3)
    assert watcher.next().message is not None


def test_runs_are_followed_again_when_the_connection_is_lost(
    line: RedisLine, redis: Redis, keys: KeyRing, ear: NewEar
) -> None:
    watcher = ear()
    redis.flushall()
    redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    wait_for(lambda: subscribers(redis) == 1)
    assert watcher.next() == Heard(str(RUN))
    live.publish_event(line, keys, WORKSPACE, RUN, event(3))
    assert watcher.next().message is not None


def test_without_redis_nobody_is_told_and_nothing_breaks(keys: KeyRing) -> None:
    away = RedisLine(f"redis://127.0.0.1:{free_port()}")
    live.publish_event(away, keys, WORKSPACE, RUN, FreshEvent(3, "running", {}, "greet", Untouchable()))
    live.publish(away, WORKSPACE, RUN, 3)
    away.close()
