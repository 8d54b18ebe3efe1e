"""What a run costs from the click to the last row, all in, beside a bare aiohttp loop in the same run.

    python -m bench.batch [--calls 10000] [--rounds 5] [--processes 1] [--fail-every 20] [--write bench/RESULTS.md]

A server, a worker and the embedded services are real ones; the model is a server of ours in a process of its own, which
counts its calls for itself (`bench.engine`). The bare loop makes as many calls and keeps nothing. CPU is user + system
time of worker, server, PostgreSQL and Valkey from the click until the run has ended, with somebody watching it over a
WebSocket. A round whose rows, counts and sums by hour are not exactly the calls makes the whole measurement fail.

What watching costs is the difference to a run that nobody watches. RQ's share is that of its bells, one for each shard:
what it costs to ring one, and to hear it for nothing in a worker that is awake. With ``--fail-every 20`` every
20th call is refused, with 429 and 500 in turn: then only the numbers count, and there are no targets for time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import sqlalchemy as sa

from bench.engine import Stub, Target, machine, say, write_section
from bench.site import CONCURRENCY, Site
from bench.watch import Watch
from server_ext.db.tables import rollup_hours, test_executions
from server_ext.jobs.queue import Doorbell
from server_ext.services.tasks import Note
from tests.support import temporary_home, wait_for

LATENCY_MS = 20
CLICKS = 20
BELLS = 20
CASES = 500


class Sample(NamedTuple):
    """One round, CPU in milliseconds per execution."""

    cpu_ms: float
    worker_ms: float
    server_ms: float
    postgres_ms: float
    valkey_ms: float
    phase_s: float
    click_to_end_s: float
    mb_at_10: float
    mb_at_50: float
    mb_at_100: float
    lag_p50_ms: float
    lag_p95_ms: float
    bells: int
    bare_ms: float
    bare_phase_s: float


class Bell(NamedTuple):
    """CPU milliseconds of a worker that hears a bell and finds nothing to do, and of ringing it."""

    look_ms: float
    ring_ms: float


def at(ordered: Sequence[float], part: float) -> float:
    """Return the value below which ``part`` of the sorted values are."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def sample(site: Site, calls: int, fail_every: int) -> Sample:
    """Measure one round: the bare loop, then a run, of whose calls some are refused."""
    bare = site.stub.run("aiohttp", calls, CONCURRENCY, LATENCY_MS / 1000)
    ask(site.stub, "answered")
    site.stub.pipe.send((fail_every,))
    before = site.cpu()
    began = time.perf_counter()
    run_id = site.start("invoice", calls // CASES)
    with Watch(site.socket(run_id), site.parts()["worker"]) as watch:
        watch.wait()
        took = time.perf_counter() - began
    used = {name: (now - before[name]) / calls * 1000 for name, now in site.cpu().items()}
    counted, phase_s = ask(site.stub, "count")
    answered, failed = ask(site.stub, "answered")
    site.stub.pipe.send((0,))
    bells = check(site, run_id, calls, counted - failed)
    lags = watch.lags_ms(answered)
    return Sample(
        sum(used.values()), used["worker"], used["server"], used["postgres"], used["valkey"], phase_s, took,
        *(watch.memory_mb(part) for part in (0.1, 0.5, 1)), at(lags, 0.5), at(lags, 0.95),
        bells, bare["cpu_s"] / calls * 1000, bare["phase_s"],
    )  # fmt: skip


def ask(stub: Stub, what: str) -> Any:
    """Return what the model server says."""
    stub.pipe.send(what)
    return stub.pipe.recv()


def unwatched_ms(site: Site, calls: int) -> float:
    """Return the CPU of a run that nobody watches, in milliseconds per execution."""
    before = site.cpu()
    run_id = site.start("invoice", calls // CASES)
    site.end(run_id)
    used = sum(site.cpu().values()) - sum(before.values())
    check(site, run_id, calls, ask(site.stub, "count")[0])
    return used / calls * 1000


def check(site: Site, run_id: str, calls: int, answered: int) -> int:
    """Exit unless the answers, the rows, the run's counts and the growth of the sums are all the same number.

    Returns:
        How many shards the run had.
    """
    rows, recorded, shards = site.stored(run_id)
    with site.database.transaction(site.workspace_id) as connection:
        all_rows = connection.execute(sa.select(sa.func.count()).select_from(test_executions)).scalar_one()
        summed = connection.execute(sa.select(sa.func.sum(rollup_hours.c.n))).scalar_one()
    if {rows, recorded, answered} != {calls} or all_rows != summed:
        sys.exit(
            f"{calls} in: {answered} answered, {rows} stored, {recorded} counted, {summed} of {all_rows} in the sums."
        )
    return shards


def clicks(site: Site) -> list[float]:
    """Return milliseconds from a click to the first request, on a warm worker, sorted."""
    found = []
    for number in range(CLICKS + 2):
        began = time.perf_counter()
        site.end(site.start("one"))
        site.stub.pipe.send("first")
        first = site.stub.pipe.recv()
        ask(site.stub, "count")
        if number >= 2:
            found.append((first - began) * 1000)
    return sorted(found)


def bell(site: Site) -> Bell:
    """Measure bells for which there is nothing to do, one after the other."""
    doorbell = Doorbell(site.redis_url)
    note = Note(site.workspace_id, uuid4(), "run_shard")
    try:
        used = site.cpu()["worker"]
        for _ in range(BELLS):
            doorbell.ring(note)
            wait_for(lambda: not doorbell.waiting())
        look_ms = (site.cpu()["worker"] - used) / BELLS * 1000
        own = time.process_time()
        for _ in range(BELLS):
            doorbell.ring(note)
        ring_ms = (time.process_time() - own) / BELLS * 1000
        wait_for(lambda: not doorbell.waiting())
        return Bell(look_ms, ring_ms)
    finally:
        doorbell.close()


def table(
    samples: Sequence[Sample], clicked: Sequence[float], empty: Bell, unwatched: Sequence[float], calls: int, fails: int
) -> tuple[str, bool]:
    """Return the Markdown and whether every target is met."""
    middle = Sample(*(statistics.median(column) for column in zip(*samples, strict=True)))
    load = f"{calls:,} × {LATENCY_MS} ms × {CONCURRENCY}"
    lines = ["| " + load + " | CPU ms per execution | request phase s |", "|---|---:|---:|"]
    watching = max(0.0, 1 - statistics.median(unwatched) / middle.cpu_ms) * 100 if unwatched else 0.0
    rq = middle.bells * (empty.look_ms + empty.ring_ms) / (middle.cpu_ms * calls) * 100
    lines += [
        f"| Prompt Cards, all in | {middle.cpu_ms:.3f} | {middle.phase_s:.2f} |",
        f"| – worker | {middle.worker_ms:.3f} | |",
        f"| – PostgreSQL | {middle.postgres_ms:.3f} | |",
        f"| – server | {middle.server_ms:.3f} | |",
        f"| – Valkey | {middle.valkey_ms:.3f} | |",
        f"| bare aiohttp | {middle.bare_ms:.3f} | {middle.bare_phase_s:.2f} |",
        "",
        f"Click to end {middle.click_to_end_s:.2f} s; click to first request, p50 {at(clicked, 0.5):.0f} ms.",
        f"{middle.bells:.0f} bells, each {empty.ring_ms:.2f} ms to ring, {empty.look_ms:.2f} ms to hear for nothing.",
        "Memory after 10 %, 50 % and 100 % of the time: {:.0f}, {:.0f} and {:.0f} MB.".format(*middle[7:10]),
        f"Calls, answers, rows, counts and sums by hour: {calls:,} each, in each of {len(samples)} rounds.",
    ]  # fmt: skip
    targets = [
        Target("CPU per execution, all in", middle.cpu_ms / middle.bare_ms, 4, "× bare"),
        Target("request phase", middle.phase_s / middle.bare_phase_s, 1.5, "× bare"),
        Target("memory of a worker's process", middle.mb_at_100, 120, "MB"),
        Target(
            "growth of its memory from 10 % to 100 %", (middle.mb_at_100 - middle.mb_at_10) / calls * 1024 / 0.9, 0.5,
            "KB per execution",
        ),
        Target("click to first request, p95", at(clicked, 0.95), 100, "ms"),
        Target("result to the watcher's socket, p50", middle.lag_p50_ms, 150, "ms"),
        Target("result to the watcher's socket, p95", middle.lag_p95_ms, 300, "ms"),
        Target("watching, of the CPU", watching, 3, "%"),
        Target("RQ, of the CPU", rq, 5, "%"),
    ]  # fmt: skip
    if fails:
        return "\n".join([*lines, f"One call of {fails} was refused, with 429 and 500 in turn."]), True
    lines += ["", "| target | measured | bound | |", "|---|---|---|---|"]
    lines += [
        f"| {one.what} | {one.measured:.2f} {one.unit} | {one.bound:g} | {'met' if one.met else '**missed**'} |"
        for one in targets
    ]
    return "\n".join(lines), all(one.met for one in targets)


def measure(given: argparse.Namespace) -> tuple[str, bool]:
    """Measure all rounds; return the Markdown and whether every target is met."""
    stub = Stub()
    try:
        with temporary_home() as home, Site(home, stub, given.processes) as site:
            site.card("invoice", CASES)
            site.card("one", 1)
            stub.pipe.send(LATENCY_MS / 1000)
            clicked, empty = clicks(site), bell(site)
            samples, unwatched = [], []
            for number in range(given.rounds):
                say(f"round {number + 1} of {given.rounds}")
                if not given.fail_every:
                    unwatched.append(unwatched_ms(site, given.calls))
                samples.append(sample(site, given.calls, given.fail_every))
    finally:
        say("")
        stub.close()
    return table(samples, clicked, empty, unwatched, given.calls, given.fail_every)


def name_of(given: argparse.Namespace) -> tuple[str, str]:
    """Return the name of the section that the results are written to, and its title."""
    if given.fail_every:
        return "batch-refusals", "Batches, with refusals"
    if given.processes > 1:
        return f"batch-{given.processes}", f"Batches, {given.processes} processes"
    return ("batch", "Batches") if given.calls == 10_000 else (f"batch-{given.calls}", f"Batches of {given.calls:,}")


def main() -> None:
    """Measure, print, write; exit 1 when a target is missed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=10_000, help=f"a multiple of {CASES}")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--processes", type=int, default=1, help="of the worker")
    options.add_argument("--fail-every", type=int, default=0, help="refuse one call of so many; 20 are 5 %%")
    options.add_argument("--write", type=Path)
    given = options.parse_args()
    rows, met = measure(given)
    print(rows)
    if given.write:
        command = (
            f"`python -m bench.batch --calls {given.calls} --rounds {given.rounds} --processes {given.processes}"
            f" --fail-every {given.fail_every}`"
        )
        name, title = name_of(given)
        text = (
            f"## {title}\n\n{(__doc__ or '').strip().splitlines()[0]}\n\n{rows}\n\n"
            f"{command}, {datetime.now(UTC):%Y-%m-%d}, {machine()}, median of {given.rounds}.\n"
        )
        write_section(given.write, name, text)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
