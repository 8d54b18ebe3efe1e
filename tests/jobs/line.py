"""A line to PostgreSQL that can be cut, and that can go silent."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from tests.support import free_port


class Line:
    """Forwards connections to a database, from a thread of its own.

    Args:
        url: The database's.
        here: A folder in which the socket of this end is made; its path must be short. Or a network address of this
            machine; then a free port is taken.

    Attributes:
        url: The address of the database through this line.
    """

    def __init__(self, url: str, here: Path | str) -> None:
        parsed = sa.make_url(url)
        port = str(parsed.port or parsed.query.get("port", 5432))
        host = str(parsed.query.get("host") or parsed.host)
        self._there = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, int(port))
        if isinstance(here, str):
            self._here: Path | tuple[str, int] = (here, free_port(here))
            mine = parsed.set(host=here, port=self._here[1], query={})
        else:
            self._here = here / f".s.PGSQL.{port}"
            mine = parsed.set(host=None, port=None, query={**parsed.query, "host": str(here), "port": port})
        self.url = mine.render_as_string(hide_password=False)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._open: asyncio.Event

    def cut(self) -> None:
        """End all connections, and take no new ones."""
        self._do(self._cut)

    def mend(self) -> None:
        """Take connections again, or let go on what was silenced."""
        self._do(self._mend)

    def silence(self) -> None:
        """Carry nothing more, and say nothing of it."""
        self._do(self._silence)

    def _do(self, what: Callable[[], Awaitable[None]]) -> None:
        async def call() -> None:
            await what()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if isinstance(self._here, Path):
            self._here.unlink(missing_ok=True)
        for end in self._ends:
            end.close()

    async def _mend(self) -> None:
        self._open.set()
        if self._server is None and isinstance(self._here, Path):
            self._server = await asyncio.start_unix_server(self._forward, str(self._here))
        elif self._server is None and isinstance(self._here, tuple):
            self._server = await asyncio.start_server(self._forward, *self._here)

    async def _silence(self) -> None:
        self._open.clear()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._there, str):
            further, out = await asyncio.open_unix_connection(self._there)
        else:
            further, out = await asyncio.open_connection(*self._there, family=socket.AF_INET)
        self._ends |= {writer, out}
        await asyncio.gather(self._carry(reader, out), self._carry(further, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    def __enter__(self) -> Self:
        self._thread.start()

        async def make() -> None:
            self._open = asyncio.Event()

        self._do(make)
        self.mend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._mend)
        self._do(self._cut)

        async def rest() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait(tasks, timeout=5) if tasks else None

        self._do(rest)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
