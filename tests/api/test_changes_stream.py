"""What changes in a workspace, as server-sent events."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Self
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from promptcard_ext.core.errors import Unavailable
from server_ext.api import change_streams, changes_sse
from server_ext.api.change_streams import BATCH, MAX_WAITING, RESET, START, ChangeStreams
from server_ext.app import PromptCards
from server_ext.services import changes, members
from server_ext.services.changes import Change, Family
from tests.api.conftest import Api
from tests.conftest import NewActor
from tests.support import Tenant

WITHIN_S = 10.0


class Follower:
    """A client of the stream that reads only when told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._text = ""
        self.status, self.headers, self.last_id = 0, {}, ""  # type: ignore[var-annotated]

    @classmethod
    async def open(cls, port: int, path: str, headers: dict[str, str]) -> Self:
        follower = cls(*await asyncio.open_connection("127.0.0.1", port))
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
        follower._writer.write("\r\n".join([*lines, "", ""]).encode())
        head = (await asyncio.wait_for(follower._reader.readuntil(b"\r\n\r\n"), WITHIN_S)).decode().split("\r\n")
        follower.status = int(head[0].split()[1])
        follower.headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        return follower

    async def part(self) -> str | None:
        """Return what stands between two empty lines; None at an orderly end.

        Raises:
            ConnectionError: It was cut off.
        """
        async with asyncio.timeout(WITHIN_S):
            while "\n\n" not in self._text:
                try:
                    size = int(await self._reader.readuntil(b"\r\n"), 16)
                    chunk = await self._reader.readexactly(size + 2)
                except asyncio.IncompleteReadError:
                    raise ConnectionError from None
                if size == 0:
                    return None
                self._text += chunk[:-2].decode()
        part, _, self._text = self._text.partition("\n\n")
        return part

    async def event(self) -> tuple[str, Any] | None:
        """Return kind and data of the next event; None at an orderly end."""
        while (part := await self.part()) is not None:
            fields = dict(line.split(": ", 1) for line in part.split("\n") if not line.startswith(":"))
            self.last_id = fields.get("id", self.last_id)
            if "event" in fields:
                return fields["event"], json.loads(fields["data"])
        return None

    async def to_the_end(self) -> None:
        """Read until the orderly end."""
        while await self.event():
            pass

    def close(self) -> None:
        self._writer.close()


Follow = Callable[..., Awaitable[Follower]]


@pytest.fixture
def follow(
    api: Api, extension: PromptCards, http_server_port: Any, jp_base_url: str, tenant: Tenant, jp_asyncio_loop: Any
) -> Iterator[Follow]:
    """A function that follows a workspace, by default as Jupyter's user."""
    followers: list[Follower] = []

    async def open_stream(
        workspace: UUID | str = tenant.id, query: str = "", token: dict[str, str] | None = None, **headers: str
    ) -> Follower:
        runtime = await extension.ready(30)
        await until(lambda: runtime.cache.hearing)
        path = f"{jp_base_url}promptcards/api/v1/workspaces/{workspace}/events{query}"
        shown = api.token if token is None else token
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        followers.append(await Follower.open(http_server_port[1], path, {**shown, **named}))
        return followers[-1]

    async def none_is_left() -> None:
        for follower in followers:
            follower.close()
        await until(lambda: not extension.streams._count)

    yield open_stream
    jp_asyncio_loop.run_until_complete(none_is_left())


async def until(look: Callable[[], Any], timeout_s: float = WITHIN_S) -> None:
    async with asyncio.timeout(timeout_s):
        while not look():
            await asyncio.sleep(0.01)


def change(tenant: Tenant, family: Family, key: str) -> None:
    with tenant.scope() as scope:
        changes.announce(scope, family, key)


# -- over HTTP -------------------------------------------------------------------------------------------------------


async def test_changes_are_told_in_order_by_their_exact_keys_within_a_second(follow: Follow, tenant: Tenant) -> None:
    stream = await follow()
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["cache-control"] == "no-store"
    assert await stream.event() == (START, {})
    ids = [stream.last_id]
    sent: list[tuple[Family, str]] = [("card", "triage"), ("label", "triage/production"), ("run", str(uuid4()))]
    for family, key in sent:
        began = time.monotonic()
        change(tenant, family, key)
        assert await stream.event() == (family, {"key": key})
        assert time.monotonic() - began < 1.0
        ids.append(stream.last_id)
    assert len(set(ids)) == 4


async def test_a_name_cannot_pass_for_another_event(follow: Follow, tenant: Tenant) -> None:
    stream = await follow()
    await stream.event()
    for key in ("a\n\nevent: reset\ndata: {}", "\r\r", '"}', "é\u2028☃"):
        change(tenant, "card", key)
        assert await stream.event() == ("card", {"key": key})


async def test_nothing_is_told_of_other_workspaces_sessions_or_rights(
    follow: Follow, tenant: Tenant, stranger: Tenant
) -> None:
    stream = await follow()
    await stream.event()
    change(stranger, "card", "theirs")
    with tenant.scope() as scope:
        changes.announce(scope, "perms", uuid4())
        changes.announce(scope, "session", uuid4())
        changes.announce(scope, "credential", uuid4())
        changes.send(scope.connection, Change(None, "session", "x"))
        changes.announce(scope, "card", "ours")
    assert await stream.event() == ("card", {"key": "ours"})


async def test_who_comes_back_is_told_to_drop_everything_unless_nothing_was_missed(
    follow: Follow, tenant: Tenant, stranger: Tenant
) -> None:
    stream = await follow()
    await stream.event()
    change(tenant, "card", "triage")
    await stream.event()
    stream.close()

    change(stranger, "card", "theirs")  # is nothing that we miss
    again = await follow(Last_Event_ID=stream.last_id)
    assert await again.event() == (START, {})
    change(tenant, "card", "missed")
    assert await again.event() == ("card", {"key": "missed"})

    for unknown in (stream.last_id, "nothing", "0"):
        late = await follow(Last_Event_ID=unknown)
        assert await late.event() == (RESET, {})
        assert late.last_id == again.last_id


async def test_followers_are_told_to_drop_everything_when_the_server_may_have_missed_something(
    follow: Follow, extension: PromptCards, tenant: Tenant
) -> None:
    stream = await follow()
    await stream.event()
    runtime = await extension.ready(30)
    cut = sa.text("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'promptcards news'")
    with tenant.database.transaction() as connection:
        connection.execute(cut)
    assert await stream.event() == (RESET, {})
    await until(lambda: runtime.cache.hearing)
    change(tenant, "card", "later")
    assert await stream.event() == ("card", {"key": "later"})


async def test_a_quiet_stream_shows_that_it_is_alive(follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_sse, "HEARTBEAT_S", 0.2)
    monkeypatch.setattr(changes_sse, "RECHECK_S", 0.1)
    stream = await follow()
    assert await stream.event() == (START, {})
    assert [await stream.part() for _ in range(2)] == [": still here"] * 2


async def test_the_stream_of_somebody_who_is_removed_ends_within_five_seconds(
    follow: Follow, tenant: Tenant, new_actor: NewActor, extension: PromptCards, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = new_actor(tenant, "viewer")
    await extension.ready(30)
    monkeypatch.setattr(extension, "owner", viewer)
    stream = await follow()
    await stream.event()
    with tenant.scope() as scope:
        members.remove(scope, str(viewer.user_id))
    began = time.monotonic()
    assert await stream.event() == ("end", {"code": "not_found"})
    assert await stream.event() is None
    assert time.monotonic() - began < 5.0


async def test_a_stream_ends_when_the_server_has_gone_deaf(
    follow: Follow, extension: PromptCards, tenant: Tenant
) -> None:
    runtime = await extension.ready(30)
    stream = await follow()
    await stream.event()
    runtime.news.close()
    assert await stream.event() == ("end", {"code": "changes_unavailable"})


async def test_strangers_and_those_without_a_credential_are_refused(
    follow: Follow, stranger: Tenant, tenant: Tenant
) -> None:
    for workspace in (stranger.id, stranger.slug, uuid4(), "nothing"):
        assert (await follow(workspace)).status == 404
    assert (await follow(token={})).status in (401, 403)
    assert (await follow(token={"X-PromptCards-Token": "pct_nothing"})).status == 401
    assert (await follow(query="?after=1")).status == 422


async def test_who_does_not_read_is_cut_off_and_harms_nobody(
    follow: Follow, extension: PromptCards, tenant: Tenant
) -> None:
    slow, quick = await follow(), await follow()
    await quick.event()
    streams = extension.streams
    number = 0
    async with asyncio.timeout(changes_sse.SLOW_S):  # it is the changes that wait, not the time, that end it
        while streams._count == 2:
            for _ in range(200):
                streams.heard(Change(tenant.id, "card", f"{number} {'x' * 3000}"))
                event = await quick.event()
                assert event is not None
                assert event[1]["key"].startswith(f"{number} ")
                number += 1
    with pytest.raises(ConnectionError):
        await slow.to_the_end()


# Follows N times; says when all have begun, and when all have heard of the last change.
CROWD = """
import asyncio, sys

async def one(port, request, began, key):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await reader.readuntil(b"event: start")
    began()
    await reader.readuntil(key)

async def main(port, count, request, key):
    all_began, left = asyncio.Event(), [count]
    def began():
        left[0] -= 1
        if not left[0]:
            print("began", flush=True)
    await asyncio.gather(*(one(port, request, began, key) for _ in range(count)))
    print("heard", flush=True)

asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode(), sys.argv[4].encode()))
"""


async def test_five_hundred_followers_hear_of_changes_and_the_loop_goes_on_meanwhile(
    follow: Follow, api: Api, http_server_port: Any, jp_base_url: str, tenant: Tenant
) -> None:
    await follow()  # the server is ready
    lines = [f"GET {jp_base_url}promptcards/api/v1/workspaces/{tenant.id}/events HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in api.token.items()]
    request = "\r\n".join([*lines, "", ""])
    crowd = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CROWD, str(http_server_port[1]), "500", request, "the-last", stdout=subprocess.PIPE
    )
    assert crowd.stdout is not None
    async with asyncio.timeout(60):
        assert await crowd.stdout.readline() == b"began\n"
    longest, heard = 0.0, asyncio.ensure_future(crowd.stdout.readline())
    for key in (*(f"card-{number}" for number in range(20)), "the-last"):
        await asyncio.get_running_loop().run_in_executor(None, change, tenant, "card", key)
    async with asyncio.timeout(60):
        while not heard.done():
            before = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - before)
    assert heard.result() == b"heard\n"
    await crowd.wait()
    print(f"500 followers: the loop stood still for at most {longest * 1000:.0f} ms")
    assert longest < 0.5


# -- the followers of a process --------------------------------------------------------------------------------------


async def settled(streams: ChangeStreams) -> None:
    await until(lambda: streams._telling is None)


async def test_a_follower_who_is_too_far_behind_is_cut_off_and_the_others_are_not() -> None:
    streams, workspace = ChangeStreams(), uuid4()
    cut: list[str] = []
    slow, quick = streams.open(workspace, lambda: cut.append("slow")), streams.open(workspace, lambda: cut.append("q"))
    heard = 0
    for hundred in range(MAX_WAITING // 100):
        for number in range(100):
            streams.heard(Change(workspace, "card", f"{hundred} {number}"))
        await settled(streams)
        heard += len(quick.take())
    assert cut == ["slow"]
    assert slow.ended
    assert not quick.ended
    assert heard == MAX_WAITING + 1
    assert len(slow.take()) == MAX_WAITING
    for stream in (slow, quick):
        streams.close(stream)
    assert streams._streams == {}


async def test_no_more_than_a_few_followers_are_told_at_a_stretch() -> None:
    streams, workspace = ChangeStreams(), uuid4()
    followers = [streams.open(workspace, lambda: None) for _ in range(500)]
    for follower in followers:
        follower.take()
    streams.heard(Change(workspace, "card", "triage"))
    stretches = []
    while any(not follower.news.is_set() for follower in followers):
        before = sum(follower.news.is_set() for follower in followers)
        await asyncio.sleep(0)
        stretches.append(sum(follower.news.is_set() for follower in followers) - before)
    assert max(stretches) <= BATCH
    assert sum(stretches) == 500


async def test_a_reset_takes_the_place_of_all_that_waits() -> None:
    streams, workspace = ChangeStreams(), uuid4()
    stream = streams.open(workspace, lambda: None)
    for number in range(100):
        streams.heard(Change(workspace, "card", str(number)))
    streams.heard(None)
    await settled(streams)
    assert [event.kind for event in stream.take()] == [START, RESET]


async def test_there_is_an_end_to_how_many_may_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_streams, "MAX_STREAMS", 2)
    streams = ChangeStreams()
    first = streams.open(uuid4(), lambda: None)
    streams.open(uuid4(), lambda: None)
    with pytest.raises(Unavailable) as refusal:
        streams.open(uuid4(), lambda: None)
    assert refusal.value.code == "streams_full"
    streams.close(first)
    streams.open(uuid4(), lambda: None)
