"""What a run costs from the click to the last row, all in, beside a bare aiohttp loop in the same run.

    python -m bench.batch [--calls 10000] [--rounds 5] [--processes 1] [--write bench/RESULTS.md]

A server, a worker and the embedded services are real ones; the model is a server of ours in a process of its own, which
counts its calls for itself (`bench.engine`). The bare loop makes as many calls and keeps nothing. CPU is user + system
time of worker, server, PostgreSQL and Valkey from the click until the run has ended, with somebody watching it over a
WebSocket. A round whose rows, counts and sums by hour are not exactly the calls makes the whole measurement fail.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen
from uuid import UUID

import aiohttp
import psutil
import sqlalchemy as sa

from bench.engine import PROMPT, Stub, Target, machine, say, write_section
from promptcard_ext.core.contract.runs import FINAL
from server_ext.db.engine import Database
from server_ext.db.tables import rollup_hours, runs, test_executions
from server_ext.embedded import postgres, valkey
from server_ext.embedded.home import find_home
from server_ext.keys import load_ring
from server_ext.runtime import ready_services
from server_ext.settings import Settings
from tests.support import Program, free_port, temporary_home, wait_for

TOKEN = "bench"
CONCURRENCY = 128
LATENCY_MS = 20
CLICKS = 20
CASES = 500
CHECKS = [
    {"type": "contains", "value": "42 EUR"},
    {"type": "regex", "value": r"total is \d+"},
    {"type": "is-json"},
]


class Sample(NamedTuple):
    """One round, CPU in milliseconds per execution."""

    cpu_ms: float
    worker_ms: float
    server_ms: float
    postgres_ms: float
    valkey_ms: float
    phase_s: float
    click_to_end_s: float
    memory_mb: float
    bare_ms: float
    bare_phase_s: float


def cpu_s(root: psutil.Process) -> float:
    """Return the CPU seconds of a process, of all that it has started, and of those of them that have ended."""
    total = 0.0
    for one in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            used = one.cpu_times()
            total += used.user + used.system + used.children_user + used.children_system
    return total


class Watch:
    """Follows a run over the WebSocket, and the memory of the worker's processes, from a thread."""

    def __init__(self, url: str, worker: psutil.Process) -> None:
        self.most_mb, self.events = 0.0, 0
        self._url, self._worker = url, worker
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._follow, daemon=True), threading.Thread(target=self._weigh)]

    def _follow(self) -> None:
        async def main() -> None:
            headers = {"Authorization": f"token {TOKEN}"}
            async with aiohttp.ClientSession(headers=headers) as session, session.ws_connect(self._url) as socket:
                # The server closes after the last event. Nothing is made of them here: that would take from the others.
                async for _ in socket:
                    self.events += 1

        asyncio.run(main())

    def _weigh(self) -> None:
        while not self._over.wait(0.1):
            for one in (self._worker, *self._worker.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    self.most_mb = max(self.most_mb, one.memory_info().rss / 2**20)

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def wait(self) -> None:
        """Wait until the run has ended."""
        self._threads[0].join(600)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._threads[1].join(30)


class Site:
    """A home with its services, a server and a worker; a context manager."""

    def __init__(self, home: Path, stub: Stub, processes: int) -> None:
        self._stack = ExitStack()
        self.settings, self.stub, self.port = Settings(home=home), stub, free_port()
        model = {"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": "key"}
        more = ["--processes", str(processes)] if processes > 1 else []
        server = ["serve", "--port", str(self.port), "--no-worker"]
        self.server = self._stack.enter_context(Program(home, *server, JUPYTER_TOKEN=TOKEN, **model))
        wait_for(lambda: self._answers("health"), 60)
        self.worker = self._stack.enter_context(Program(home, "worker", *more, **model))
        services = self._stack.enter_context(ready_services(self.settings))
        keys = load_ring(self.settings.keys_path)
        self.database = self._stack.enter_context(Database(services.database_url, pool_size=1, keys=keys))

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _answers(self, path: str) -> bool:
        with suppress(OSError):
            return bool(self.ask("GET", path))
        return False

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the server's answer to a request of the owner."""
        url = f"http://127.0.0.1:{self.port}/promptcards/api/v1/{path}"
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(url, data, headers, method=method), timeout=60) as answer:
            return json.load(answer)

    def parts(self) -> dict[str, psutil.Process]:
        """Return the processes whose CPU counts, by what they are."""
        home = find_home(self.settings.home)
        assert home is not None
        pids = {"worker": self.worker.pid, "server": self.server.pid}
        pids |= {"postgres": postgres.pid_of(home) or 0, "valkey": valkey.pid_of(home) or 0}
        return {name: psutil.Process(pid) for name, pid in pids.items()}

    def card(self, name: str, cases: int) -> None:
        """Save a card and its cases."""
        template = PROMPT.replace("{}", "{{ number }}")
        self.ask("POST", "workspaces/personal/cards", {"name": name, "template": template})
        made = [{"name": str(n), "variables": {"number": n}, "assertions": CHECKS} for n in range(cases)]
        self.ask("PUT", f"workspaces/personal/cards/{name}/cases", {"cases": made})

    def start(self, card: str, repeats: int = 1) -> dict[str, Any]:
        """Start a run; this is the click."""
        body = {"card": card, "models": ["openai:bench"], "repeats": repeats, "concurrency": CONCURRENCY}
        run: dict[str, Any] = self.ask("POST", "workspaces/personal/runs", body)
        return run

    def end(self, run_id: str) -> None:
        """Wait until a run has ended."""
        wait_for(lambda: self.ask("GET", f"workspaces/personal/runs/{run_id}")["status"] in FINAL, 600)


def sample(site: Site, calls: int) -> Sample:
    """Measure one round: the bare loop, then a run."""
    bare = site.stub.run("aiohttp", calls, CONCURRENCY, LATENCY_MS / 1000)
    parts = site.parts()
    before = {name: cpu_s(process) for name, process in parts.items()}
    began = time.perf_counter()
    run = site.start("invoice", calls // CASES)
    url = f"ws://127.0.0.1:{site.port}/promptcards/api/v1/workspaces/personal/runs/{run['id']}/events?after=0"
    with Watch(url, parts["worker"]) as watch:
        watch.wait()
        took = time.perf_counter() - began
    used = {name: (cpu_s(process) - before[name]) / calls * 1000 for name, process in parts.items()}
    site.stub.pipe.send("count")
    counted, phase_s = site.stub.pipe.recv()
    check(site, run["id"], calls, counted)
    return Sample(
        sum(used.values()), used["worker"], used["server"], used["postgres"], used["valkey"], phase_s, took,
        watch.most_mb, bare["cpu_s"] / calls * 1000, bare["phase_s"],
    )  # fmt: skip


def check(site: Site, run_id: str, calls: int, counted: int) -> None:
    """Exit unless the calls, the rows, the run's counts and the growth of the sums are all the same number."""
    workspace_id = UUID(site.ask("GET", "workspaces/personal")["id"])
    with site.database.transaction(workspace_id) as connection:
        e = test_executions.c
        rows = connection.execute(sa.select(sa.func.count()).where(e.run_id == UUID(run_id))).scalar_one()
        recorded = connection.execute(sa.select(runs.c.recorded).where(runs.c.id == UUID(run_id))).scalar_one()
        all_rows = connection.execute(sa.select(sa.func.count()).select_from(test_executions)).scalar_one()
        summed = connection.execute(sa.select(sa.func.sum(rollup_hours.c.n))).scalar_one()
    if {rows, recorded, counted} != {calls} or all_rows != summed:
        sys.exit(
            f"{calls} in: {counted} called, {rows} stored, {recorded} counted, {summed} of {all_rows} in the sums."
        )


def clicks(site: Site) -> list[float]:
    """Return milliseconds from a click to the first request, on a warm worker."""
    found = []
    for number in range(CLICKS + 2):
        began = time.perf_counter()
        run = site.start("one")
        site.end(run["id"])
        site.stub.pipe.send("first")
        first = site.stub.pipe.recv()
        site.stub.pipe.send("count")
        site.stub.pipe.recv()
        if number >= 2:
            found.append((first - began) * 1000)
    return found


def table(samples: Sequence[Sample], clicked: Sequence[float], calls: int) -> tuple[str, bool]:
    """Return the Markdown and whether every target is met."""
    middle = Sample(*(statistics.median(column) for column in zip(*samples, strict=True)))
    ordered = sorted(clicked)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    load = f"{calls:,} × {LATENCY_MS} ms × {CONCURRENCY}"
    lines = ["| " + load + " | CPU ms per execution | request phase s |", "|---|---:|---:|"]
    clicked_ms = statistics.median(clicked)
    lines += [
        f"| Prompt Cards, all in | {middle.cpu_ms:.3f} | {middle.phase_s:.2f} |",
        f"| – worker | {middle.worker_ms:.3f} | |",
        f"| – PostgreSQL | {middle.postgres_ms:.3f} | |",
        f"| – server | {middle.server_ms:.3f} | |",
        f"| – Valkey | {middle.valkey_ms:.3f} | |",
        f"| bare aiohttp | {middle.bare_ms:.3f} | {middle.bare_phase_s:.2f} |",
        "",
        f"Click to end {middle.click_to_end_s:.2f} s; click to first request, runs of one, p50 {clicked_ms:.0f} ms.",
    ]
    targets = [
        Target("CPU per execution, all in", middle.cpu_ms / middle.bare_ms, 4, "× bare"),
        Target("request phase", middle.phase_s / middle.bare_phase_s, 1.5, "× bare"),
        Target("memory of a worker's process", middle.memory_mb, 120, "MB"),
        Target("click to first request, p95", p95, 100, "ms"),
    ]
    lines += ["", "| target | measured | bound | |", "|---|---|---|---|"]
    lines += [
        f"| {one.what} | {one.measured:.2f} {one.unit} | {one.bound:g} | {'met' if one.met else '**missed**'} |"
        for one in targets
    ]
    return "\n".join(lines), all(one.met for one in targets)


def main() -> None:
    """Measure, print, write; exit 1 when a target is missed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=10_000, help=f"a multiple of {CASES}")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--processes", type=int, default=1, help="of the worker")
    options.add_argument("--write", type=Path)
    given = options.parse_args()
    stub = Stub()
    try:
        with temporary_home() as home, Site(home, stub, given.processes) as site:
            site.card("invoice", CASES)
            site.card("one", 1)
            stub.pipe.send(LATENCY_MS / 1000)
            clicked = clicks(site)
            samples = []
            for number in range(given.rounds):
                say(f"round {number + 1} of {given.rounds}")
                samples.append(sample(site, given.calls))
    finally:
        say("")
        stub.close()
    rows, met = table(samples, clicked, given.calls)
    print(rows)
    if given.write:
        command = f"`python -m bench.batch --calls {given.calls} --rounds {given.rounds} --processes {given.processes}`"
        text = (
            f"## Batches\n\n{(__doc__ or '').strip().splitlines()[0]}\n\n{rows}\n\n"
            f"{command}, {datetime.now(UTC):%Y-%m-%d}, {machine()}, median of {given.rounds}.\n"
        )
        write_section(given.write, "batch", text)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
