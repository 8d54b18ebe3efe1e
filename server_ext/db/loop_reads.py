"""Questions that the event loop asks itself, without a thread.

A request that only reads waits for PostgreSQL most of its time. In a thread it also waits for all other threads
whenever it wakes; on the loop it does not, and a server answers about twice as many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import set_json_loads

from server_ext.db.engine import STATEMENT_TIMEOUT_S, connect_args
from server_ext.db.reads import Question, Row
from server_ext.db.text import load_json

CONNECTIONS = 4
CONNECT_S = 2.0
PAUSE_S = 1.0
_Connection = psycopg.AsyncConnection[Any]


class LoopReads:
    """A few connections in the application's role, for one event loop.

    Whatever goes wrong with them is no answer and no error: whoever asked then asks in a thread, where it is one.

    Args:
        url: ``postgresql+psycopg://…``.
    """

    def __init__(self, url: str) -> None:
        self._url = url.replace("+psycopg", "", 1)
        self._idle: list[_Connection] = []
        self._turn = asyncio.Semaphore(CONNECTIONS)
        self._closed = False
        self._not_before = 0.0

    async def ask(self, workspace_id: UUID, user_id: UUID, question: Question[Any]) -> Sequence[Row] | None:
        """Return the rows that a transaction of this workspace and user sees; None when it could not be asked."""
        async with self._turn:
            if (connection := await self._taken()) is None:
                return None
            try:
                rows = await question.read.ask_on_loop(connection, workspace_id, user_id, question.values)
            except psycopg.Error:
                await self._drop(connection)
                return None
            except BaseException:  # given up in the middle: the connection still waits for its answer
                await self._drop(connection)
                raise
            if self._closed:
                await self._drop(connection)
            else:
                self._idle.append(connection)
            return rows

    async def close(self) -> None:
        """Close what is idle now, and the others when they have answered."""
        self._closed = True
        while self._idle:
            await self._drop(self._idle.pop())

    async def _taken(self) -> _Connection | None:
        if self._idle:
            return self._idle.pop()
        now = asyncio.get_running_loop().time()
        if self._closed or now < self._not_before:
            return None
        try:
            async with asyncio.timeout(CONNECT_S):
                connection = await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, **connect_args(STATEMENT_TIMEOUT_S)
                )
        except (psycopg.Error, TimeoutError):
            # Not everybody who asks while the server is away is to wait for it here first.
            self._not_before = now + CONNECT_S + PAUSE_S
            return None
        set_json_loads(load_json, connection)
        return connection

    async def _drop(self, connection: _Connection) -> None:
        with suppress(psycopg.Error):
            await connection.close()
