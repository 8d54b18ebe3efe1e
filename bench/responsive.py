"""How soon a server that is busy tells that it is well, and what an export of a million rows takes.

    python -m bench.responsive [--rows 1000000] [--cases 50000] [--rounds 3] [--write bench/RESULTS.md]

The server is the real one (`jupyter promptcards serve`) with the embedded services. A process of its own asks for
``health`` thirty times a second, at a pace that a server which stands still does not slow down. Figures of a round are
over all of its answers; those of several rounds are medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.engine import machine, write_section
from tests.server.busy import Exported, Pings, export, heavy_searches, new_card, new_run, pings, waiting_requests
from tests.server.serving import Served, served

PERIOD_S = 15.0
TARGET_MS = 100.0


def measure(server: Served, options: argparse.Namespace) -> tuple[dict[str, list[Pings]], list[Exported]]:
    """Return pings by what kept the server busy, and exports."""
    print("Making rows …", file=sys.stderr)
    new_card(server, options.cases)
    run = new_run(server, options.rows)
    found: dict[str, list[Pings]] = {}
    exports: list[Exported] = []

    def note(name: str, busy: Callable[[], AbstractContextManager[Any]], work: Callable[[], object]) -> None:
        with busy(), pings(server) as figures:
            work()
        if set(figures.statuses) != {"200"}:
            raise SystemExit(f"{name}: answers of {figures.statuses}")
        found.setdefault(name, []).append(figures)
        print(f"{name}: p99 {figures.p99_ms:.1f} ms", file=sys.stderr)

    def wait() -> None:
        time.sleep(PERIOD_S)

    for _ in range(options.rounds):
        note("nothing else", nullcontext, wait)
        note("8 changes that wait for a lock (all threads taken)", lambda: waiting_requests(server), wait)
        note("8 clients that search through all cases", lambda: heavy_searches(server), wait)
        note("the export", nullcontext, lambda: exports.append(export(server, run)))
    return found, exports


def report(found: dict[str, list[Pings]], exports: list[Exported], options: argparse.Namespace) -> str:
    """Return the section for the file of results."""

    def median(values: list[float]) -> str:
        return f"{statistics.median(values):.1f}"

    lines = ["## A busy server", "", "| meanwhile | health p50, ms | p99, ms | most, ms |", "|---|---|---|---|"]
    for name, rounds in found.items():
        cells = [median([getattr(one, field) for one in rounds]) for field in ("p50_ms", "p99_ms", "max_ms")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    worst = max(statistics.median(one.p99_ms for one in rounds) for rounds in found.values())
    rate = statistics.median(one.rows / one.seconds for one in exports)
    growth = max(one.growth_mb for one in exports)
    size_mb = exports[0].bytes / 1e6
    command = f"--rows {options.rows} --cases {options.cases} --rounds {options.rounds}"
    lines += [
        "",
        f"Target: p99 of at most {TARGET_MS:.0f} ms: {'met' if worst <= TARGET_MS else 'not met'}.",
        f"The export has {exports[0].rows:,} rows and {size_mb:,.0f} MB (JSON Lines): {rate:,.0f} rows/s.",
        f"The server's memory grew by at most {growth:.0f} MB.",
        "",
        f"`python -m bench.responsive {command}`, {datetime.now(UTC):%Y-%m-%d}, {machine()}.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write when told to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cases", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    with served() as server:
        text = report(*measure(server, options), options)
    print(text)
    if options.write:
        write_section(options.write, "responsive", text)


if __name__ == "__main__":
    main()
