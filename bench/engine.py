"""What the engine costs: library mode beside a bare aiohttp loop and the official SDK's own loop, in the same run.

    python -m bench.engine [--rounds 5] [--only NAME …] [--write bench/RESULTS.md]

All make the same calls to a model server of ours in a process of its own, which counts them for itself; a run whose
count is not exact makes the whole measurement fail. Each figure is the median of interleaved rounds, each round in a
fresh process. CPU is user + system time of the client, less that of a run of one call, over the other N - 1 calls: what
one more call costs. The request phase is what the server sees: from the first request in to the last reply out.
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
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

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
REFUSALS = tuple(
    b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" % head
    for head in (b"429 Too Many Requests\r\nRetry-After-Ms: 20", b"500 Internal Server Error")
)
PROMPT = (
    "Read the invoice below and answer with one JSON object that has the field text.\n\nInvoice number {}, total 42 EUR"
)


class Shape(NamedTuple):
    """A load: so many calls, of so long a latency, so many at once."""

    name: str
    calls: int
    latency_ms: int
    concurrency: int
    clients: tuple[str, ...]

    @property
    def ideal_s(self) -> float:
        """The request phase of a client that costs nothing."""
        return math.ceil(self.calls / self.concurrency) * self.latency_ms / 1000


SHAPES = (
    Shape("short", 1_000, 50, 64, ("engine", "aiohttp", "openai")),
    Shape("long", 10_000, 20, 128, ("engine", "aiohttp", "openai")),
    Shape("huge", 100_000, 0, 128, ("engine",)),
)


class Server(asyncio.Protocol):
    """As little of HTTP/1.1 as the clients here need."""

    calls = failed = turns = 0
    latency_s = 0.0
    first = last = 0.0
    answered: ClassVar[list[float]] = []
    fail_every = 0
    """Of so many calls one is refused, in turn with 429 and with 500; none with 0."""

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
            if not Server.calls:
                Server.first = time.perf_counter()
            Server.calls += 1
            if Server.latency_s:
                asyncio.get_running_loop().call_later(Server.latency_s, self._answer)
            else:
                self._answer()

    def _answer(self) -> None:
        if self.transport.is_closing():
            return
        Server.last = time.perf_counter()
        Server.turns += 1
        if Server.fail_every and Server.turns % Server.fail_every == 0:
            self.transport.write(REFUSALS[Server.failed % 2])
            Server.failed += 1
        else:
            self.transport.write(RESPONSE)
            Server.answered.append(Server.last)


def serve(pipe: Connection) -> None:
    """Serve in this process; ``pipe`` sets the latency, and is told calls and when they began."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Server, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        done = loop.create_future()

        def command() -> None:
            said = pipe.recv()
            if said == "count":
                pipe.send((Server.calls, Server.last - Server.first))
                Server.calls = 0
            elif said == "answered":
                pipe.send((Server.answered, Server.failed))
                Server.answered, Server.failed = [], 0
            elif isinstance(said, tuple):
                (Server.fail_every,) = said
            elif said == "first":
                pipe.send(Server.first)
            elif said is None:
                done.set_result(None)
            else:
                Server.latency_s = said

        loop.add_reader(pipe.fileno(), command)
        await done

    asyncio.run(main())


def with_engine(url: str, calls: int, concurrency: int) -> int:
    """Make the calls with `promptcard_ext.run`, three assertions each; return how many items passed."""
    import promptcard_ext as pc

    checks = (pc.Assertion("contains", "42 EUR"), pc.Assertion("regex", r"total is \d+"), pc.Assertion("is-json"))

    def cases() -> Iterator[pc.Case]:
        return (pc.Case({"number": number}, checks) for number in range(calls))

    card = pc.Card("invoice", PROMPT.replace("{}", "{{ number }}"))
    providers = {"openai": {"base_url": url, "api_key": "key"}}
    run = pc.run(card, cases(), "openai:bench", concurrency=concurrency, providers=providers)
    return run.wait().counts.passed


def with_aiohttp(url: str, calls: int, concurrency: int) -> int:
    """Make the calls with aiohttp alone; return how many answers had a text."""
    import aiohttp

    async def main() -> int:
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

            await asyncio.gather(*(work() for _ in range(min(concurrency, calls))))
        return good

    return asyncio.run(main())


def with_openai(url: str, calls: int, concurrency: int) -> int:
    """Make the calls with the official SDK as it comes; return how many answers had a text."""
    import openai

    async def main() -> int:
        good = 0
        numbers = iter(range(calls))
        async with openai.AsyncOpenAI(base_url=url, api_key="key", max_retries=0) as client:

            async def work() -> None:
                nonlocal good
                for number in numbers:
                    reply = await client.chat.completions.create(
                        model="bench", messages=[{"role": "user", "content": PROMPT.format(number)}]
                    )
                    good += bool(reply.choices[0].message.content)

            await asyncio.gather(*(work() for _ in range(min(concurrency, calls))))
        return good

    return asyncio.run(main())


CLIENTS = {"engine": with_engine, "aiohttp": with_aiohttp, "openai": with_openai}
NAMES = {"engine": "Prompt Cards", "aiohttp": "bare aiohttp", "openai": "openai SDK"}


def measure_here(client: str, url: str, calls: int, concurrency: int) -> None:
    """Make the calls in this process and print what they took."""
    good = CLIENTS[client](url, calls, concurrency)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    print(json.dumps({"cpu_s": cpu, "rss_mb": used.ru_maxrss / 1024, "good": good}))


class Sample(NamedTuple):
    """One round of one client."""

    cpu_ms: float
    phase_s: float
    rss_mb: float
    rss_one_mb: float


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
        counted, phase_s = self.pipe.recv()
        result: dict[str, float] = json.loads(done.stdout)
        if counted != calls or result["good"] != calls:
            sys.exit(
                f"{client}: {calls} calls asked for, {counted} counted by the server, {result['good']} good answers."
            )
        return result | {"phase_s": phase_s}

    def sample(self, shape: Shape, client: str) -> Sample:
        """Measure one round: a run of one call, and one of all."""
        one = self.run(client, 1, 1, shape.latency_ms / 1000)
        all_ = self.run(client, shape.calls, shape.concurrency, shape.latency_ms / 1000)
        cpu_ms = (all_["cpu_s"] - one["cpu_s"]) / (shape.calls - 1) * 1000
        return Sample(cpu_ms, all_["phase_s"], all_["rss_mb"], one["rss_mb"])

    def close(self) -> None:
        """Stop the process."""
        self.pipe.send(None)
        self.process.join(5)


Samples = dict[tuple[str, str], list[Sample]]


def measure(shapes: list[Shape], rounds: int) -> Samples:
    """Measure every client under every load, interleaved."""
    stub = Stub()
    cells = [(shape, client) for shape in shapes for client in shape.clients]
    samples: Samples = {(shape.name, client): [] for shape, client in cells}
    try:
        for round_ in range(rounds):
            for shape, client in cells:
                say(f"round {round_ + 1} of {rounds}: {shape.calls:,} calls with {NAMES[client]}")
                samples[shape.name, client].append(stub.sample(shape, client))
    finally:
        say("")
        stub.close()
    return samples


def say(text: str) -> None:
    """Show what is going on."""
    print(f"\r{text:70}\r", end="", file=sys.stderr, flush=True)


CARD = """\
card: {name: greet}
versions: [{template: "Say hello to {{ who }}."}]
cases: [{variables: {who: Ada}, assertions: [{type: contains, value: Ada}]}]
"""


def cold_start(rounds: int) -> tuple[float, float]:
    """Return wall and CPU seconds of ``jupyter promptcards run`` on one case, from exec to exit (medians)."""
    folder = Path(tempfile.mkdtemp(prefix="promptcards-bench-"))
    try:
        (folder / "greet.yaml").write_text(CARD)
        environment = os.environ | {"XDG_DATA_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
        command = [str(Path(sys.executable).with_name("jupyter")), "promptcards", "run", str(folder / "greet.yaml")]
        command += ["--model", "simulated:echo"]
        wall, cpu = [], []
        for round_ in range(rounds + 1):
            say(f"cold start {round_} of {rounds}")
            before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=environment)
            took, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
            # The first one compiles what has never been imported; everybody pays that once.
            if round_:
                wall.append(took)
                cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    finally:
        say("")
        shutil.rmtree(folder)
    return statistics.median(wall), statistics.median(cpu)


class Target(NamedTuple):
    """A bound and what was measured."""

    what: str
    measured: float
    bound: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether the bound holds."""
        return self.measured <= self.bound


def medians(samples: Samples) -> dict[tuple[str, str], Sample]:
    """Return the median of each column."""
    return {
        key: Sample(*(statistics.median(column) for column in zip(*rows, strict=True))) for key, rows in samples.items()
    }


def targets(found: dict[tuple[str, str], Sample], cold_s: float | None) -> list[Target]:
    """Return what the engine must show, as far as it was measured."""
    shapes = {shape.name: shape for shape in SHAPES}
    result = []
    if ("short", "engine") in found:
        ratio = found["short", "engine"].phase_s / shapes["short"].ideal_s
        result.append(Target("request phase, 1,000 × 50 ms × 64", ratio, 1.3, "× ideal"))
    if ("long", "engine") in found:
        ours, bare = found["long", "engine"], found["long", "aiohttp"]
        result.append(Target("CPU of one more call, 10,000 × 20 ms × 128", ours.cpu_ms / bare.cpu_ms, 2.4, "× bare"))
        result.append(Target("request phase, 10,000 × 20 ms × 128", ours.phase_s / bare.phase_s, 1.5, "× bare"))
        result.append(Target("peak memory, 10,000 calls", ours.rss_mb, 120, "MB"))
        # Connections, buffers and modules of the first calls are in this one, and in no other.
        growth = (ours.rss_mb - ours.rss_one_mb) * 1024 / (shapes["long"].calls - 1)
        result.append(Target("memory of one more execution, 1 to 10,000", growth, 0.5, "KB"))
    for few in ("short", "long"):
        if ("huge", "engine") in found and (few, "engine") in found:
            more = (found["huge", "engine"].rss_mb - found[few, "engine"].rss_mb) * 1024
            growth = more / (shapes["huge"].calls - shapes[few].calls)
            result.append(Target(f"memory of one more execution, {shapes[few].calls:,} to 100,000", growth, 0.5, "KB"))
    if cold_s is not None:
        result.append(Target("jupyter promptcards run, one case, cold", cold_s, 0.8, "s"))
    return result


def tables(samples: Samples, cold: tuple[float, float] | None) -> tuple[str, bool]:
    """Return the Markdown and whether every target is met."""
    found = medians(samples)
    lines = [
        "| calls × latency × concurrency | client | CPU ms per call (min–max) | request phase s | of ideal | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        _row(shape, client, found[shape.name, client], samples[shape.name, client])
        for shape in SHAPES
        for client in shape.clients
        if (shape.name, client) in found
    ]
    if cold is not None:
        lines.append(f"\nCold start of the command line, one case: {cold[0]:.2f} s wall, {cold[1]:.2f} s CPU.")
    checked = targets(found, None if cold is None else cold[0])
    lines += ["", "| target | measured | bound | |", "|---|---|---|---|"]
    lines += [
        f"| {one.what} | {one.measured:.2f} {one.unit} | {one.bound:g} | {'met' if one.met else '**missed**'} |"
        for one in checked
    ]
    return "\n".join(lines), all(one.met for one in checked)


def _row(shape: Shape, client: str, middle: Sample, rows: list[Sample]) -> str:
    load = f"{shape.calls:,} × {shape.latency_ms} ms × {shape.concurrency}"
    spread = f"{middle.cpu_ms:.2f} ({min(r.cpu_ms for r in rows):.2f}–{max(r.cpu_ms for r in rows):.2f})"
    ratio = f"{middle.phase_s / shape.ideal_s:.2f}×" if shape.ideal_s else "–"
    return f"| {load} | {NAMES[client]} | {spread} | {middle.phase_s:.2f} | {ratio} | {middle.rss_mb:.0f} |"


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
    parser.add_argument("--rounds", type=int, default=5, help="the figures are medians of these")
    parser.add_argument(
        "--only", nargs="+", choices=[*(shape.name for shape in SHAPES), "cold"], help="measure only these"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into this Markdown file")
    parser.add_argument("--client", choices=list(CLIENTS), help=argparse.SUPPRESS)
    parser.add_argument("--calls", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--concurrency", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, print, write; exit 1 when a target is missed."""
    given: Any = arguments()
    if given.client:
        measure_here(given.client, given.url, given.calls, given.concurrency)
        return
    shapes = [shape for shape in SHAPES if not given.only or shape.name in given.only]
    samples = measure(shapes, given.rounds)
    cold = cold_start(max(given.rounds, 5)) if not given.only or "cold" in given.only else None
    rows, met = tables(samples, cold)
    print(rows)
    if given.write:
        only = f" --only {' '.join(given.only)}" if given.only else ""
        text = (
            f"## Engine\n\n{(__doc__ or '').strip().splitlines()[0]}\n\n{rows}\n\n"
            "CPU is the client's user + system time beyond a run of one call, per further call. Every call was counted "
            "by the server; the request phase is what\nit saw, from the first request in to the last reply out. The "
            "ideal is ⌈calls / concurrency⌉ × latency. Prompt Cards makes three assertions per\ncall (contains, regex, "
            "is-json) and writes every result to disk; the two others do neither.\n\n"
            f"`python -m bench.engine --rounds {given.rounds}{only}`, {datetime.now(UTC):%Y-%m-%d}, "
            f"{machine()}, median of {given.rounds}.\n"
        )
        write_section(given.write, "engine", text)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
