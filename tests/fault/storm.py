"""A storm: workers are killed, PostgreSQL ends at once, Redis forgets everything, and a run goes on all the while."""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psutil
import sqlalchemy as sa

from server_ext import embedded
from server_ext.db.engine import Database
from server_ext.db.tables import attempts
from server_ext.embedded import postgres, valkey
from server_ext.embedded.home import Home, open_home
from server_ext.keys import load_ring
from server_ext.runtime import ready_services
from server_ext.services import workspaces
from server_ext.settings import Settings
from tests.fault.invariants import Evidence, ordinals, violations
from tests.fault.place import MODEL, lead_to
from tests.fault.referee import Referee
from tests.support import Program, Tenant, new_tenant, temporary_home

ENDED = ("completed", "cancelled", "failed")


@dataclass(frozen=True)
class Weather:
    """How bad it is.

    Attributes:
        kill_every_s: Mean time between two kills, as long as somebody is at work.
        orphans: Share of kills of a worker that leave its job alive. Of the others half take both, half the job.
        pg_restart_s: Shortest and longest time between two ends of PostgreSQL.
        redis: What becomes of Redis, in turn: ``flushall``, ``kill9``.
        redis_s: Shortest and longest time between two of these.
        kills, restarts: How many.
    """

    executions: int = 10_000
    workers: int = 6
    concurrency: int = 16
    latency_s: float = 0.05
    lease_s: float = 3.0
    kill_every_s: float = 0.6
    orphans: float = 0.4
    pg_restart_s: tuple[float, float] = (6.0, 12.0)
    redis: tuple[str, ...] = ("flushall", "kill9") * 3
    redis_s: tuple[float, float] = (20.0, 40.0)
    kills: int = 300
    restarts: int = 20
    give_up_s: float = 900.0

    @property
    def faults(self) -> int:
        """How much harm is done in all."""
        return self.kills + self.restarts + len(self.redis)


@dataclass
class Toll:
    """What a storm did, and what came of it."""

    seed: int
    kills: dict[str, int] = field(default_factory=lambda: {"worker": 0, "job": 0, "both": 0})
    restarts: int = 0
    redis: int = 0
    seconds: float = 0.0
    recorded: int = 0
    calls: int = 0
    surplus: int = 0
    unknown: int = 0
    late: int = 0
    status: str = ""
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        killed = ", ".join(f"{number} {what}" for what, number in self.kills.items())
        return (
            f"seed {self.seed}: {self.status}, {self.recorded} recorded in {self.seconds:.1f} s; "
            f"{sum(self.kills.values())} kills ({killed}), "
            f"{self.restarts} ends of PostgreSQL, {self.redis} of Redis; "
            f"{self.calls} calls, {self.surplus} surplus; {self.unknown} attempts unknown, {self.late} late; "
            f"{len(self.wrong)} violations"
        )


class Storm:
    """One storm over one run.

    The provider gives its answers as the harm is done, so that the run cannot end before the storm does.
    """

    def __init__(self, weather: Weather, seed: int, settings: Settings, referee: Referee, stack: ExitStack) -> None:
        self._weather, self._settings, self._referee, self._stack = weather, settings, referee, stack
        self._chance = random.Random(seed)
        self.toll = Toll(seed)
        self._workers: list[Program] = []

    @property
    def _home(self) -> Home:
        return open_home(self._settings.home)

    def rage(self, tenant: Tenant, run_id: str) -> None:
        """Do harm until enough was done and the run has ended, or the time is over."""
        began = time.monotonic()
        weather, toll, now = self._weather, self.toll, 0.0
        next_kill, next_restart, next_redis = 0.0, self._after(weather.pg_restart_s), self._after(weather.redis_s)
        while now < weather.give_up_s:
            now = time.monotonic() - began
            self._keep_workers()
            self._allow()
            if now >= next_kill and sum(toll.kills.values()) < weather.kills:
                next_kill = now + weather.kill_every_s * self._chance.uniform(0.5, 1.5)
                self._kill()
            if now >= next_restart and toll.restarts < weather.restarts:
                self._end_postgres()
                next_restart = time.monotonic() - began + self._after(weather.pg_restart_s)
            if now >= next_redis and toll.redis < len(weather.redis):
                self._harm_redis(weather.redis[toll.redis])
                next_redis = time.monotonic() - began + self._after(weather.redis_s)
            self.toll.status = self._status(tenant, run_id) or self.toll.status
            if self.toll.status in ENDED:
                break
            time.sleep(0.05)
        self.toll.seconds = time.monotonic() - began

    def _after(self, between: tuple[float, float]) -> float:
        return self._chance.uniform(*between)

    def _allow(self) -> None:
        """Let the run get as far as the storm is, and to its end when all is done."""
        toll, weather = self.toll, self._weather
        done = sum(toll.kills.values()) + toll.restarts + toll.redis
        share = (done + 1) / (weather.faults + 1)
        self._referee.allow(int(weather.executions * share) if done < weather.faults else None)

    def _status(self, tenant: Tenant, run_id: str) -> str:
        with suppress(Exception):  # it may be away, and that is the point
            return tenant.status(run_id)
        return ""

    def _keep_workers(self) -> None:
        """Start workers anew, as whoever supervises them does."""
        self._workers = [worker for worker in self._workers if worker.process.poll() is None]
        while len(self._workers) < self._weather.workers:
            lease = f"{self._weather.lease_s:g}"
            worker = Program(self._settings.home, "worker", PROMPTCARDS_LEASE_S=lease)
            self._workers.append(self._stack.enter_context(worker))

    def _kill(self) -> None:
        at_work = [worker for worker in self._workers if worker.horses()]
        if not at_work:
            return
        worker = self._chance.choice(at_work)
        horses = worker.horses()
        if self._chance.random() < self._weather.orphans:
            what, victims = "worker", [psutil.Process(worker.pid)]
        elif self._chance.random() < 0.5:
            what, victims = "job", horses
        else:
            what, victims = "both", worker.family()
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        self.toll.kills[what] += 1

    def _end_postgres(self) -> None:
        """What ``pg_ctl stop -m immediate`` does, and a start."""
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if (pid := postgres.pid_of(self._home)) is not None:
                process = psutil.Process(pid)
                family = [process, *process.children(recursive=True)]
                os.kill(pid, signal.SIGQUIT)
                psutil.wait_procs(family, 30)
                self.toll.restarts += 1
        embedded.attach(self._settings).close()

    def _harm_redis(self, how: str) -> None:
        if how == "flushall":
            valkey.ask(self._home, "FLUSHALL")
        elif (pid := valkey.pid_of(self._home)) is not None:
            os.kill(pid, signal.SIGKILL)
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).wait(30)
            embedded.attach(self._settings).close()
        self.toll.redis += 1


@contextmanager
def _referee(folder: Path, latency_s: float) -> Iterator[Referee]:
    with Referee(folder / "calls.jsonl", latency_s) as referee:
        yield referee


def _attempts(tenant: Tenant, run_id: str, state: str) -> int:
    query = sa.select(sa.func.count()).where(attempts.c.run_id == UUID(run_id), attempts.c.state == state)
    with tenant.scope() as scope:
        return int(scope.connection.execute(query).scalar_one())


def storm(weather: Weather, seed: int) -> Toll:
    """Let a storm go over one run in a home of its own, and look at what is left."""
    with temporary_home() as home, ExitStack() as stack:
        settings = Settings(home=home)
        services = stack.enter_context(ready_services(settings))
        database = stack.enter_context(Database(services.database_url, pool_size=4, keys=load_ring(settings.keys_path)))
        referee = stack.enter_context(_referee(home.parent, weather.latency_s))
        me = workspaces.local_owner(database, "Ada")
        tenant, other = new_tenant(database, me), new_tenant(database, me, "Other")
        lead_to(tenant, referee)
        run_id = tenant.start([MODEL], count=weather.executions, concurrency=weather.concurrency)
        raging = Storm(weather, seed, settings, referee, stack)
        raging.rage(tenant, run_id)
        toll = raging.toll
        calls = ordinals(referee.calls())
        toll.calls = sum(calls.values())
        toll.surplus = sum(number - 1 for number in calls.values())
        toll.recorded = tenant.recorded(run_id)
        toll.unknown, toll.late = (_attempts(tenant, run_id, state) for state in ("unknown", "late"))
        # A worker that dies has as many calls in flight as the run allows. Only those are killed that are at work.
        in_flight = sum(toll.kills.values()) * weather.concurrency
        evidence = Evidence(run_id, weather.executions, calls, in_flight=in_flight)
        toll.wrong = violations(tenant, other, evidence)
        return toll


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    usual = Weather()
    parser = commands.add_parser("storm", help="kill workers and services while a run goes on", description=__doc__)
    parser.add_argument("--executions", type=int, default=usual.executions, metavar="N")
    parser.add_argument("--workers", type=int, default=usual.workers, metavar="N")
    parser.add_argument("--concurrency", type=int, default=usual.concurrency, metavar="N", help="calls of a shard")
    parser.add_argument("--latency", type=float, default=usual.latency_s, metavar="S", help="of the provider")
    parser.add_argument("--lease", type=float, default=usual.lease_s, metavar="S")
    parser.add_argument(
        "--kill-every", type=float, default=usual.kill_every_s, metavar="S", help="mean; from half to 1½"
    )
    parser.add_argument("--kills", type=int, default=usual.kills, metavar="N")
    parser.add_argument("--orphans", type=float, default=usual.orphans, metavar="P", help="share that kills the parent")
    parser.add_argument(
        "--pg-restart", type=_span, default=usual.pg_restart_s, metavar="A-B", help="seconds between two ends"
    )
    parser.add_argument("--restarts", type=int, default=usual.restarts, metavar="N")
    parser.add_argument("--redis", type=_redis, default=usual.redis, metavar="HOW,…", help="flushall and kill9")
    parser.add_argument("--redis-every", type=_span, default=usual.redis_s, metavar="A-B", help="seconds between two")
    parser.add_argument("--give-up", type=float, default=usual.give_up_s, metavar="S")
    parser.add_argument("--seeds", type=_seeds, default=[1], metavar="A-B", help="one storm each")
    parser.set_defaults(command=_storms)


def _span(text: str) -> tuple[float, float]:
    first, _, last = text.partition("-")
    return float(first), float(last or first)


def _seeds(text: str) -> list[int]:
    first, last = _span(text)
    return list(range(int(first), int(last) + 1))


def _redis(text: str) -> tuple[str, ...]:
    found = tuple(text.split(","))
    if set(found) - {"flushall", "kill9"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not of flushall and kill9")
    return found


def _storms(arguments: argparse.Namespace) -> int:
    weather = Weather(
        executions=arguments.executions,
        workers=arguments.workers,
        concurrency=arguments.concurrency,
        latency_s=arguments.latency,
        lease_s=arguments.lease,
        kill_every_s=arguments.kill_every,
        orphans=arguments.orphans,
        pg_restart_s=arguments.pg_restart,
        redis=arguments.redis,
        redis_s=arguments.redis_every,
        kills=arguments.kills,
        restarts=arguments.restarts,
        give_up_s=arguments.give_up,
    )
    failed = 0
    for seed in arguments.seeds:
        toll = storm(weather, seed)
        print(toll, flush=True)
        for line in toll.wrong[:20]:
            print(f"  {line}", flush=True)
        failed += bool(toll.wrong or toll.status != "completed")
    print(f"{len(arguments.seeds) - failed} passed, {failed} failed")
    return 1 if failed else 0
