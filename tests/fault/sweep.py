"""Lets every statement, command and call of a run fail in turn, in each of three ways, and looks at what is left.

The worker is this process, so that its connections can be reached; whatever it raises is the end of a job, and the time
until its lease has run out is not waited for. Each point is a run of its own.
"""

from __future__ import annotations

import argparse
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import psycopg
import redis
import sqlalchemy as sa
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from promptcard_ext.core.contract.runs import FINAL, RunSpec
from server_ext.db.engine import Database
from server_ext.db.tables import tasks
from server_ext.embedded import Services
from server_ext.jobs import context, work
from server_ext.jobs.context import Context
from server_ext.keys import load_ring
from server_ext.runtime import ready_services
from server_ext.services import runs, workspaces
from server_ext.settings import Settings
from tests.fault.invariants import Evidence, ordinals, violations
from tests.fault.place import MODEL, lead_to
from tests.fault.referee import Referee
from tests.support import Tenant, new_tenant, temporary_home

CASES = 20
# Far more jobs than one failure can cost.
MOST_JOBS = 12
OFTEN = 5
# Threads make the number of calls differ a little from run to run: so often a point is sought.
TRIES = 5
Layer = Literal["database", "redis", "http"]
How = Literal["error", "timeout", "done"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
HOWS: tuple[How, ...] = get_args(How)
# What a provider does, that the same comes of it: it refuses, it says nothing, it has answered and nobody heard it.
FAULTS: dict[How, str] = {"error": "503", "timeout": "silence", "done": "reset"}
_VALUE = re.compile(r"'[^']*'")


class Point(NamedTuple):
    """One call that fails: the ``nth`` of its kind, from 1."""

    kind: str
    nth: int


Choice = Callable[[Sequence[Point], How], Sequence[Point]]


class Failure:
    """Lets one call fail, and counts all of them by kind.

    Attributes:
        armed: Whether calls are counted at the moment.
        met: Whether the call that was to fail was made.
    """

    def __init__(self, point: Point | None, how: How) -> None:
        self._point, self._how = point, how
        self._lock = threading.Lock()
        self.counted: Counter[str] = Counter()
        self.armed = self.met = False

    def around(
        self, do: Callable[..., Any], kind_of: Callable[..., str], fail: Callable[[Any, Any, How], BaseException]
    ) -> Callable[..., Any]:
        """Return a function that is counted, and fails when its turn has come."""

        def done(*given: Any, **named: Any) -> Any:
            if not (self.armed and self._turn(kind_of(*given))):
                return do(*given, **named)
            result = do(*given, **named) if self._how == "done" else None
            raise fail(given, result, self._how)

        return done

    def _turn(self, kind: str) -> bool:
        with self._lock:
            self.counted[kind] += 1
            turn = self._point == (kind, self.counted[kind])
            self.met = self.met or turn
        return turn


def _statement(_: Any, query: Any, *more: Any) -> str:
    """Return what a statement does, whatever its values and however many its rows."""
    text = query.as_string(None) if isinstance(query, psycopg.sql.Composable) else str(query)
    return " ".join(_VALUE.sub("?", text).split())[:100]


def _statement_failed(given: Any, _: Any, how: How) -> BaseException:
    if how == "timeout":
        return psycopg.errors.QueryCanceled("canceling statement due to statement timeout")
    one = given[0]
    (one if isinstance(one, psycopg.Connection) else one.connection).close()
    return psycopg.OperationalError("server closed the connection unexpectedly")


def _connection_failed(_: Any, made: Any, how: How) -> BaseException:
    if made is not None:
        made.close()
    return psycopg.OperationalError("connection timeout expired" if how == "timeout" else "connection refused")


def _command_failed(_: Any, __: Any, how: How) -> BaseException:
    return RedisConnectionError("Connection reset") if how == "error" else RedisTimeoutError("Timeout reading")


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _injected(layer: Layer, failure: Failure) -> Iterator[None]:
    with ExitStack() as stack:
        if layer == "database":
            cursor, connection = psycopg.Cursor, psycopg.Connection
            execute = failure.around(cursor.execute, _statement, _statement_failed)
            commit = failure.around(connection.commit, lambda _: "commit", _statement_failed)
            connect = failure.around(psycopg.connect, lambda *_: "connect", _connection_failed)
            stack.enter_context(_replaced(cursor, "execute", execute))
            stack.enter_context(_replaced(connection, "commit", commit))
            stack.enter_context(_replaced(psycopg, "connect", connect))
        elif layer == "redis":
            do = redis.Redis.execute_command
            command = failure.around(do, lambda _, name, *more: str(name), _command_failed)
            stack.enter_context(_replaced(redis.Redis, "execute_command", command))
        yield


@dataclass
class Tally:
    """What came of the points of one layer and one way to fail.

    Attributes:
        kinds: How many kinds of calls there are.
        unmet: How many points did not come about again, however often they were sought.
        wrong: What does not hold, by point.
    """

    layer: Layer
    how: How
    kinds: int = 0
    points: int = 0
    unmet: int = 0
    seconds: float = 0.0
    wrong: dict[Point, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.layer}, {self.how}: {self.points} points of {self.kinds} kinds ({self.unmet} not met) in "
            f"{self.seconds:.0f} s; {len(self.wrong)} wrong"
        )


class Sweep:
    """Runs of one workspace, in each of which something fails.

    Args:
        place: Calls the referee.
        other: Any other workspace.
    """

    def __init__(self, services: Services, settings: Settings, place: Tenant, other: Tenant, referee: Referee) -> None:
        self._services, self._settings = services, settings
        self._place, self._other, self._referee = place, other, referee
        place.fill(CASES)

    def over(self, layer: Layer, how: How, choose: Choice) -> Tally:
        """Let the chosen of all points fail, one in a run."""
        began, tally = time.monotonic(), Tally(layer, how)
        counted, wrong = self._once(layer, how, None)
        assert not wrong, wrong
        points = [Point(kind, nth + 1) for kind, number in counted.counted.items() for nth in range(number)]
        tally.kinds = len(counted.counted)
        for point in choose(points, how):
            failure, wrong = self._until_met(layer, how, point)
            tally.points += 1
            tally.unmet += not failure.met
            if wrong:
                tally.wrong[point] = wrong
        tally.seconds = time.monotonic() - began
        return tally

    def _until_met(self, layer: Layer, how: How, point: Point) -> tuple[Failure, list[str]]:
        for _ in range(TRIES):
            failure, wrong = self._once(layer, how, point)
            if failure.met or wrong:
                break
        return failure, wrong

    def _once(self, layer: Layer, how: How, point: Point | None) -> tuple[Failure, list[str]]:
        before, failure = self._referee.calls(), Failure(point, how)
        if layer == "http":
            failure.counted["call"] = CASES
            failure.met = True
            self._referee.plan(*([(f"Ada {point.nth - 1}.", FAULTS[how], 1)] if point else []))
        # A provider that says nothing is waited for so long; it is not to be waited for long, and no other is slow.
        timeout_s = 1.0 if layer == "http" else 10.0
        with self._place.scope() as scope:
            spec = RunSpec(card="greet", models=[MODEL], concurrency=8, timeout_s=timeout_s)
            run_id = str(runs.create(scope, spec).id)
        with self._worker(), _injected(layer, failure):
            self._carry_out(run_id, failure)
        calls = ordinals(self._referee.calls() - before)
        evidence = Evidence(run_id, CASES, calls, most=2 if layer == "http" else 1, in_flight=CASES)
        # The sums of a workspace are over all of its runs, and so `_sums_agree` compares them.
        wrong = [line for line in violations(self._place, self._other, evidence) if not line.startswith("7: results")]
        if (status := self._place.status(run_id)) != "completed":
            wrong.append(status)
        if not self._sums_agree():
            wrong.append("sums")
        return failure, wrong

    @contextmanager
    def _worker(self) -> Iterator[None]:
        """Make this process a worker that has no connections yet."""
        services, keys = self._services, load_ring(self._settings.keys_path)
        home = self._settings.home
        made = Context(services.database_url, services.redis_url, "here", keys, lease_s=20, home=home)
        before = context._current
        context.install(made)
        yield
        made.close()
        context._current = before

    def _carry_out(self, run_id: str, failure: Failure) -> None:
        """Take up jobs until the run has ended; each failure is the end of one."""
        for _ in range(MOST_JOBS):
            failure.armed = True
            with suppress(Exception):
                work.do(str(self._place.id), run_id)
            failure.armed = False
            if self._place.status(run_id) in FINAL:
                return
            self._lapse()

    def _lapse(self) -> None:
        """Let the time of all leases, offers and waits be over."""
        ago = sa.func.clock_timestamp() - sa.text("interval '1 second'")
        with self._place.scope() as scope:
            live = tasks.c.state.in_(("queued", "leased"))
            lease = sa.case((tasks.c.state == "leased", ago), else_=None)
            values = {"lease_until": lease, "offered_until": None, "not_before": None}
            scope.connection.execute(sa.update(tasks).where(live).values(values))

    def _sums_agree(self) -> bool:
        """Tell whether results, runs and sums by hour of all runs agree."""
        query = sa.text(
            """with run as (select sum(recorded)::numeric as n, sum(cost_usd) as usd from runs where workspace_id = :w),
                hours as (select sum(n)::numeric as n, sum(cost_usd) as usd from rollup_hours where workspace_id = :w),
                results as (
                    select count(*)::numeric as n, sum(cost_usd) as usd from test_executions where workspace_id = :w
                )
            select run = hours and run = results from run, hours, results"""
        )
        with self._place.scope() as scope:
            return bool(scope.connection.execute(query, {"w": self._place.id}).scalar_one())


def all_of(points: Sequence[Point], how: How) -> Sequence[Point]:
    """Choose all points."""
    return points


def spread(points: Sequence[Point], how: How) -> Sequence[Point]:
    """Choose one point of each kind that is done but reported as failed, and otherwise of every second kind.

    It is the first of its kind; of calls that are made often the first, one in the middle or the last.
    """
    chosen, turn = [], HOWS.index(how)
    for place, (kind, number) in enumerate(Counter(point.kind for point in points).items()):
        if how == "done" or place % 2 == turn or number >= OFTEN:
            nth = (1, (number + 1) // 2, number)[turn] if number >= OFTEN else 1
            chosen.append(Point(kind, nth))
    return chosen


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("sweep", help="let every call of a run fail in turn", description=__doc__)
    parser.add_argument("--spread", action="store_true", help="some points of each kind, as the tests do")
    parser.set_defaults(command=_sweep)


def _sweep(arguments: argparse.Namespace) -> int:
    tallies: list[Tally] = []
    with temporary_home() as home, ExitStack() as stack:
        settings = Settings(home=home)
        services = stack.enter_context(ready_services(settings))
        database = stack.enter_context(Database(services.database_url, pool_size=4, keys=load_ring(settings.keys_path)))
        referee = stack.enter_context(Referee(home.parent / "calls.jsonl"))
        me = workspaces.local_owner(database, "Ada")
        other = new_tenant(database, me, "Other")
        for layer in LAYERS:
            for how in HOWS:
                place = new_tenant(database, me, f"{layer} {how}")
                lead_to(place, referee)
                sweep = Sweep(services, settings, place, other, referee)
                tallies.append(sweep.over(layer, how, spread if arguments.spread else all_of))
                print(tallies[-1], flush=True)
                for point, lines in tallies[-1].wrong.items():
                    print(f"  {point}: {lines[:3]}", flush=True)
    wrong = sum(len(tally.wrong) for tally in tallies)
    print(f"{sum(tally.points for tally in tallies)} points, {wrong} wrong")
    return 1 if wrong else 0
