"""A provider that keeps count: it speaks OpenAI's protocol, misbehaves as told, and writes down every call.

It is a process of its own, outside of the system under test, and what it counts is a file that only grows. A call
counts once its request has arrived whole: from then on a provider may charge for it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import Request, urlopen

from tests.fault import faults

TLS = b"\x16"  # with this a handshake begins


class Server:
    """Answers calls.

    Args:
        log: The file that calls are written to, a line each: what was asked of which model, and when.
        latency_s: How long an answer takes.
    """

    def __init__(self, log: Path, latency_s: float = 0.0) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._latency_s = latency_s
        self._plan: list[dict[str, Any]] = []
        self._given, self._most = 0, math.inf
        self._more = asyncio.Condition()

    async def serve(self, host: str) -> None:
        """Take calls on a free port, which is printed, until the process is ended."""
        server = await asyncio.start_server(self._connection, host, 0, limit=1 << 24, backlog=4096)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            while not writer.is_closing():
                if (first := await reader.readexactly(1)) == TLS:
                    faults.send(writer, b"{}", 400)
                    break
                lines = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                path = lines[0].split(" ")[1]
                named = (line.lower().partition(":") for line in lines[1:])
                length = next((int(value) for name, _, value in named if name == "content-length"), 0)
                body = await reader.readexactly(length)
                await self._answer(path, json.loads(body) if body else {}, writer)
                await writer.drain()
        writer.close()

    async def _answer(self, path: str, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if path == "/plan":
            self._plan, self._latency_s = asked["faults"], asked["latency_s"]
            faults.send(writer, b"{}")
            return
        if path == "/most":
            async with self._more:
                self._most = math.inf if asked["answers"] is None else asked["answers"]
                self._more.notify_all()
            faults.send(writer, b"{}")
            return
        text = faults.text_of(asked)
        line = json.dumps({"text": text, "model": asked.get("model"), "at": time.time()})
        os.write(self._log, line.encode() + b"\n")
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        async with self._more:
            await self._more.wait_for(lambda: self._given < self._most)
            self._given += 1
        await self._fault_for(text)(writer, asked)

    def _fault_for(self, text: str) -> faults.Fault:
        for planned in self._plan:
            if planned["match"] in text and planned["times"] > 0:
                planned["times"] -= 1
                return faults.FAULTS[planned["fault"]]
        return faults.none


class Referee:
    """The process, and what it has counted; a context manager.

    Args:
        log: Where calls are written; what is in the file already counts too.
        latency_s: How long an answer takes.
        host: Its address.
    """

    def __init__(self, log: Path, latency_s: float = 0.0, host: str = "127.0.0.1") -> None:
        self.log, self.host, self._latency_s = log, host, latency_s

    @property
    def url(self) -> str:
        """The address to call."""
        return f"http://{self.host}:{self.port}/v1"

    def plan(self, *planned: tuple[str, str, int], latency_s: float = 0.0) -> None:
        """Let calls whose prompt holds a text meet a fault, so many times: ``(text, fault, times)``."""
        wanted = [{"match": match, "fault": fault, "times": times} for match, fault, times in planned]
        self._tell("plan", {"faults": wanted, "latency_s": latency_s})

    def allow(self, answers: int | None) -> None:
        """Let so many answers be given in all; who asks for more waits. None sets no limit."""
        self._tell("most", {"answers": answers})

    def _tell(self, path: str, what: dict[str, Any]) -> None:
        request = Request(f"http://{self.host}:{self.port}/{path}", json.dumps(what).encode(), method="POST")
        with urlopen(request, timeout=10) as answer:
            answer.read()

    def calls(self) -> Counter[tuple[str, str]]:
        """Return how often each model was asked each text."""
        return Counter((str(call["model"]), str(call["text"])) for call in self._lines())

    def times(self) -> list[float]:
        """Return when each call came, in seconds since 1970."""
        return [float(call["at"]) for call in self._lines()]

    def _lines(self) -> list[dict[str, Any]]:
        lines = self.log.read_text("utf-8").splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines]

    def __enter__(self) -> Self:
        options = ["--latency-s", str(self._latency_s), "--host", self.host]
        command = [sys.executable, "-m", "tests.fault.referee", str(self.log), *options]
        # A session of its own, so that nothing that ends the system's processes ends it.
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    """Run the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("log", type=Path)
    parser.add_argument("--latency-s", type=float, default=0.0)
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()
    asyncio.run(Server(arguments.log, arguments.latency_s).serve(arguments.host))


if __name__ == "__main__":
    main()
