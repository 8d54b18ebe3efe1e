"""What several folders of tests need: homes, processes, polling."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

import psutil

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.runs import RunOut, RunQuery, RunSpec
from server_ext import embedded
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.services import cards, cases, run_control, runs, workspaces
from server_ext.services.scope import Scope, open_scope
from server_ext.settings import Settings

T = TypeVar("T")
ECHO = "simulated:echo"
# Long enough that a run of a few cases can be met in the middle.
SLOW = "simulated:steady?latency_ms=400&spread=0"
GREET = Card("greet", "Say hello to {{ who }}.")


def wait_for(look: Callable[[], T], timeout_s: float = 30.0) -> T:
    """Look again and again until there is something true to see, and return it."""
    give_up = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < give_up, f"not within {timeout_s:g} s"
        time.sleep(0.02)
    return found


def greetings(count: int) -> list[Case]:
    """Return cases for the card ``GREET``; the echo passes them all."""
    return [Case({"who": f"Ada {n}"}, (Assertion("contains", f"Ada {n}."),), name=f"ada-{n}") for n in range(count)]


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@contextmanager
def temporary_home() -> Iterator[Path]:
    """Yield a home that does not exist yet, in a folder that PostgreSQL's own user can enter; gone afterwards."""
    base = Path(tempfile.mkdtemp(prefix="promptcards-test-"))
    base.chmod(0o755)
    try:
        yield base / "home"
    finally:
        embedded.remove_home(Settings(home=base / "home"))
        shutil.rmtree(base)


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment for our programs: this home, and nothing of the machine's settings or providers."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PROMPTCARDS_", "JPY_", "JUPYTER", "OPENAI_", "OLLAMA_", "PYTEST_"))
    }
    folder = home.parent
    return {
        **kept,
        "PROMPTCARDS_HOME": str(home),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "COLUMNS": "200",
        **more,
    }


class Program:
    """One of our commands as a process in a session of its own; killed, with its children, when the test ends.

    Attributes:
        before: What it is started by, such as ``ip netns exec``.
    """

    before: Sequence[str] = ()

    def __init__(self, home: Path, *arguments: str, **more: str) -> None:
        self.home, self.arguments = home, arguments
        handle, name = tempfile.mkstemp(prefix="program-", suffix=".log", dir=home.parent)
        self.log = Path(name)
        self.process = subprocess.Popen(
            [*self.before, sys.executable, "-m", "promptcard_ext.cli", *arguments],
            env=environment(home, **more),
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
        )
        os.close(handle)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def family(self) -> list[psutil.Process]:
        """Return the process and all that it started."""
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def horses(self) -> list[psutil.Process]:
        """Return the jobs that a worker has forked."""
        return self.family()[1:]

    def kill(self) -> None:
        """Kill this process only."""
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        """Kill the process and its children at once, as a machine that fails does."""
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 30.0) -> float:
        """Ask it to end; return how many seconds that took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout_s)
        return time.monotonic() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(f"--- {' '.join(self.arguments)} ---\n{self.output}")
        self.kill_all()


def run_command(home: Path, *arguments: str, timeout_s: float = 120.0, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one of our commands to its end."""
    return subprocess.run(
        [sys.executable, "-m", "promptcard_ext.cli", *arguments],
        env=environment(home, **more),
        cwd=home.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
    )


@dataclass(frozen=True)
class Tenant:
    """A workspace, and somebody in it."""

    database: Database
    actor: Actor
    id: UUID
    slug: str

    @contextmanager
    def scope(self) -> Iterator[Scope]:
        with open_scope(self.database, self.actor, str(self.id)) as scope:
            yield scope

    def fill(self, count: int = 3, card: Card = GREET) -> None:
        """Save a card and its cases."""
        with self.scope() as scope:
            cards.save_version(scope, card)
            cases.replace_all(scope, card.name, greetings(count))

    def start(self, models: Sequence[str] = (ECHO,), *, count: int = 3, repeats: int = 1, concurrency: int = 16) -> str:
        """Start a run of ``count`` cases and return its id."""
        self.fill(count)
        spec = RunSpec(card="greet", models=list(models), repeats=repeats, concurrency=concurrency)
        with self.scope() as scope:
            return str(runs.create(scope, spec).id)

    def run(self, run_id: str) -> RunOut:
        with self.scope() as scope:
            return runs.get(scope, run_id)

    def status(self, run_id: str) -> str:
        return self.run(run_id).status

    def recorded(self, run_id: str) -> int:
        return self.run(run_id).counts.done

    def give_up_runs(self) -> None:
        """Cancel whatever has not ended, so that no worker of a later test is busy with it."""
        with self.scope() as scope:
            for run in runs.list_runs(scope, RunQuery(limit=200)).items:
                run_control.cancel(scope, str(run.id))


def new_tenant(database: Database, actor: Actor, name: str = "Test") -> Tenant:
    """Make a workspace."""
    made = workspaces.create(database, actor, name)
    return Tenant(database, actor, made.id, made.slug)
