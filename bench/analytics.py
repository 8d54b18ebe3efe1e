"""How long questions about a year of executions take, as the application asks them, beside plain SQL over the rows.

    python -m bench.analytics [--rows 1000000 …] [--workspaces 50] [--write bench/RESULTS.md]

Row security is on. Each question is asked in ten workspaces of ordinary size and in the one that has a tenth of all
rows, each time in a transaction of its own; told is the median over the ordinary ones. Before that it is seen that the
sums are those of the rows. Of several numbers of rows each is loaded into a home of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import psutil
import psycopg
import sqlalchemy as sa

from bench import executions as load
from bench.engine import Target, machine, say, write_section
from bench.questions import TOP_ALL, questions
from promptcard_ext.core.contract.analytics import (
    CaseQuery,
    ExecutionFilter,
    FoundCaseQuery,
    LatencyQuery,
)
from server_ext.auth.actor import Actor
from server_ext.db import rollups
from server_ext.db.engine import Database
from server_ext.embedded import Services
from server_ext.keys import load_ring
from server_ext.runtime import ready_services
from server_ext.services import analytics, executions, workspaces
from server_ext.services.scope import Scope, open_scope
from server_ext.settings import Settings
from tests.support import temporary_home

ORDINARY, ROUNDS, BATCHES = 10, 5, 40


class Asked(NamedTuple):
    """Milliseconds: of ours in ordinary workspaces and in the large one, and of SQL over the rows in ordinary ones."""

    ours: float
    large: float
    floor: float | None


def measure(database: Database, actor: Actor, ids: list[UUID]) -> dict[str, Asked]:
    """Ask everything."""
    found = {}
    for question in questions():
        say(question.name)
        ordinary = [_ask(database, actor, one, question.ours) for one in ids[1 : 1 + ORDINARY] or ids]
        plain = sa.text(question.floor)
        floor = [
            _ask(database, actor, one, lambda scope: scope.connection.execute(plain).all())  # noqa: B023  It is asked at once.
            for one in ids[1 : 1 + ORDINARY]
            if question.floor
        ]
        large = _ask(database, actor, ids[0], question.ours)
        found[question.name] = Asked(statistics.median(ordinary), large, statistics.median(floor) if floor else None)
    say("")
    return found


def _ask(database: Database, actor: Actor, workspace: UUID, ask: Callable[[Scope], Any]) -> float:
    took = []
    for _ in range(ROUNDS):
        with open_scope(database, actor, str(workspace)) as scope:
            begin = time.perf_counter()
            ask(scope)
            took.append((time.perf_counter() - begin) * 1000)
    return statistics.median(took)


def check(database: Database, actor: Actor, ids: list[UUID]) -> float:
    """Return by which share percentiles are off at most; exit when a sum is not that of the rows."""
    worst = 0.0
    for workspace in (ids[0], ids[-1]):
        with open_scope(database, actor, str(workspace)) as scope:
            for since in (None, datetime.now(UTC).date() - timedelta(days=100)):
                ours = analytics.cases(scope, CaseQuery(since=since, order="most", limit=200)).rows
                after = datetime.combine(since, clock.min, UTC) if since else None
                rows = executions.cases(scope, FoundCaseQuery(completed_after=after, order="most", limit=200)).rows
                if not rows or [_exact(one) for one in ours] != [_exact(one) for one in rows]:
                    sys.exit(f"The sums by case of workspace {workspace} since {since} are not those of its rows.")
            worst = max(worst, *_errors(scope))
    return worst


def _exact(row: Any) -> tuple[Any, ...]:
    mean = None if row.latency_ms is None else f"{row.latency_ms:.9g}"  # a sum of floats in another order
    return (
        row.card_id, row.case_uid, row.name, row.items, row.passed, row.failed, row.errored, row.unscored, row.priced,
        row.cost_usd, mean,
    )  # fmt: skip


def _errors(scope: Scope) -> Iterator[float]:
    """Yield how far percentiles are off, by model and of all."""
    since = datetime.now(UTC).date() - timedelta(days=400)
    for row in analytics.latency(scope, LatencyQuery(since=since, group_by="model")).rows:
        yield from _error(row, executions.sums(scope, ExecutionFilter(model=row.key)))
    (total,) = analytics.latency(scope, LatencyQuery(since=since)).rows
    yield from _error(total, executions.sums(scope, ExecutionFilter()))


def _error(ours: Any, exact: Any) -> Iterator[float]:
    if (ours.items, ours.answered) != (exact.items, exact.answered):
        sys.exit(f"Latencies of {ours.key or 'all'}: {ours.items} are summed up, and there are {exact.items}.")
    for name in analytics.PERCENTILES:
        yield abs(getattr(ours, name) / getattr(exact, name) - 1)


def upkeep(database: Database, workspace: UUID, each: int) -> float:
    """Return microseconds of PostgreSQL's CPU a row that the sums of a batch cost; nothing of it stays.

    Args:
        each: Executions of one case in a batch: 12 of a run of few cases, or 1.
    """
    which = (
        f"select distinct on (card_version_id, case_uid) * from test_executions where model = '{load.MODELS[0]}'"
        " order by card_version_id, case_uid"
        if each == 1
        else "select * from test_executions where run_id = (select max(id::text)::uuid from runs) order by ordinal"
    )
    with database.transaction(workspace) as connection:
        query = f"select json_agg(one) from ({which} limit {load.ITEMS}) as one"
        rows = connection.exec_driver_sql(query).scalar_one()
    # As the statement of a batch has them: of now.
    stored = (
        "stored as materialized (select r.*, now() as completed_at from json_to_recordset(cast(%(rows)s as json)) as r"
        " ("
        "workspace_id uuid, run_id uuid, card_version_id uuid, case_uid text, case_position integer, model text,"
        " provider text, outcome text, latency_ms double precision, tokens_input bigint, tokens_output bigint,"
        " cost_usd numeric))"
    )
    sums = "".join(f", {name} as ({statement})" for name, statement in rollups.STATEMENTS.items())
    values = {"user_id": rollups.NOBODY, "rows": json.dumps(rows)}
    with_sums, without = (
        _cpu_s(database, workspace, f"with {stored}{more} select count(*) from stored", values) for more in (sums, "")
    )
    return (with_sums - without) / len(rows) * 1e6


def _cpu_s(database: Database, workspace: UUID, statement: str, values: dict[str, Any]) -> float:
    """Return the seconds of its backend's CPU that a statement takes, which is then undone."""
    used = 0.0
    for _ in range(BATCHES):
        with database.transaction(workspace) as connection:
            backend = psutil.Process(connection.exec_driver_sql("select pg_backend_pid()").scalar_one())
            begin = sum(backend.cpu_times()[:2])
            connection.exec_driver_sql(statement, values)
            used += sum(backend.cpu_times()[:2]) - begin
            connection.exec_driver_sql("rollback; begin")
    return used / BATCHES


class Outcomes(NamedTuple):
    """What was found; ``error`` is a share, ``upkeep`` µs a row by how many executions of a case are in a batch."""

    asked: dict[str, Asked]
    error: float
    upkeep: dict[int, float]
    loaded_s: float


def run(rows: int, places: int) -> Outcomes:
    """Load so many rows into a home of their own and measure."""
    with temporary_home() as home:
        settings = Settings(home=home)
        with (
            ready_services(settings) as services,
            Database(services.database_url, keys=load_ring(settings.keys_path)) as database,
        ):
            actor = workspaces.local_owner(database, "Bench")
            ids = [workspaces.create(database, actor, f"Bench {n}").id for n in range(places)]
            say(f"loading {rows:,} rows")
            begin = time.perf_counter()
            _load(services, ids, rows)
            loaded_s = time.perf_counter() - begin
            error = check(database, actor, ids)
            asked = measure(database, actor, ids)
            return Outcomes(asked, error, {each: upkeep(database, ids[-1], each) for each in (12, 1)}, loaded_s)


def _load(services: Services, ids: list[UUID], rows: int) -> None:
    url = (services.owner_database_url or "").replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as owner:
        load.load(owner, ids, rows)


def report(found: dict[int, Outcomes]) -> tuple[str, bool]:
    """Return the Markdown and whether the targets are met."""
    lines = []
    targets = []
    bounds = {question.name: question.bound for question in questions()}
    for rows, outcome in found.items():
        lines += [
            f"| {rows:,} executions | p50 ms | large workspace | SQL over the rows |",
            "|---|---:|---:|---:|",
        ]
        for name, one in outcome.asked.items():
            floor = "" if one.floor is None else f"{one.floor:.1f}"
            lines.append(f"| {name} | {one.ours:.1f} | {one.large:.1f} | {floor} |")
            if (bound := bounds[name]) is not None:
                targets.append(Target(f"{name}, {rows:,}", one.ours, bound, "ms"))
        targets.append(Target(f"error of percentiles, {rows:,}", outcome.error * 100, 1.0, "%"))
        for each, took in outcome.upkeep.items():
            targets.append(Target(f"upkeep a row, {each} of a case in a batch, {rows:,}", took, 15, "µs"))
        lines += ["", f"Loaded in {outcome.loaded_s:.0f} s; sums by case and latencies are those of the rows.", ""]
    sizes = sorted(found)
    if len(sizes) > 1:
        first, last = (found[size].asked[TOP_ALL].ours for size in (sizes[0], sizes[-1]))
        targets.append(Target(f"{TOP_ALL}, {sizes[-1]:,} over {sizes[0]:,}", last / first, 2, "×"))
    lines += ["| target | measured | bound | |", "|---|---|---|---|"]
    lines += [
        f"| {one.what} | {one.measured:.2f} {one.unit} | {one.bound:g} | {'met' if one.met else '**missed**'} |"
        for one in targets
    ]
    return "\n".join(lines), all(one.met for one in targets)


def main() -> None:
    """Measure, print, write; exit 1 when a target is missed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    options.add_argument("--workspaces", type=int, default=50)
    options.add_argument("--untimed", action="store_true", help="let no target be missed: see that it works, no more")
    options.add_argument("--write", type=Path)
    given = options.parse_args()
    found = {rows: run(rows, given.workspaces) for rows in given.rows}
    text, met = report(found)
    print(text)
    if given.write:
        command = f"python -m bench.analytics --rows {' '.join(map(str, given.rows))} --workspaces {given.workspaces}"
        section = (
            f"## Analytics\n\n{(__doc__ or '').strip().splitlines()[0]}\n\n{text}\n\n"
            f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, {machine()}\n"
        )
        write_section(given.write, "analytics", section)
    sys.exit(0 if met or given.untimed else 1)


if __name__ == "__main__":
    main()
