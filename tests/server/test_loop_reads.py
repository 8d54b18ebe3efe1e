"""Questions that the event loop asks itself: the same rows as in a thread, and no harm when they are not answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest
import sqlalchemy as sa

from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.cards import CardQuery
from promptcard_ext.core.errors import Unavailable
from server_ext.db import loop_reads
from server_ext.db.engine import Database
from server_ext.db.loop_reads import LoopReads
from server_ext.db.reads import Question, Read
from server_ext.embedded import Services
from server_ext.services import cards
from server_ext.services.scope import Glance
from tests.support import Tenant

WHERE = Read(
    sa.select(
        sa.func.current_setting("app.workspace_id"), sa.func.current_setting("app.user_id"), sa.func.pg_backend_pid()
    )
)
SLOWLY = Read(sa.select(sa.func.pg_sleep(sa.bindparam("seconds"))))
NOWHERE = "postgresql+psycopg://pc_app@127.0.0.1:1/none"


def question(read: Read, **values: object) -> Question[object]:
    return Question(read, values, list)


def on_loop(url: str, body: Callable[[LoopReads], Awaitable[None]]) -> None:
    async def whole() -> None:
        reads = LoopReads(url)
        try:
            await body(reads)
        finally:
            await reads.close()

    asyncio.run(whole())


def test_it_sees_what_a_transaction_sees(services: Services, tenant: Tenant) -> None:
    query = CardQuery(limit=2, tag=["t"])
    with tenant.scope() as scope:
        for name in ("greet", "answer", "sum-up"):
            cards.save_version(scope, Card(name, "Hi", title="a\x00b \ufdd0", tags=("t", "\u2028")))
        in_transaction = cards.list_cards(scope, query)
    asked = cards.listed(Glance(tenant.id, tenant.actor, "viewer"), query)

    async def body(reads: LoopReads) -> None:
        rows = await reads.ask(tenant.id, tenant.actor.user_id, asked)
        assert rows is not None
        assert asked.answer(rows) == in_transaction

    on_loop(services.database_url, body)
    rows = tenant.database.read(tenant.id, tenant.actor.user_id, asked.read, asked.values)
    assert asked.answer(rows) == in_transaction
    assert [card.title for card in in_transaction.items] == ["a\x00b \ufdd0"] * 2


def test_what_is_named_is_named_for_one_question_only(services: Services, tenant: Tenant) -> None:
    async def body(reads: LoopReads) -> None:
        rows = await reads.ask(tenant.id, tenant.actor.user_id, question(WHERE))
        assert rows is not None
        ((workspace, user, process),) = rows
        assert (workspace, user) == (str(tenant.id), str(tenant.actor.user_id))
        (connection,) = reads._idle
        later = await connection.execute("select current_setting('app.workspace_id', true), pg_backend_pid()")
        assert await later.fetchone() == ("", process)

    on_loop(services.database_url, body)


def test_nothing_is_written_by_a_question(database: Database, tenant: Tenant) -> None:
    with pytest.raises(Unavailable, match="takes no changes"):
        database.read(tenant.id, tenant.actor.user_id, Read(sa.select(sa.func.pc.resolve_identity("a", "b", "c"))), {})


def test_no_more_connections_are_made_than_are_allowed(services: Services, tenant: Tenant) -> None:
    async def body(reads: LoopReads) -> None:
        asked = [reads.ask(tenant.id, tenant.actor.user_id, question(WHERE)) for _ in range(40)]
        answers = await asyncio.gather(*asked)
        assert all(answers)
        assert len({rows[0][2] for rows in answers if rows}) <= loop_reads.CONNECTIONS
        assert len(reads._idle) <= loop_reads.CONNECTIONS

    on_loop(services.database_url, body)


def test_a_connection_that_has_ended_is_no_answer_and_then_another_one_is(services: Services, tenant: Tenant) -> None:
    me = (tenant.id, tenant.actor.user_id)

    async def body(reads: LoopReads) -> None:
        rows = await reads.ask(*me, question(WHERE))
        assert rows is not None
        with psycopg.connect(services.database_url.replace("+psycopg", ""), autocommit=True) as another:
            another.execute("select pg_terminate_backend(%s, 5000)", (rows[0][2],))
        assert await reads.ask(*me, question(WHERE)) is None
        assert await reads.ask(*me, question(WHERE))

    on_loop(services.database_url, body)


def test_a_question_that_is_given_up_leaves_its_connection_to_nobody(services: Services, tenant: Tenant) -> None:
    me = (tenant.id, tenant.actor.user_id)

    async def body(reads: LoopReads) -> None:
        assert await reads.ask(*me, question(WHERE))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reads.ask(*me, question(SLOWLY, seconds=20))
        assert reads._idle == []
        assert await reads.ask(*me, question(WHERE))

    on_loop(services.database_url, body)


def test_while_the_database_is_away_nobody_waits_for_it_here(tenant: Tenant) -> None:
    async def body(reads: LoopReads) -> None:
        began = asyncio.get_running_loop().time()
        answers = [await reads.ask(tenant.id, tenant.actor.user_id, question(WHERE)) for _ in range(100)]
        assert answers == [None] * 100
        assert asyncio.get_running_loop().time() - began < loop_reads.CONNECT_S

    on_loop(NOWHERE, body)
