"""A server and a worker as processes of their own, on services of their own, for measurements of whole runs."""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import UUID

import psutil
import sqlalchemy as sa
from redis import Redis

from bench.engine import PROMPT, Stub
from promptcard_ext.core.contract.runs import FINAL
from server_ext.db.engine import Database
from server_ext.db.tables import runs, test_executions
from server_ext.embedded import postgres, valkey
from server_ext.embedded.home import find_home
from server_ext.keys import load_ring
from server_ext.runtime import ready_services
from server_ext.settings import Settings
from tests.support import Program, free_port, wait_for

TOKEN = "bench"
CONCURRENCY = 128
CHECKS = [
    {"type": "contains", "value": "42 EUR"},
    {"type": "regex", "value": r"total is \d+"},
    {"type": "is-json"},
]


def cpu_s(root: psutil.Process) -> float:
    """Return the CPU seconds of a process, of all that it has started, and of those of them that have ended."""
    total = 0.0
    for one in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            used = one.cpu_times()
            total += used.user + used.system + used.children_user + used.children_system
    return total


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
        self.redis = self._stack.enter_context(Redis.from_url(services.redis_url))
        self.redis_url = services.redis_url

    def __enter__(self) -> Site:
        self.workspace_id = UUID(self.ask("GET", "workspaces/personal")["id"])
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

    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds that each part has used."""
        return {name: cpu_s(process) for name, process in self.parts().items()}

    def card(self, name: str, cases: int) -> None:
        """Save a card and its cases."""
        template = PROMPT.replace("{}", "{{ number }}")
        self.ask("POST", "workspaces/personal/cards", {"name": name, "template": template})
        made = [{"name": str(n), "variables": {"number": n}, "assertions": CHECKS} for n in range(cases)]
        self.ask("PUT", f"workspaces/personal/cards/{name}/cases", {"cases": made})

    def start(self, card: str, repeats: int = 1) -> str:
        """Start a run, which is the click, and return its id."""
        body = {"card": card, "models": ["openai:bench"], "repeats": repeats, "concurrency": CONCURRENCY}
        return str(self.ask("POST", "workspaces/personal/runs", body)["id"])

    def end(self, run_id: str) -> None:
        """Wait until a run has ended, by looks into the database: the server is not asked."""
        wait_for(lambda: self._status(run_id) in FINAL, 900)

    def _status(self, run_id: str) -> str:
        with self.database.transaction(self.workspace_id) as connection:
            query = sa.select(runs.c.status).where(runs.c.id == UUID(run_id))
            return str(connection.execute(query).scalar_one())

    def socket(self, run_id: str) -> str:
        """Return the address of a run's events."""
        return f"ws://127.0.0.1:{self.port}/promptcards/api/v1/workspaces/personal/runs/{run_id}/events?after=0"

    def stored(self, run_id: str) -> tuple[int, int, int]:
        """Return how many rows a run has, how many it counts, and how many its shards are."""
        with self.database.transaction(self.workspace_id) as connection:
            e = test_executions.c
            rows = connection.execute(sa.select(sa.func.count()).where(e.run_id == UUID(run_id))).scalar_one()
            recorded = connection.execute(sa.select(runs.c.recorded).where(runs.c.id == UUID(run_id))).scalar_one()
            shards = sa.text("select count(*) from tasks where run_id = :run and kind = 'run_shard'")
            return rows, recorded, connection.execute(shards, {"run": run_id}).scalar_one()
