"""Whether one server process serves 2,000 watchers of a run, and stays awake meanwhile.

    python -m bench.sockets [--watchers 2000] [--processes 4] [--items 600] [--stalled 20] [--write bench/RESULTS.md]

The server is the real one (`jupyter promptcards serve`) with a worker and the embedded services. Watchers are in
processes of their own and count the numbers of the events that they get: one that is missing, doubled or out of order
is lost. Some of them are cut off on the way and come back with the last number they saw. Others open a socket and never
read from it. A process of its own asks for ``health`` thirty times a second, at a pace that a server which stands still
does not slow down.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.engine import machine, write_section
from bench.watchers import CUT_OFF, OPEN_FILES, Watched, watch
from promptcard_ext.core.contract.runs import FINAL
from tests.server.busy import Pings, pings
from tests.server.serving import API, Served, served

TARGET_MS = 100.0
# A run that has not ended by then never will.
END_S = 600.0


class Figures(NamedTuple):
    """What came of it."""

    events: int
    seconds: float
    watched: list[Watched]
    before: Pings
    opening: Pings
    watching: Pings
    opened_s: float
    cpu_s: float
    growth_mb: float


def measure(server: Served, options: argparse.Namespace) -> Figures:
    """Start a run and watch it to its end."""
    client = server.client()
    path = "workspaces/personal"
    client.ask("POST", f"{path}/cards", {"name": "watched", "template": "Say hello to {{ who }}."})
    cases = [{"variables": {"who": f"Ada {n}"}} for n in range(options.items)]
    client.ask("PUT", f"{path}/cards/watched/cases", {"cases": cases})
    model = f"simulated:steady?latency_ms={options.latency_ms}"
    spec = {"card": "watched", "models": [model], "concurrency": options.concurrency}
    run = client.ask("POST", f"{path}/runs", spec).json
    client.ask("POST", f"{path}/runs/{run['id']}/pause", {})
    process = psutil.Process(server.program.pid)
    url = f"ws://127.0.0.1:{server.port}{API}/{path}/runs/{run['id']}/events"
    context = multiprocessing.get_context("spawn")
    ends, processes = [], []
    before_mb = process.memory_info().rss / 1e6
    began = time.monotonic()
    with pings(server) as before:
        time.sleep(options.quiet_s)
    with pings(server) as opening:
        for number in range(options.processes):
            end, other = context.Pipe()
            stalled = options.stalled if number == 0 else 0
            share = options.watchers // options.processes
            worker = context.Process(target=watch, args=(other, url, share, stalled), daemon=True)
            worker.start()
            ends.append(end)
            processes.append(worker)
        for end in ends:
            assert end.recv() == "watching"
    opened_s = time.monotonic() - began
    print(f"{options.watchers} watchers after {opened_s:.1f} s", file=sys.stderr)
    cpu, began = sum(process.cpu_times()[:2]), time.monotonic()
    client.ask("POST", f"{path}/runs/{run['id']}/resume", {})
    with pings(server) as watching:
        while (found := client.ask("GET", f"{path}/runs/{run['id']}").json)["status"] not in FINAL:
            if time.monotonic() - began > END_S:
                sys.exit(f"The run has not ended within {END_S:.0f} s: {found}")
            time.sleep(0.5)
        seconds = time.monotonic() - began
    cpu_s = sum(process.cpu_times()[:2]) - cpu
    growth_mb = process.memory_info().rss / 1e6 - before_mb
    for end in ends:
        end.send(found["event_seq"])
    watched = [_received(end) for end in ends]
    for worker in processes:
        worker.join(60)
    return Figures(found["event_seq"], seconds, watched, before, opening, watching, opened_s, cpu_s, growth_mb)


def _received(end: Connection) -> Watched:
    if not end.poll(60):
        sys.exit("Watchers still wait for the end of a run that has ended.")
    watched: Watched = end.recv()
    return watched


def report(found: Figures, options: argparse.Namespace) -> str:
    """Return the section for the file of results."""
    sums = {name: sum(getattr(one, name) for one in found.watched) for name in Watched._fields}
    met = sums["lost"] == 0 and sums["ended"] == options.watchers and found.watching.p99_ms <= TARGET_MS
    command = f"--watchers {options.watchers} --processes {options.processes} --items {options.items}"
    return "\n".join(
        [
            "## Watchers of a run",
            "",
            "| | |",
            "|---|---|",
            f"| watchers, of them cut off again and again | {options.watchers:,}, {options.watchers // CUT_OFF:,} |",
            f"| beside them, sockets that nobody reads from | {options.stalled} |",
            f"| events of the run, in seconds | {found.events:,} in {found.seconds:.1f} |",
            f"| messages and MB that watchers got | {sums['messages']:,} and {sums['bytes'] / 1e6:,.0f} |",
            f"| events lost, doubled or out of order | {sums['lost']:,} |",
            f"| times that one came back | {sums['reconnects']:,} |",
            f"| all watchers connected after | {found.opened_s:.1f} s |",
            f"| health before: p50, p99, most | {_ms(found.before)} |",
            f"| health while they connect: p50, p99, most | {_ms(found.opening)} |",
            f"| health while they watch: p50, p99, most | {_ms(found.watching)} |",
            f"| CPU of the server while they watch | {found.cpu_s / found.seconds * 100:.0f} % of a core |",
            f"| memory of the server grew by | {found.growth_mb:.0f} MB |",
            "",
            f"Target: none lost, p99 of at most {TARGET_MS:.0f} ms while they watch: {'met' if met else 'not met'}.",
            "",
            f"`python -m bench.sockets {command}`, {datetime.now(UTC):%Y-%m-%d}, {machine()}.",
        ]
    )


def _ms(figures: Pings) -> str:
    return f"{figures.p50_ms:.1f}, {figures.p99_ms:.1f}, {figures.max_ms:.1f} ms"


def main() -> None:
    """Measure, print, and write if told to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watchers", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--items", type=int, default=600)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--latency-ms", type=int, default=800)
    parser.add_argument("--stalled", type=int, default=20)
    parser.add_argument("--quiet-s", type=float, default=10.0)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    with served() as server:
        text = report(measure(server, options), options)
    print(text)
    if options.write:
        write_section(options.write, "sockets", text)


if __name__ == "__main__":
    main()
