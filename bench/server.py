"""What the server costs: beside a bare tornado handler and a bare authenticated jupyter_server handler, in one run.

    python -m bench.server [--rounds 5] [--cards 100000] [--seconds 4] [--write bench/RESULTS.md]

All answer the same bytes to the same load, from a process of its own (`bench.load`), one after the other in interleaved
rounds; figures are medians. CPU is user + system time of the server process, and of PostgreSQL and Valkey beside it,
per request. The server is the real one (`jupyter promptcards serve`) with the embedded services, row-level security on,
100,000 cards in the workspace, and an API token of a member as the credential.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import sqlalchemy as sa

from bench.engine import machine, write_section
from bench.search import fill, vocabulary
from promptcard_ext.core.contract.api_tokens import ApiTokenSpec
from server_ext import embedded
from server_ext.db.engine import Database, make_engine
from server_ext.db.tables import prompt_cards
from server_ext.keys import load_ring
from server_ext.runtime import ready_services
from server_ext.services import api_tokens, workspaces
from server_ext.services.paging import encode_cursor
from server_ext.services.scope import open_scope
from server_ext.settings import Settings
from tests.support import Program, free_port, temporary_home, wait_for

CONNECTIONS = 32
API = "/promptcards/api/v1"
TOKEN = "bench"


@dataclass(frozen=True)
class Target:
    """Something that can be asked: whom, for what, and by how many at once."""

    name: str
    server: str
    paths: Sequence[str]
    connections: int = CONNECTIONS
    method: str = "GET"
    bodies: Sequence[Any] = ()


@dataclass
class Figures:
    """What rounds of one target came to."""

    rate: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    services_ms: list[float] = field(default_factory=list)

    def median(self, name: str) -> float:
        return statistics.median(getattr(self, name))


Found = dict[str, Figures]


def load(port: int, target: Target, headers: dict[str, str], seconds: float) -> dict[str, Any]:
    """Ask for ``seconds``, and return what came of it."""
    spec = {
        "paths": list(target.paths),
        "headers": headers,
        "method": target.method,
        "bodies": list(target.bodies),
    }
    command = [sys.executable, "-m", "bench.load", "127.0.0.1", str(port), str(target.connections), str(seconds)]
    done = subprocess.run(command, input=json.dumps(spec), capture_output=True, encoding="utf-8", check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    odd = {status: n for status, n in found["statuses"].items() if status not in ("200", "201")}
    if odd:
        raise SystemExit(f"{target.name}: answers of {odd}")
    return found


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """Return the CPU seconds of some processes and of what they have started."""
    total = 0.0
    for process in processes:
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # ended meanwhile
                times = one.cpu_times()
                total += times.user + times.system
    return total


class Servers:
    """All servers that are measured, each a process; a context manager."""

    def __init__(self, home: Path, answer: Path) -> None:
        self._stack = ExitStack()
        self.home = home
        self.ports = {name: free_port() for name in ("tornado", "jupyter", "ours")}
        self.processes: dict[str, psutil.Process] = {}
        for kind in ("tornado", "jupyter"):
            command = [sys.executable, "-m", "bench.floors", kind, str(self.ports[kind]), str(answer)]
            floor = subprocess.Popen(command, env={**_environment(), "JUPYTER_TOKEN": TOKEN})
            self._stack.callback(floor.wait)
            self._stack.callback(floor.terminate)
            self.processes[kind] = psutil.Process(floor.pid)
        program = Program(home, "serve", "--port", str(self.ports["ours"]), JUPYTER_TOKEN=TOKEN, **LIMITS)
        self._stack.enter_context(program)
        self.processes["ours"] = psutil.Process(program.pid)

    def __enter__(self) -> Servers:
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait(self) -> None:
        """Wait until all answer."""
        for name, path in (("tornado", "/answer"), ("jupyter", "/answer"), ("ours", f"{API}/health")):
            wait_for(lambda port=self.ports[name], path=path: _answers(port, path), 60)  # type: ignore[misc]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return our server's answer to one request of its owner."""
        data = json.dumps(body).encode() if body is not None else None
        url = f"http://127.0.0.1:{self.ports['ours']}{API}/{path}"
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        with urlopen(Request(url, data, headers, method=method), timeout=60) as answer:
            return json.load(answer)


LIMITS = {"PROMPTCARDS_LIMITS": "authenticated=9000000/60/9000000"}


def _environment() -> dict[str, str]:
    return {**os.environ, "JUPYTER_CONFIG_DIR": tempfile.mkdtemp(), "PYTHONPATH": str(Path(__file__).parent.parent)}


def _answers(port: int, path: str) -> bool:
    try:
        request = Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"token {TOKEN}"})
        with urlopen(request, timeout=60) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def services(home: Path) -> list[psutil.Process]:
    """Return the processes of the home's PostgreSQL and Valkey."""
    state = embedded.status(Settings(home=home))
    return [psutil.Process(one.pid) for one in (state.postgres, state.valkey) if one.pid]


def measure(servers: Servers, targets: Sequence[Target], headers: dict[str, str], options: argparse.Namespace) -> Found:
    """Ask all targets in turn, as often as there are rounds."""
    found: Found = defaultdict(Figures)
    for number in range(options.rounds + 1):
        for target in targets:
            own, beside = [servers.processes[target.server]], services(servers.home)
            before, before_beside = cpu_s(own), cpu_s(beside)
            port = servers.ports[target.server]
            shown = headers if target.server == "ours" else {"Authorization": f"token {TOKEN}"}
            came = load(port, target, shown, options.seconds)
            if number == 0:
                continue  # modules are imported and connections opened in the first round
            figures = found[target.name]
            figures.rate.append(came["rate"])
            figures.p50_ms.append(came["p50_ms"])
            figures.p99_ms.append(came["p99_ms"])
            figures.cpu_ms.append((cpu_s(own) - before) / came["requests"] * 1000)
            figures.services_ms.append((cpu_s(beside) - before_beside) / came["requests"] * 1000)
        print(f"round {number} of {options.rounds}", file=sys.stderr)
    return found


def targets(names: Sequence[str], workspace: str, rounds: int) -> list[Target]:
    """Return all that is asked, floors first."""
    cards = f"{API}/workspaces/{workspace}/cards"
    fetched = [f"{cards}/{name}/fetch" for name in names]
    new = [{"name": f"new-{n}", "template": f"Say hello to {{{{ who }}}}, {n}."} for n in range(400_000)]
    return [
        Target("bare tornado", "tornado", ["/answer"]),
        Target("bare jupyter_server, authenticated", "jupyter", ["/answer"]),
        Target("list of 10, from PostgreSQL", "ours", _pages(cards, names, 10)),
        Target("list of 50, from PostgreSQL", "ours", _pages(cards, names, 50)),
        Target("one card, from memory", "ours", fetched[:200]),
        # Twice as many as are kept in memory: each has been pushed out when it is asked for again.
        Target("one card, from Redis", "ours", fetched[1_000:3_000]),
        Target("one card, from PostgreSQL", "ours", fetched[10_000:]),
        Target("create card", "ours", [cards], method="POST", bodies=new),
        Target("list of 10, one connection", "ours", _pages(cards, names, 10), connections=1),
        Target("one card from memory, one connection", "ours", fetched[:200], connections=1),
    ]


def _pages(cards: str, names: Sequence[str], limit: int) -> list[str]:
    return [f"{cards}?limit={limit}&cursor={encode_cursor(name)}" for name in names[:: len(names) // 500]]


def section(found: Found) -> tuple[str, bool]:
    """Return the tables, and whether all targets are met."""
    lines = [
        "| asked for | requests/s | p50 ms | p99 ms | CPU ms a request: server | PostgreSQL and Valkey |",
        "|---|---|---|---|---|---|",
    ]
    for name, figures in found.items():
        rate, p50, p99 = (figures.median(column) for column in ("rate", "p50_ms", "p99_ms"))
        cpu, beside = figures.median("cpu_ms"), figures.median("services_ms")
        shown = f"{beside:.2f}" if not name.startswith("bare") else "–"
        lines.append(f"| {name} | {rate:,.0f} | {p50:.1f} | {p99:.1f} | {cpu:.2f} | {shown} |")
    rate = {name: figures.median("rate") for name, figures in found.items()}
    floor = rate["bare jupyter_server, authenticated"]
    busy = found.get("list of 10, one connection, while a run goes on")
    alone_ms = found["list of 10, one connection"].median("p50_ms")
    checks = [
        ("list of 10 ≥ 0.4 × the bare authenticated handler", rate["list of 10, from PostgreSQL"] / floor, 0.4, ">"),
        ("cached fetch ≥ 0.6 × the bare authenticated handler", rate["one card, from memory"] / floor, 0.6, ">"),
        ("p99 of the list of 10 ≤ 150 ms", found["list of 10, from PostgreSQL"].median("p99_ms"), 150, "<"),
        ("one connection, p50 ≤ 3 ms", alone_ms, 3, "<"),
    ]
    if busy is not None:
        checks.append(("at most twice that while a run goes on", busy.median("p50_ms") / alone_ms, 2, "<"))
    lines += ["", "| target | found | |", "|---|---|---|"]
    met = True
    for name, value, bound, direction in checks:
        good = value >= bound if direction == ">" else value <= bound
        met = met and good
        lines.append(f"| {name} | {value:.2f} | {'met' if good else 'MISSED'} |")
    return "\n".join(lines), met


def prepare(home: Path, count: int) -> tuple[str, str, list[str]]:
    """Fill a home with cards; return the workspace's slug, a member's API token, and the names in order."""
    settings = Settings(home=home)
    with ready_services(settings) as services:
        keys = load_ring(settings.keys_path)
        with Database(services.database_url, pool_size=2, keys=keys) as database:
            owner = workspaces.local_owner(database, "Bench")
            workspace = workspaces.create(database, owner, "Bench")
            fill(database, workspace.id, count, vocabulary(random.Random(1)))
            with open_scope(database, owner, str(workspace.id)) as scope:
                token = api_tokens.create(scope, ApiTokenSpec(name="bench")).token
                rows = sa.select(prompt_cards.c.name).where(prompt_cards.c.workspace_id == workspace.id)
                names = sorted(scope.connection.scalars(rows))
            # As on a server that has run for more than a minute; only the owner of tables may.
            assert services.owner_database_url is not None
            with make_engine(services.owner_database_url, implicit_begin=False).connect() as connection:
                connection.exec_driver_sql("vacuum analyze")
            return workspace.slug, token, names


def while_a_run_goes_on(
    servers: Servers, target: Target, headers: dict[str, str], options: argparse.Namespace
) -> Figures:
    """Ask over one connection while a worker carries out a run of 10,000 items."""

    slug = target.paths[0].split("/workspaces/")[1].split("/")[0]
    here = f"workspaces/{slug}"
    servers.ask("POST", f"{here}/cards", {"name": "busy", "template": "Say hello to {{ who }}."})
    servers.ask("PUT", f"{here}/cards/busy/cases", {"cases": [{"variables": {"who": str(n)}} for n in range(10_000)]})
    figures = Figures()
    models = ["simulated:steady?latency_ms=200&spread=0"]
    run = servers.ask("POST", f"{here}/runs", {"card": "busy", "models": models, "concurrency": 64})
    wait_for(lambda: servers.ask("GET", f"{here}/runs/{run['id']}")["counts"]["done"] > 200, 60)
    for _ in range(options.rounds):
        came = load(servers.ports["ours"], target, headers, options.seconds)
        figures.rate.append(came["rate"])
        figures.p50_ms.append(came["p50_ms"])
        figures.p99_ms.append(came["p99_ms"])
        figures.cpu_ms.append(0.0)
        figures.services_ms.append(0.0)
    state = servers.ask("GET", f"{here}/runs/{run['id']}")
    if state["status"] != "running":
        raise SystemExit(f"the run ended before the measurement: {state['status']}")
    servers.ask("POST", f"{here}/runs/{run['id']}/cancel", {})
    return figures


def main() -> None:
    """Measure, print, write; exit 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cards", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into this Markdown file")
    options = parser.parse_args()
    with temporary_home() as home, tempfile.TemporaryDirectory() as folder:
        slug, token, names = prepare(home, options.cards)
        answer = Path(folder) / "answer.json"
        answer.write_bytes(b"{}")
        headers = {"X-PromptCards-Token": token}
        with Servers(home, answer) as servers:
            # The floors answer what our list of 10 answers.
            page = servers.ask("GET", f"workspaces/{slug}/cards?limit=10")
            answer.write_bytes(json.dumps(page).encode())
        with Servers(home, answer) as servers:
            chosen = targets(names, slug, options.rounds)
            found = measure(servers, chosen, headers, options)
            alone = next(target for target in chosen if target.name == "list of 10, one connection")
            found["list of 10, one connection, while a run goes on"] = while_a_run_goes_on(
                servers, alone, headers, options
            )
    text, met = section(found)
    command = f"python -m bench.server --rounds {options.rounds} --cards {options.cards} --seconds {options.seconds:g}"
    text += f"\n\n`{command}`, {datetime.now(UTC):%Y-%m-%d}, {machine()}."
    print(text)
    if options.write:
        write_section(options.write, "server", f"## The server\n\n{text}")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
