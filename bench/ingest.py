"""How fast results are written, with everything beside them, next to a bare COPY of the same rows in the same run.

    python -m bench.ingest [--rows 20000] [--writers 2] [--one-run] [--rounds 5] [--write bench/RESULTS.md]

What is timed is the work of recorders, two at once as two workers have them, from a result of the engine to the commit,
in batches of 500: the ledger of calls opened and closed, answers, executions with their assertions, sums by hour,
counts and event of the run, in the application's role, behind row security. COPY writes the rows of executions and
answers alone, as the owner, into tables with the same columns and indexes and nothing else: no foreign key, no row
security.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import psutil
import psycopg
import sqlalchemy as sa
from msgspec.structs import replace

from bench.engine import ANSWER, Target, machine, say, write_section
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.runs import RunSpec
from promptcard_ext.core.item import Item
from promptcard_ext.core.results import Generation, ItemResult, Outcome, Tokens, Verdict
from server_ext.db.engine import Database
from server_ext.db.tables import rollup_hours, runs, tasks, test_executions
from server_ext.embedded import Services
from server_ext.keys import load_ring
from server_ext.runtime import ready_services
from server_ext.services import cards, cases, recording, shards, storing, workspaces
from server_ext.services import runs as run_service
from server_ext.services import tasks as task_service
from server_ext.settings import Settings
from tests.support import Tenant, new_tenant, temporary_home

BATCH = 500
CASES = 250
TABLES = ("generations", "test_executions")


class Sample(NamedTuple):
    """One round: rows a second and microseconds of CPU a row, of the client and of its PostgreSQL backend."""

    rows_s: float
    client_us: float
    backend_us: float


class Stopwatch:
    """Wall time, and CPU of this process and of backends."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._backends = [psutil.Process(pid) for pid in pids]
        self._begin = self._now()

    def _now(self) -> tuple[float, float, float]:
        used = sum(times.user + times.system for times in (one.cpu_times() for one in self._backends))
        return time.perf_counter(), time.process_time(), used

    def sample(self, rows: int) -> Sample:
        """Return what so many rows have taken."""
        wall, client, backend = (now - then for now, then in zip(self._now(), self._begin, strict=True))
        return Sample(rows / wall, client / rows * 1e6, backend / rows * 1e6)


def start(tenant: Tenant, rows: int) -> UUID:
    """Make a run of so many items."""
    checks = (Assertion("contains", "42 EUR"), Assertion("regex", r"total is \d+"), Assertion("is-json"))
    with tenant.scope() as scope:
        cards.save_version(scope, Card("invoice", "Read invoice {{ number }} and answer with a JSON object."))
        cases.replace_all(scope, "invoice", [Case({"number": n}, checks, name=str(n)) for n in range(CASES)])
    spec = RunSpec(card="invoice", models=["simulated:echo"], repeats=max(1, rows // CASES), concurrency=128)
    with tenant.scope() as scope:
        return run_service.create(scope, spec).id


def results(shard: shards.Shard) -> Iterator[tuple[Item, ItemResult]]:
    """Yield what the engine would: an answer and three verdicts an item."""
    for number, item in enumerate(shard.plan.items()):
        case = shard.plan.cases[item.case]
        verdicts = tuple(Verdict(one.uid, one.type, Outcome.PASS) for one in case.assertions)
        answer = Generation(
            "simulated", "echo", f"{number:064x}", ANSWER, 20.0 + number % 977 / 10, Tokens(60, 30), "stop",
            cost_usd=Decimal("0.000123"),
        )  # fmt: skip
        yield item, ItemResult(
            item.ordinal, "invoice", 1, "invoice@1", "simulated:echo", case.name, case.uid, item.repeat, Outcome.PASS,
            verdicts=verdicts, generation=answer, score=1.0,
        )  # fmt: skip


def leases(tenant: Tenant, run_id: UUID) -> list[task_service.Lease]:
    """Lease all shards of a run."""
    with tenant.scope() as scope:
        query = sa.select(tasks.c.id).where(tasks.c.workspace_id == tenant.id, tasks.c.run_id == run_id)
        ids = scope.connection.execute(query.order_by(tasks.c.first_ordinal)).scalars().all()
    found = [task_service.claim(tenant.database, tenant.id, one, "bench", 3600) for one in ids]
    return [one for one in found if one is not None]


class Writer:
    """A recorder's work on a run, or on one of several equal parts of it.

    Args:
        lease: One of the run's; each part has another.
        rows: Of the whole run.
        part, parts: Which part, from 0, of how many.
    """

    def __init__(self, tenant: Tenant, lease: task_service.Lease, rows: int, part: int = 0, parts: int = 1) -> None:
        self._tenant, self._lease = tenant, lease
        self._shard = _whole(tenant, lease, rows)
        self._prepared = self._shard.plan.prepare()
        size = rows // parts
        self._made = list(islice(results(self._shard), part * size, (part + 1) * size))

    def write(self) -> None:
        """Record all results."""
        database = self._tenant.database
        for part in _parts(self._made):
            task_service.open_attempts(database, self._lease, [result.ordinal for _, result in part])
            batch = [
                recording.recorded(self._prepared, item, result, self._shard.version_ids[0]) for item, result in part
            ]
            storing.store(database, self._lease, batch)


def write(tenant: Tenant, rows: int, writers: int, *, one_run: bool = False) -> Sample:
    """Record runs of together so many rows, and check that every row and every sum is there.

    Args:
        one_run: Whether all writers work on the same run, and take turns on its row.
    """
    parts = writers if one_run else 1
    run_ids = [start(tenant, rows * parts // writers) for _ in range(writers // parts)]
    each = rows // len(run_ids)
    work = [
        Writer(tenant, lease, each, part, parts)
        for run_id in run_ids
        for part, lease in enumerate(leases(tenant, run_id)[:parts])
    ]
    with ExitStack() as opened:
        # All at once, so that each is another connection of the pool.
        scopes = [opened.enter_context(tenant.scope()) for _ in work]
        pids = [scope.connection.exec_driver_sql("select pg_backend_pid()").scalar_one() for scope in scopes]
    watch = Stopwatch(pids)
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(Writer.write, work))
    sample = watch.sample(each * len(run_ids))
    check(tenant, run_ids, each)
    return sample


def _whole(tenant: Tenant, lease: task_service.Lease, rows: int) -> shards.Shard:
    """Load the run as if it were one shard."""
    return shards.load(tenant.database, replace(lease, first_ordinal=0, last_ordinal=rows - 1, ordinals=None))


def _parts(made: list[tuple[Item, ItemResult]]) -> Iterator[list[tuple[Item, ItemResult]]]:
    source = iter(made)
    while part := list(islice(source, BATCH)):
        yield part


def check(tenant: Tenant, run_ids: Sequence[UUID], each: int) -> None:
    """Exit unless as many are in the table, in the runs' counts and in the sums by hour."""
    rows = each * len(run_ids)
    with tenant.scope() as scope:
        stored = sa.select(sa.func.count()).select_from(test_executions).where(test_executions.c.run_id.in_(run_ids))
        counted = sa.select(sa.func.sum(runs.c.recorded)).where(runs.c.id.in_(run_ids))
        summed = sa.select(sa.func.sum(rollup_hours.c.n))
        found = [scope.connection.execute(query).scalar_one() for query in (stored, counted, summed)]
    if found != [rows] * 3:
        sys.exit(f"{rows} rows were written; {found} are in the table, in the counts and in the sums.")


def copy(services: Services, tenant: Tenant, rows: int) -> Sample:
    """Write the rows that a workspace has once more, with COPY."""
    with _connect(services.backup_database_url) as reader:
        data = [
            _read(reader, f"copy (select * from {name} where workspace_id = '{tenant.id}') to stdout")
            for name in TABLES
        ]
    with _connect(services.owner_database_url) as connection:
        for name in TABLES:
            connection.execute(f"create table bench_{name} (like {name} including all)")
        watch = Stopwatch([connection.info.backend_pid])
        for name, lines in zip(TABLES, data, strict=True):
            parts = lines.splitlines(keepends=True)
            for begin in range(0, len(parts), BATCH):
                with connection.cursor().copy(f"copy bench_{name} from stdin") as into:
                    into.write(b"".join(parts[begin : begin + BATCH]))
        sample = watch.sample(rows)
        for name in TABLES:
            connection.execute(f"drop table bench_{name}")
    return sample


def _connect(url: str | None) -> psycopg.Connection:
    return psycopg.connect((url or "").replace("+psycopg", ""), autocommit=True)


def _read(connection: psycopg.Connection, statement: str) -> bytes:
    with connection.cursor().copy(statement) as out:
        return b"".join(bytes(block) for block in out)


def measure(
    services: Services, database: Database, rows: int, rounds: int, writers: int, *, one_run: bool
) -> dict[str, list[Sample]]:
    """Measure both, in turns, each round in a workspace of its own."""
    actor = workspaces.local_owner(database, "Bench")
    samples: dict[str, list[Sample]] = {"everything": [], "copy": []}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        tenant = new_tenant(database, actor)
        samples["everything"].append(write(tenant, rows, writers, one_run=one_run))
        samples["copy"].append(copy(services, tenant, rows))
    say("")
    return samples


def medians(samples: list[Sample]) -> Sample:
    """Return the median of each column."""
    return Sample(*(statistics.median(column) for column in zip(*samples, strict=True)))


def report(samples: dict[str, list[Sample]], rows: int) -> tuple[str, bool]:
    """Return the Markdown and whether the targets are met."""
    names = {"everything": "results with everything beside them", "copy": "bare COPY of the same rows"}
    lines = ["| | rows/s | client µs a row | backend µs a row |", "|---|---:|---:|---:|"]
    found = {key: medians(rounds) for key, rounds in samples.items()}
    lines += [
        f"| {names[key]} | {one.rows_s:,.0f} | {one.client_us:.0f} | {one.backend_us:.0f} |"
        for key, one in found.items()
    ]
    ours = found["everything"]
    targets = [
        Target("seconds for 10,000 rows", 10_000 / ours.rows_s, 1.0, "s"),
        Target("client CPU a row", ours.client_us, 60, "µs"),
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
    options.add_argument("--rows", type=int, default=20_000)
    options.add_argument("--writers", type=int, default=2, help="recorders at once, each of a run of its own")
    options.add_argument("--one-run", action="store_true", help="let all of them work on the same run")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--write", type=Path)
    given = options.parse_args()
    with temporary_home() as home:
        settings = Settings(home=home)
        with (
            ready_services(settings) as services,
            Database(services.database_url, pool_size=given.writers, keys=load_ring(settings.keys_path)) as database,
        ):
            samples = measure(services, database, given.rows, given.rounds, given.writers, one_run=given.one_run)
    rows, met = report(samples, given.rows)
    print(rows)
    if given.write:
        text = (
            f"## Writing results\n\n{(__doc__ or '').strip().splitlines()[0]}\n\n{rows}\n\n"
            f"`python -m bench.ingest --rows {given.rows} --writers {given.writers} --rounds {given.rounds}"
            f"{' --one-run' if given.one_run else ''}`, "
            f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, median of {given.rounds}.\n"
        )
        write_section(given.write, "ingest", text)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
