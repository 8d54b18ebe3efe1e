"""What the engine costs: library mode against the same calls made by a bare aiohttp loop.

    python -m bench.engine [--calls 1000] [--concurrency 64] [--rounds 5] [--write bench/RESULTS.md]

Both make the same calls to a model server of ours in a process of its own, which counts them for itself; a run whose
count is not exact makes the whole measurement fail. Each figure is the median of interleaved rounds, each round in a
fresh process. CPU is user + system time of the client, less that of a run of one call, over the other N − 1 calls.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

ANSWER = (
    "The invoice total is 42 EUR, and this sentence makes the answer about as long as short answers are in practice."
)
REPLY = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "model": "bench",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": json.dumps({"text": ANSWER})},
                     "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 60, "completion_tokens": 30, "total_tokens": 90},
    }
).encode()  # fmt: skip
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(REPLY) + REPLY
PROMPT = (
    "Read the invoice below and answer with one JSON object that has the field text.\n\nInvoice number {}, total 42 EUR"
)
TARGET_CPU_MS = 1.0
TARGET_WALL = 1.4


class Server(asyncio.Protocol):
    """As little of HTTP/1.1 as the clients here need."""

    calls = 0
    latency_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (head := self.buffer.find(b"\r\n\r\n")) >= 0:
            at = self.buffer.lower().find(b"content-length:", 0, head)
            length = int(self.buffer[at + 15 : self.buffer.index(b"\r\n", at)]) if at >= 0 else 0
            if len(self.buffer) < head + 4 + length:
                return
            self.buffer = self.buffer[head + 4 + length :]
            Server.calls += 1
            if Server.latency_s:
                asyncio.get_running_loop().call_later(Server.latency_s, self._answer)
            else:
                self._answer()

    def _answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(RESPONSE)


def serve(pipe: Connection) -> None:
    """Serve in this process; ``pipe`` sets the latency and is told the calls since the last time."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Server, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        done = loop.create_future()

        def command() -> None:
            said = pipe.recv()
            if said == "count":
                pipe.send(Server.calls)
                Server.calls = 0
            elif said is None:
                done.set_result(None)
            else:
                Server.latency_s = said

        loop.add_reader(pipe.fileno(), command)
        await done

    asyncio.run(main())


async def with_engine(url: str, calls: int, concurrency: int) -> tuple[float, int]:
    """Make the calls with the engine; return the wall time and how many items passed."""
    from promptcard_ext.core.assertions import Assertion
    from promptcard_ext.core.card import Card
    from promptcard_ext.core.case import Case
    from promptcard_ext.core.engine import EngineOptions, execute
    from promptcard_ext.core.events import ItemFinished
    from promptcard_ext.core.matrix import Plan
    from promptcard_ext.core.pricing import shipped_prices
    from promptcard_ext.core.results import Outcome
    from promptcard_ext.providers.openai_compatible import OpenAICompatible

    checks = (Assertion("contains", "42 EUR"), Assertion("regex", r"total is \d+"), Assertion("is-json"))
    cases = [Case({"number": number}, checks) for number in range(calls)]
    prepared = Plan([Card("invoice", PROMPT.replace("{}", "{{ number }}"))], ["openai:bench"], cases).prepare()
    provider = OpenAICompatible(url, "key")
    passed = 0
    started = time.perf_counter()
    async for event in execute(
        prepared, lambda _: provider, prices=shipped_prices(), options=EngineOptions(concurrency=concurrency)
    ):
        passed += isinstance(event, ItemFinished) and event.result.outcome is Outcome.PASS
    wall = time.perf_counter() - started
    await provider.close()
    return wall, passed


async def with_aiohttp(url: str, calls: int, concurrency: int) -> tuple[float, int]:
    """Make the calls with aiohttp alone; return the wall time and how many answers had a text."""
    import aiohttp

    good = 0
    numbers = iter(range(calls))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work() -> None:
            nonlocal good
            for number in numbers:
                body = {"model": "bench", "messages": [{"role": "user", "content": PROMPT.format(number)}]}
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    value = json.loads(await response.read())
                good += bool(value["choices"][0]["message"]["content"])

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(min(concurrency, calls))))
        return time.perf_counter() - started, good


CLIENTS = {"engine": with_engine, "aiohttp": with_aiohttp}


def measure_here(client: str, url: str, calls: int, concurrency: int) -> None:
    """Make the calls in this process and print what they took."""
    wall, good = asyncio.run(CLIENTS[client](url, calls, concurrency))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "rss_mb": used.ru_maxrss / 1024, "good": good}
        )
    )


class Sample(NamedTuple):
    """One round of one client."""

    cpu_one_s: float
    cpu_all_s: float
    wall_s: float
    rss_mb: float


class Stub:
    """The server process."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        self.process.start()
        self.url = f"http://127.0.0.1:{self.pipe.recv()}/v1"

    def run(self, client: str, calls: int, concurrency: int, latency_s: float) -> dict[str, float]:
        """Run a client in a fresh process; exit when the server counted another number of calls."""
        self.pipe.send(latency_s)
        command = [sys.executable, "-m", "bench.engine", "--client", client, "--url", self.url]
        command += ["--calls", str(calls), "--concurrency", str(concurrency)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
        if done.returncode:
            sys.exit(f"{client} broke:\n{done.stderr}")
        self.pipe.send("count")
        counted = self.pipe.recv()
        result: dict[str, float] = json.loads(done.stdout)
        if counted != calls or result["good"] != calls:
            sys.exit(
                f"{client}: {calls} calls asked for, {counted} counted by the server, {result['good']} good answers."
            )
        return result

    def sample(self, client: str, calls: int, concurrency: int, latency_s: float) -> Sample:
        """Measure one round: a run of one call, and one of all."""
        one = self.run(client, 1, concurrency, latency_s)
        all_ = self.run(client, calls, concurrency, latency_s)
        return Sample(one["cpu_s"], all_["cpu_s"], all_["wall_s"], all_["rss_mb"])

    def close(self) -> None:
        """Stop the process."""
        self.pipe.send(None)
        self.process.join(5)


def measure(
    calls: int, concurrency: int, rounds: int, latencies_ms: Sequence[int]
) -> dict[tuple[int, str], list[Sample]]:
    """Measure every client at every latency, interleaved."""
    stub = Stub()
    samples: dict[tuple[int, str], list[Sample]] = {(ms, client): [] for ms in latencies_ms for client in CLIENTS}
    try:
        for round_ in range(rounds):
            for place, (ms, client) in enumerate(samples):
                note = f"round {round_ + 1} of {rounds}, {client} at {ms} ms ({place + 1} of {len(samples)})"
                print(f"\r{note:60}", end="", file=sys.stderr, flush=True)
                samples[ms, client].append(stub.sample(client, calls, concurrency, ms / 1000))
    finally:
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
        stub.close()
    return samples


def table(samples: dict[tuple[int, str], list[Sample]], calls: int, concurrency: int) -> tuple[str, bool]:
    """Return the Markdown table and whether the engine meets its targets."""
    lines = [
        "| latency | client | CPU ms per call | (min–max) | calls phase s | of the ideal | peak RSS MB |",
        "|---|---|---|---|---|---|---|",
    ]
    met = True
    for (ms, client), rows in samples.items():
        cpu_one, _, wall, rss = (statistics.median(column) for column in zip(*rows, strict=True))
        spent = sorted((row.cpu_all_s - cpu_one) / (calls - 1) * 1000 for row in rows)
        cpu = statistics.median(spent)
        ideal = math.ceil(calls / concurrency) * ms / 1000
        ratio = wall / ideal if ideal else None
        spread = f"{spent[0]:.2f}–{spent[-1]:.2f}"
        shown = "–" if ratio is None else f"{ratio:.2f}×"
        lines.append(f"| {ms} ms | {client} | {cpu:.2f} | {spread} | {wall:.2f} | {shown} | {rss:.0f} |")
        if client == "engine":
            met = met and cpu <= TARGET_CPU_MS and (ratio is None or ratio <= TARGET_WALL)
    return "\n".join(lines), met


def machine() -> str:
    """Return what this was measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def write_section(path: Path, name: str, text: str) -> None:
    """Put ``text`` between the markers of ``name`` in a Markdown file; add them when they are not there."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    old = path.read_text("utf-8") if path.exists() else "# Measured\n"
    section = f"{begin}\n{text.strip()}\n{end}"
    if begin in old and end in old:
        new = old[: old.index(begin)] + section + old[old.index(end) + len(end) :]
    else:
        new = f"{old.rstrip()}\n\n{section}\n"
    path.write_text(new, "utf-8")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5, help="the figures are medians of these")
    parser.add_argument("--latency", type=int, nargs="+", default=[0, 50], metavar="MS", help="of the model server")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this Markdown file")
    parser.add_argument("--client", choices=list(CLIENTS), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, print, write; exit 1 when a target is missed."""
    given: Any = arguments()
    if given.client:
        measure_here(given.client, given.url, given.calls, given.concurrency)
        return
    samples = measure(given.calls, given.concurrency, given.rounds, given.latency)
    rows, met = table(samples, given.calls, given.concurrency)
    verdict = (
        f"Targets: at most {TARGET_CPU_MS:.1f} ms of CPU per call and {TARGET_WALL:.1f}× the ideal time: "
        f"{'met' if met else 'MISSED'}."
    )
    print(f"{rows}\n\n{verdict}")
    if given.write:
        used = f"--calls {given.calls} --concurrency {given.concurrency} --rounds {given.rounds}"
        text = (
            f"## Engine\n\n{(__doc__ or '').strip().splitlines()[0]}\n\n{rows}\n\n{verdict}\n"
            "CPU is the client's user + system time beyond a run of one call, per further call. Every call was counted "
            "by the server.\nThe ideal is ⌈calls / concurrency⌉ × latency. Three assertions per call (contains, regex, "
            f"is-json); the bare loop makes none.\n\n`python -m bench.engine {used}`, {datetime.now(UTC):%Y-%m-%d}, "
            f"{machine()}, median of {given.rounds}.\n"
        )
        write_section(given.write, "engine", text)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
