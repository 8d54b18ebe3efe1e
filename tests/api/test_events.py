"""The events of a run over the websocket."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
from redis import Redis
from websockets.asyncio.client import connect

from promptcard_ext.core.errors import Unavailable
from server_ext.api import events_ws
from server_ext.app import PromptCards
from server_ext.services import items
from server_ext.settings import Settings
from tests.api.conftest import Api
from tests.api.test_api_runs import RUN, ended
from tests.conftest import StartWorker
from tests.server.serving import API, TOKEN, Served
from tests.support import ECHO, SLOW, Tenant

Watch = Callable[..., Coroutine[Any, Any, Any]]


@pytest.fixture
def watch(jp_ws_fetch: Any, tenant: Tenant) -> Iterator[Watch]:
    """A function that opens the events of a run."""
    sockets = []

    async def open_socket(run_id: str, after: int | None = None) -> Any:
        path = f"promptcards/api/v1/workspaces/{tenant.slug}/runs/{run_id}/events".split("/")
        sockets.append(await jp_ws_fetch(*path, params={} if after is None else {"after": after}))
        return sockets[-1]

    yield open_socket
    for socket in sockets:
        socket.close()


async def heard(socket: Any, timeout_s: float = 30.0) -> AsyncIterator[dict[str, Any]]:
    """Yield the events to the end."""
    async with asyncio.timeout(timeout_s):
        while (message := await socket.read_message()) is not None:
            yield json.loads(message)


async def all_of(socket: Any) -> list[dict[str, Any]]:
    return [event async for event in heard(socket)]


def ordinals(events: list[dict[str, Any]]) -> list[int]:
    return [item["ordinal"] for event in events for item in event["items"]]


async def test_a_run_that_has_ended_is_told_from_the_start_or_from_where_one_was(
    api: Api, watch: Watch, tenant: Tenant, start_worker: StartWorker
) -> None:
    tenant.fill(30)
    start_worker()
    # Slow enough for several batches.
    run_id = (await api.post("runs", {**RUN, "models": [SLOW], "concurrency": 10})).json["id"]
    run = await ended(api, run_id)

    socket = await watch(run_id)
    events = await all_of(socket)

    assert (socket.close_code, socket.close_reason) == (1000, "the run has ended")
    assert [event["seq"] for event in events] == list(range(1, run["event_seq"] + 1))
    kinds = [event["kind"] for event in events]
    assert (kinds[:2], set(kinds[2:-1]), kinds[-1]) == (["queued", "running"], {"items"}, "finished")
    assert events[-1]["payload"] == {"status": "completed"}
    assert events[-2]["payload"]["counts"]["done"] == 30
    assert sorted(ordinals(events)) == list(range(30))
    stored = {item["ordinal"]: item for item in (await api.get(f"runs/{run_id}/items")).json["items"]}
    assert {item["ordinal"]: item for event in events for item in event["items"]} == stored
    for after in range(len(events) + 1):
        assert await all_of(await watch(run_id, after)) == events[after:]


async def test_somebody_who_has_left_takes_up_no_memory(api: Api, watch: Watch, tenant: Tenant) -> None:
    run_id = tenant.start([SLOW])
    socket = await watch(run_id)
    ours = (one for one in gc.get_objects() if isinstance(one, events_ws.RunEventsHandler) and one.run_id == run_id)
    (handler,) = map(weakref.ref, ours)
    socket.close()
    # Well before the next ping, which would find out that there is nobody.
    give_up = time.monotonic() + 15
    while time.monotonic() < give_up:
        await asyncio.sleep(0.2)
        gc.collect()
        if handler() is None:
            return
    pytest.fail("it is still in memory")


async def test_events_come_while_the_run_goes_on(
    api: Api, watch: Watch, tenant: Tenant, start_worker: StartWorker
) -> None:
    tenant.fill(12)
    run_id = (await api.post("runs", {**RUN, "models": [SLOW], "concurrency": 2})).json["id"]
    socket = await watch(run_id)
    start_worker()

    done_at_first = None
    events = []
    async for event in heard(socket):
        events.append(event)
        if event["kind"] == "items" and done_at_first is None:
            done_at_first = tenant.recorded(run_id)

    assert done_at_first is not None
    assert done_at_first < 12
    assert sorted(ordinals(events)) == list(range(12))


async def test_a_watcher_who_is_cut_off_gets_exactly_the_rest(
    api: Api, watch: Watch, tenant: Tenant, start_worker: StartWorker
) -> None:
    tenant.fill(12)
    run_id = (await api.post("runs", {**RUN, "models": [SLOW], "concurrency": 2})).json["id"]
    start_worker()
    events: list[dict[str, Any]] = []
    while not events or events[-1]["kind"] != "finished":
        socket = await watch(run_id, events[-1]["seq"] if events else 0)
        async for event in heard(socket):
            events.append(event)
            if len(events) % 3 == 0:
                break
        socket.close()

    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert sorted(ordinals(events)) == list(range(12))


async def test_events_come_when_redis_cannot_tell_of_them(
    api: Api, extension: PromptCards, watch: Watch, tenant: Tenant, start_worker: StartWorker
) -> None:
    runtime = await extension.ready(30)
    assert runtime.listener is not None
    runtime.listener.close()
    tenant.fill(6)
    run_id = (await api.post("runs", {**RUN, "models": [SLOW], "concurrency": 3})).json["id"]
    start_worker()
    assert sorted(ordinals(await all_of(await watch(run_id)))) == list(range(6))


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Hide results from whoever reads events; the numbers of those that were hidden."""
    real: Any = items.events_after
    hidden: list[int] = []

    def without_results(*arguments: Any) -> Any:
        events, run = real(*arguments)
        hidden.extend(event.seq for event in events if event.kind == "items")
        return [event for event in events if event.kind != "items"], run

    monkeypatch.setattr(events_ws.items, "events_after", without_results)
    return hidden


async def watched(redis: Redis, tenant: Tenant, run_id: str, servers: int = 1) -> None:
    """Wait until so many servers follow a run."""
    channel = f"pc:watch:{tenant.id}:{run_id}"
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20):
        while (await loop.run_in_executor(None, redis.pubsub_numsub, channel))[0][1] != servers:
            await asyncio.sleep(0.02)


async def test_results_come_over_redis_without_being_read(
    api: Api, watch: Watch, tenant: Tenant, redis: Redis, start_worker: StartWorker, unread: list[int]
) -> None:
    tenant.fill(30)
    run_id = (await api.post("runs", {**RUN, "models": [SLOW], "concurrency": 10})).json["id"]
    socket = await watch(run_id)
    await watched(redis, tenant, run_id)
    start_worker()
    events = await all_of(socket)
    assert sorted(ordinals(events)) == list(range(30))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert unread == []


async def test_what_somebody_else_publishes_is_not_shown(
    api: Api, watch: Watch, tenant: Tenant, redis: Redis, start_worker: StartWorker
) -> None:
    tenant.fill(4)
    run_id = (await api.post("runs", {**RUN, "models": [ECHO]})).json["id"]
    socket = await watch(run_id)
    await watched(redis, tenant, run_id)
    forged = b'{"seq":2,"kind":"items","status":"completed","payload":{},"items":[]}'
    for seal in (b"", bytes(32), bytes(32) + (2).to_bytes(8, "big")):
        redis.publish(f"pc:watch:{tenant.id}:{run_id}", seal + forged)
    redis.publish(f"pc:run:{tenant.id}:{run_id}", "2")
    start_worker()
    events = await all_of(socket)
    assert [event["kind"] for event in events][:2] == ["queued", "running"]
    assert sorted(ordinals(events)) == list(range(4))


async def test_a_flush_and_lost_connections_lose_no_event(
    api: Api, watch: Watch, tenant: Tenant, redis: Redis, start_worker: StartWorker
) -> None:
    tenant.fill(12)
    run_id = (await api.post("runs", {**RUN, "models": [SLOW], "concurrency": 2})).json["id"]
    socket = await watch(run_id)
    start_worker()
    events = []
    async for event in heard(socket):
        events.append(event)
        redis.flushall()
        redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert sorted(ordinals(events)) == list(range(12))


async def test_watchers_of_two_servers_get_the_same(
    api: Api, settings: Settings, watch: Watch, tenant: Tenant, redis: Redis, start_worker: StartWorker
) -> None:
    tenant.fill(12)
    run_id = (await api.post("runs", {**RUN, "models": [SLOW], "concurrency": 4})).json["id"]
    socket = await watch(run_id)
    with Served(settings.home, "--no-worker") as other:
        url = f"ws://127.0.0.1:{other.port}{API}/workspaces/{tenant.slug}/runs/{run_id}/events"
        async with connect(url, additional_headers={"Authorization": f"token {TOKEN}"}) as second:
            await watched(redis, tenant, run_id, servers=2)
            start_worker()
            there = [json.loads(message) async for message in second]
        here = await all_of(socket)
    # The run's status is as of the moment when an event was written, or read.
    assert [{**event, "status": ""} for event in here] == [{**event, "status": ""} for event in there]
    assert sorted(ordinals(here)) == list(range(12))


async def test_the_listener_comes_back_when_its_connection_is_killed(extension: PromptCards, redis: Redis) -> None:
    await extension.ready(30)
    loop = asyncio.get_running_loop()

    def subscribers() -> int:
        return int(redis.execute_command("PUBSUB", "NUMPAT"))

    async def until(look: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not await loop.run_in_executor(None, look):
                await asyncio.sleep(0.05)

    await until(lambda: subscribers() > 0)
    redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: subscribers() > 0)

    news = extension.news("some-run")
    redis.publish("pc:run:workspace:some-run", "1")
    async with asyncio.timeout(5):
        await news.wait()
    extension.forget("some-run", news)
    assert extension.current_activity() is None


async def test_whoever_talks_is_cut_off(api: Api, watch: Watch, tenant: Tenant) -> None:
    socket = await watch(tenant.start())
    await socket.write_message("hello")
    await all_of(socket)
    assert socket.close_code == 1003


async def test_nobody_is_left_watching_when_the_browser_has_gone(
    api: Api, extension: PromptCards, watch: Watch, tenant: Tenant
) -> None:
    socket = await watch(tenant.start())
    assert json.loads(await socket.read_message())["kind"] == "queued"
    assert extension.current_activity() == {"runs": 1}
    socket.close()
    async with asyncio.timeout(10):
        while extension.current_activity():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("after", ["x", "-1", "1e3", str(2**63)])
async def test_a_number_that_is_none_is_refused(api: Api, watch: Watch, tenant: Tenant, after: str) -> None:
    from tornado.httpclient import HTTPClientError

    with pytest.raises(HTTPClientError) as refusal:
        await watch(tenant.start(), after)
    assert refusal.value.code == 422


@pytest.mark.parametrize(
    ("problem", "code"),
    [(Unavailable("away", code="database_unavailable"), "database_unavailable"), (ValueError("bug"), "internal_error")],
)
async def test_a_watcher_is_told_when_following_breaks(
    api: Api, watch: Watch, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, problem: Exception, code: str
) -> None:
    run_id = tenant.start()
    real, calls = items.events_after, []

    def broken(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > 2:
            raise problem
        return real(*arguments)

    monkeypatch.setattr(events_ws.items, "events_after", broken)
    socket = await watch(run_id)
    await all_of(socket)
    assert (socket.close_code, socket.close_reason) == (1011, code)
