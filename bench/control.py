"""How soon what is said to a run holds, at the provider: the referee of the fault harness sees when calls come.

    python -m bench.control [--rounds 5] [--write bench/RESULTS.md]

Server, worker and services are the real ones. A run of 2,000 calls of 0.2 s each goes on; then somebody cancels it,
pauses it, lets it go on, lowers its budget, or changes how many calls it may have in flight. Milliseconds are counted
from the request to the last call that came after it, or to the first that came because of it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.engine import machine, say, write_section
from promptcard_ext.core.contract.runs import FINAL
from tests.fault.referee import Referee
from tests.server.serving import Client, Served, served
from tests.support import wait_for

HOME = "workspaces/personal"
CASES = 2_000
LATENCY_S = 0.2
FEW, MANY = 4, 64
QUIET_S = 1.5
"""So long no call has come when they have stopped for good."""
BOUND_MS = 1_000.0


class Steered:
    """A run that goes on, and what its provider saw of it."""

    def __init__(self, client: Client, referee: Referee, concurrency: int, **more: Any) -> None:
        self._client, self._log = client, referee.log
        self._passed = len(self._log.read_bytes()) if self._log.exists() else 0
        spec = {"card": "steered", "models": ["openai:stub"], "concurrency": concurrency, **more}
        self.path = f"{HOME}/runs/{client.ask('POST', f'{HOME}/runs', spec).json['id']}"
        wait_for(lambda: len(self.calls()) >= 2 * concurrency, 60)

    def calls(self) -> list[float]:
        """Return when each call came, in seconds since 1970."""
        with self._log.open("rb") as file:
            file.seek(self._passed)
            return sorted(
                json.loads(line)["at"] for line in file.read().splitlines(keepends=True) if line[-1:] == b"\n"
            )

    def say(self, method: str, what: str = "", body: Any = None) -> float:
        """Ask for a change; return when."""
        now = time.time()
        answer = self._client.ask(method, self.path + what, body if body is not None else {})
        if answer.status not in (200, 202):
            sys.exit(f"{method} {what}: {answer.status} {answer.body!r}")
        return now

    def last_after(self, said: float) -> float:
        """Return milliseconds until the last call, when no more come."""
        wait_for(lambda: time.time() - max([said, *self.calls()]) > QUIET_S, 30)
        return max(0.0, (self.calls()[-1] - said) * 1000)

    def first_after(self, said: float) -> float:
        """Return milliseconds until the first call."""
        wait_for(lambda: self.calls()[-1] > said, 30)
        return (next(at for at in self.calls() if at > said) - said) * 1000

    def end(self) -> None:
        """Cancel it and wait for its end."""
        self._client.ask("POST", self.path + "/cancel", {})
        wait_for(lambda: self._client.ask("GET", self.path).json["status"] in FINAL, 60)


def cancel(client: Client, referee: Referee) -> float:
    """Cancel a run."""
    run = Steered(client, referee, MANY)
    found = run.last_after(run.say("POST", "/cancel"))
    run.end()
    return found


def pause(client: Client, referee: Referee) -> float:
    """Pause a run."""
    run = Steered(client, referee, MANY)
    found = run.last_after(run.say("POST", "/pause"))
    run.end()
    return found


def resume(client: Client, referee: Referee) -> float:
    """Let a run go on that was paused."""
    run = Steered(client, referee, MANY)
    run.last_after(run.say("POST", "/pause"))
    found = run.first_after(run.say("POST", "/resume"))
    run.end()
    return found


def lower_budget(client: Client, referee: Referee) -> float:
    """Lower the budget of a run to nothing."""
    run = Steered(client, referee, MANY, budget_usd="1000")
    found = run.last_after(run.say("PATCH", body={"budget_usd": "0"}))
    run.end()
    return found


def widen(client: Client, referee: Referee) -> float:
    """Let a run have 64 calls in flight instead of 4: until the first call beyond four. It doubles from there."""
    run = Steered(client, referee, FEW)
    said = run.say("PATCH", body={"concurrency": MANY})
    wait_for(lambda: bool(_crowded(run.calls(), said)), 30)
    found = (_crowded(run.calls(), said)[0] - said) * 1000
    run.end()
    return found


def _crowded(calls: list[float], said: float) -> list[float]:
    """Return when calls came while four others had no answer yet."""
    later = [at for at in calls if at > said]
    # Call n + 4 would begin, at the earliest, when call n has its answer.
    return [one for first, one in zip(later, later[FEW:], strict=False) if one - first < LATENCY_S * 0.9]


def narrow(client: Client, referee: Referee) -> float:
    """Let a run have 4 calls in flight instead of 64: until the last call that made them more."""
    run = Steered(client, referee, MANY)
    said = run.say("PATCH", body={"concurrency": FEW})
    wait_for(lambda: time.time() - said > 3 * QUIET_S, 30)
    many = _crowded(run.calls(), said)
    run.end()
    return (many[-1] - said) * 1000 if many else 0.0


STEERINGS: tuple[Callable[[Client, Referee], float], ...] = (cancel, pause, resume, lower_budget, widen, narrow)


def prepare(server: Served, referee: Referee) -> Client:
    """Make the card, its cases and the price of its model."""
    client = server.client()
    client.ask("POST", f"{HOME}/cards", {"name": "steered", "template": "Say hello to {{ who }}."})
    client.ask("PUT", f"{HOME}/cards/steered/cases", {"cases": [{"variables": {"who": f"{n}"}} for n in range(CASES)]})
    price = {
        "provider": f"openai@127.0.0.1:{referee.port}", "model": "*", "input_per_mtok": "1", "output_per_mtok": "1",
        "valid_from": "2020-01-01", "source": "bench",
    }  # fmt: skip
    made = client.ask("POST", f"{HOME}/price-overrides", price)
    if made.status != 201:
        sys.exit(f"No price: {made.body!r}")
    return client


def report(found: dict[str, list[float]], rounds: int) -> str:
    """Return the section for the file of results."""
    rows = [f"| {name} | {statistics.median(each):.0f} | {max(each):.0f} |" for name, each in found.items()]
    met = all(max(each) <= BOUND_MS for each in found.values())
    return "\n".join(
        [
            "## Steering a run",
            "",
            "Milliseconds from the request until it holds at the provider.",
            "",
            "| what is said | median | most |",
            "|---|---:|---:|",
            *rows,
            "",
            f"Target: at most {BOUND_MS:,.0f} ms: {'met' if met else '**missed**'}.",
            "",
            f"`python -m bench.control --rounds {rounds}`, {datetime.now(UTC):%Y-%m-%d}, {machine()}.",
        ]
    )


def main() -> None:
    """Measure, print, and write if told to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    found: dict[str, list[float]] = {}
    with (
        TemporaryDirectory() as folder,
        Referee(Path(folder) / "calls", LATENCY_S) as referee,
        served(OPENAI_BASE_URL=referee.url, OPENAI_API_KEY="key") as server,
    ):
        client = prepare(server, referee)
        for number in range(options.rounds):
            for steer in STEERINGS:
                name = steer.__name__.replace("_", " ")
                say(f"round {number + 1} of {options.rounds}: {name}")
                found.setdefault(name, []).append(steer(client, referee))
    say("")
    text = report(found, options.rounds)
    print(text)
    if options.write:
        write_section(options.write, "control", text)


if __name__ == "__main__":
    main()
