"""Exports: one at a time for a workspace, whole or visibly broken, and no reader holds one who does not read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from server_ext.api import handler
from server_ext.api.export_slots import ExportSlots
from server_ext.app import PromptCards
from server_ext.embedded import Services
from server_ext.services import cards
from tests.api.conftest import Answer, Api
from tests.support import GREET, Tenant, new_tenant

# More than all the buffers on the way take.
MANY = 4_000
EXPORT = "cards/greet/cases/export?format=jsonl"
_FILL = sa.text(
    "insert into test_cases (workspace_id, card_id, position, name, case_uid, input_variables)"
    " select :workspace, :card, n, 'case ' || n, lpad(to_hex(n), 64, '0'), jsonb_build_object('who', repeat('x', 4000))"
    " from generate_series(1, :count) as n"
)
_END = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where pid <> pg_backend_pid() and application_name = 'promptcards' and {}
"""
_END_READERS = sa.text(_END.format("query ilike 'fetch %'"))
_END_WAITERS = sa.text(_END.format("wait_event_type = 'Lock'"))


def fill(tenant: Tenant, count: int = MANY) -> Tenant:
    """Give the workspace a card of so many cases."""
    with tenant.scope() as scope:
        saved = cards.save_version(scope, GREET)
        scope.connection.execute(_FILL, {"workspace": tenant.id, "card": saved.card_id, "count": count})
    return tenant


@dataclass
class Reader:
    """A client on a bare connection, which reads when it is told to."""

    incoming: asyncio.StreamReader
    outgoing: asyncio.StreamWriter

    async def status(self) -> int:
        """Return the status; the headers are read then."""
        head = await self.incoming.readuntil(b"\r\n\r\n")
        return int(head[9:12])

    async def rest(self) -> bytes:
        """Return what comes until the server closes the connection, chunks and all."""
        return await self.incoming.read()


@pytest.fixture
def reading(
    extension: PromptCards, jp_http_port: int, jp_base_url: str, jp_auth_header: dict[str, str]
) -> Callable[..., Any]:
    """A function that asks a workspace for an export and does not read it yet."""

    @asynccontextmanager
    async def read(tenant: Tenant, path: str = EXPORT) -> AsyncIterator[Reader]:
        bare = socket.socket()
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        bare.setblocking(False)
        await asyncio.get_running_loop().sock_connect(bare, ("127.0.0.1", jp_http_port))
        reader = Reader(*await asyncio.open_connection(sock=bare, limit=4096))
        url = f"{jp_base_url}promptcards/api/v1/workspaces/{tenant.slug}/{path}"
        headers = "".join(f"{name}: {value}\r\n" for name, value in jp_auth_header.items())
        reader.outgoing.write(f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n".encode())
        try:
            yield reader
        finally:
            reader.outgoing.close()

    return read


async def soon_exported(api: Api) -> Answer:
    """Return the export once nobody else's is in its way."""
    async with asyncio.timeout(20):
        while (answer := await api.get(EXPORT)).status != 200:
            assert answer.json["code"] == "export_busy"
            await asyncio.sleep(0.05)
    return answer


async def ended(tenant: Tenant, which: sa.TextClause) -> None:
    """End connections of exports, as soon as there are some."""
    async with asyncio.timeout(20):
        while True:
            with tenant.database.transaction() as connection:
                if any(connection.execute(which).scalars()):
                    return
            await asyncio.sleep(0.02)


async def test_an_export_is_whole(api: Api, tenant: Tenant) -> None:
    answer = await soon_exported(Api(api.client, api.base, api.token, fill(tenant).slug))
    assert answer.raw.count(b"\n") == MANY


async def test_a_workspace_has_one_export_at_a_time(api: Api, tenant: Tenant, reading: Any) -> None:
    async with reading(fill(tenant)) as first:
        assert await first.status() == 200
        second = await api.get(EXPORT)
        assert (second.status, second.json["code"]) == (429, "export_busy")
        assert int(second.headers["Retry-After"]) >= 1
    assert (await soon_exported(api)).raw.count(b"\n") == MANY  # the first reader has gone


async def test_a_reader_who_does_not_read_is_cut_off(
    api: Api, tenant: Tenant, reading: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "PIECE_S", 0.3)
    async with reading(fill(tenant)) as slow:
        assert await slow.status() == 200
        assert (await soon_exported(api)).status == 200
        assert not (await slow.rest()).endswith(b"0\r\n\r\n")


async def test_a_reader_who_reads_a_little_now_and_then_is_cut_off_in_the_end(
    api: Api, tenant: Tenant, reading: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "WHOLE_S", 0.3)
    async with reading(fill(tenant)) as slow:
        assert await slow.status() == 200
        while piece := await slow.incoming.read(1000):
            last = piece
            await asyncio.sleep(0)
        assert not last.endswith(b"0\r\n\r\n")
    assert (await api.get("cards")).status == 200


async def test_all_slots_taken_is_told_in_time(api: Api, extension: PromptCards, tenant: Tenant, reading: Any) -> None:
    second, third = (new_tenant(tenant.database, tenant.actor, name) for name in ("Second", "Third"))
    extension.export_slots = ExportSlots(2, wait_s=0.3)
    async with reading(fill(tenant)) as one, reading(fill(second)) as two:
        assert (await one.status(), await two.status()) == (200, 200)
        fill(third, 10)
        refused = await Api(api.client, api.base, api.token, third.slug).get(EXPORT)
        assert (refused.status, refused.json["code"]) == (503, "exports_full")
        assert int(refused.headers["Retry-After"]) >= 1
        # Everything else goes on.
        assert (await api.get("cards")).status == 200
        two.outgoing.close()
        assert (await soon_exported(Api(api.client, api.base, api.token, third.slug))).raw.count(b"\n") == 10


async def test_an_export_whose_connection_is_lost_looks_broken(api: Api, tenant: Tenant, reading: Any) -> None:
    async with reading(fill(tenant)) as reader:
        assert await reader.status() == 200
        await ended(tenant, _END_READERS)
        read = await reader.rest()
        assert 0 < read.count(b"\n") < MANY
        assert not read.endswith(b"0\r\n\r\n")
    assert (await soon_exported(api)).raw.count(b"\n") == MANY


async def test_an_export_that_never_began_is_refused_in_good_order(
    api: Api, tenant: Tenant, services: Services
) -> None:
    run = tenant.start()
    owner = sa.create_engine(sa.make_url(services.owner_database_url or "").set(drivername="postgresql+psycopg"))
    with owner.connect() as lock:
        lock.execute(sa.text("lock table test_executions in access exclusive mode"))
        asked = asyncio.ensure_future(api.get(f"runs/{run}/export?format=jsonl"))
        await ended(tenant, _END_WAITERS)
        answer = await asked
    owner.dispose()
    assert (answer.status, answer.json["code"]) == (503, "database_unavailable")
    assert "Retry-After" in answer.headers
    assert "Content-Disposition" not in answer.headers
