"""Watchers of a run, thousands in a process. They read frames and little else: the server is what is measured."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import resource
import struct
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.server.serving import TOKEN

OPEN_FILES = 20_000
# So many sockets of a process are being opened at once: a listening socket has a short queue.
AT_ONCE = 25
OPEN_S = 60.0
CUT_OFF = 10
"""Every tenth watcher is cut off again and again."""
_SEQ = re.compile(rb'\{"seq":(\d+)')
_CLOSE = 0x8
_ENDED = struct.pack("!H", 1000) + b"the run has ended"


class Watched(NamedTuple):
    """What the watchers of one process got.

    Attributes:
        lost: Events that were missing, doubled or out of order.
        reconnects: How often one came back.
        ended: Watchers whose socket was closed because the run had ended.
    """

    messages: int
    bytes: int
    lost: int
    reconnects: int
    ended: int


def watch(pipe: Connection, url: str, watchers: int, stalled: int) -> None:
    """Watch a run in this process; the run's last number comes through the pipe when it has ended."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    pipe.send(asyncio.run(_Watchers(pipe, url).run(watchers, stalled)))


class _Socket:
    """A websocket of which only frames of a server are read; it answers nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @staticmethod
    async def open(url: str, after: int) -> _Socket:
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {address.path}?after={after} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: token {TOKEN}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            writer.close()
            raise OSError(head.splitlines()[0].decode())
        return _Socket(reader, writer)

    async def frame(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of the next frame."""
        first, size = await self._reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", await self._reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self._reader.readexactly(8))
        return first & 0xF, await self._reader.readexactly(size)

    def stop_reading(self) -> None:
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def close(self) -> None:
        self._writer.close()


class _Watchers:
    def __init__(self, pipe: Connection, url: str) -> None:
        self._pipe, self._url = pipe, url
        self._opening = asyncio.Semaphore(AT_ONCE)
        self._left = 0
        self._messages = self._bytes = self._lost = self._reconnects = self._ended = 0
        self._last: list[int] = []

    async def run(self, watchers: int, stalled: int) -> Watched:
        self._left = watchers + stalled
        tasks = [asyncio.create_task(self._watch(number)) for number in range(watchers)]
        idle = [asyncio.create_task(self._stall()) for _ in range(stalled)]
        await asyncio.gather(*tasks)
        for task in idle:
            task.cancel()
        await asyncio.gather(*idle, return_exceptions=True)
        final = await asyncio.to_thread(self._pipe.recv)
        lost = self._lost + sum(final - last for last in self._last)
        return Watched(self._messages, self._bytes, lost, self._reconnects, self._ended)

    async def _watch(self, number: int) -> None:
        last, first_time = 0, True
        while True:
            socket = await self._open(last)
            if first_time:
                first_time = False
                self._here()
            last, ended = await self._read(socket, last, number)
            socket.close()
            if ended:
                self._ended += 1
                self._last.append(last)
                return
            self._reconnects += 1

    async def _read(self, socket: _Socket, last: int, number: int) -> tuple[int, bool]:
        """Read until the end, or until this watcher is cut off; return the last number, and whether it was the end."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                code, data = await socket.frame()
                if code == _CLOSE:
                    return last, data == _ENDED
                found = _SEQ.match(data)
                if found is None:
                    continue  # a ping
                self._lost += int(found[1]) != last + 1
                last = int(found[1])
                self._messages += 1
                self._bytes += len(data)
                if number % CUT_OFF == 0 and last % 7 == number // CUT_OFF % 7:
                    return last, False
        return last, False

    async def _open(self, after: int) -> _Socket:
        while True:
            try:
                async with self._opening, asyncio.timeout(OPEN_S):
                    return await _Socket.open(self._url, after)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.5)

    async def _stall(self) -> None:
        """Open a socket, and read nothing beyond what the kernel takes."""
        socket = await self._open(0)
        socket.stop_reading()
        self._here()
        await asyncio.Event().wait()

    def _here(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._pipe.send("watching")
