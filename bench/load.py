"""A load of HTTP requests from a process of its own: connections that ask again as soon as they are answered.

    python -m bench.load HOST PORT CONNECTIONS SECONDS < request.json

Standard input is ``{"paths": [...], "headers": {...}, "method": "GET", "bodies": [...]}``; standard output one JSON
line with rates and latencies. As little of HTTP/1.1 as our servers need, so that the load costs little beside them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import sys
import time
from typing import Any


class Asker(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.buffer = b""
        self.needed = 0
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.load.next_request())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Count an answer once it is whole, and ask again."""
        self.buffer += data
        if not self.needed:
            head, found, _ = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self.needed = len(head) + 4 + int(length)
        if len(self.buffer) < self.needed:
            return
        self.load.count(int(self.buffer[9:12]), time.perf_counter() - self.sent)
        self.buffer, self.needed = b"", 0
        if self.load.over:
            self.transport.close()
        else:
            self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        self.load.left -= 1
        if not self.load.left:
            self.load.done.set_result(None)


class Load:
    """All connections together."""

    def __init__(self, host: str, port: int, connections: int, seconds: float, spec: dict[str, Any]) -> None:
        self.host, self.port, self.left, self.seconds = host, port, connections, seconds
        self.connections = connections
        self.requests = itertools.cycle(_requests(host, port, spec))
        self.latencies: list[float] = []
        self.statuses: dict[int, int] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.until = 0.0

    def next_request(self) -> bytes:
        return next(self.requests)

    @property
    def over(self) -> bool:
        return time.perf_counter() >= self.until

    def count(self, status: int, seconds: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.latencies.append(seconds)

    async def run(self) -> dict[str, Any]:
        """Ask until the time is over, and return rates and latencies."""
        began = time.perf_counter()
        self.until = began + self.seconds
        loop = asyncio.get_running_loop()
        for _ in range(self.connections):
            await loop.create_connection(lambda: Asker(self), self.host, self.port)
        await self.done
        took = time.perf_counter() - began
        cuts = statistics.quantiles(self.latencies, n=100)
        return {
            "requests": len(self.latencies),
            "rate": len(self.latencies) / took,
            "p50_ms": cuts[49] * 1000,
            "p99_ms": cuts[98] * 1000,
            "max_ms": max(self.latencies) * 1000,
            "statuses": self.statuses,
        }


def _requests(host: str, port: int, spec: dict[str, Any]) -> list[bytes]:
    method = spec.get("method", "GET")
    lines = "".join(f"{name}: {value}\r\n" for name, value in spec["headers"].items())
    bodies = [json.dumps(body).encode() for body in spec.get("bodies", [])] or [b""]
    paths = spec["paths"]
    count = max(len(paths), len(bodies))

    def request(path: str, body: bytes) -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    return [request(paths[n % len(paths)], bodies[n % len(bodies)]) for n in range(count)]


async def main() -> None:
    host, port, connections, seconds = sys.argv[1:5]
    spec = json.loads(sys.stdin.read())
    print(json.dumps(await Load(host, int(port), int(connections), float(seconds), spec).run()))


if __name__ == "__main__":
    asyncio.run(main())
