"""Runs in a terminal: a progress bar, a table, what failed."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.stats.summary import SummaryRow

MAX_FAILURES = 8


def watch(run: RunHandle, console: Console | None = None) -> RunHandle:
    """Show a progress bar until the run has ended, and return it; see `RunHandle.wait` for errors."""
    console = console or Console(stderr=True)
    changed = threading.Event()
    end = run.on_change(changed.set)
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(),
        TextColumn("{task.fields[outcome]}"), TimeRemainingColumn(compact=True),
    )  # fmt: skip
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(escape(run.name), total=run.counts.total, outcome="")
            while not run.finished:
                changed.wait(0.5)
                changed.clear()
                _update(progress, task, run)
            _update(progress, task, run)
    except KeyboardInterrupt:
        run.cancel()
        raise
    finally:
        end()
    return run.wait()


def _update(progress: Progress, task: object, run: RunHandle) -> None:
    counts = run.counts
    outcome = f"[green]{counts.passed} pass[/] [red]{counts.failed} fail[/]"
    if counts.errored:
        outcome += f" [yellow]{counts.errored} error[/]"
    progress.update(task, completed=counts.done, outcome=outcome)  # type: ignore[arg-type]


def print_summary(rows: Sequence[SummaryRow], title: str = "", console: Console | None = None) -> None:
    """Print one line per card version and model."""
    console = console or _console()
    table = Table(title=escape(title), title_justify="left", header_style="bold")
    for name in ("card version", "model", "pass rate [95 %]"):
        table.add_column(escape(name), overflow="fold")
    for name in ("p50 ms", "p95 ms", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        cells = (row.label, row.model, row.rate_text, _ms(row.p50_ms), _ms(row.p95_ms), row.cost_text)
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)


def _console() -> Console:
    # A file or a pipe has no width; 80 columns would break the table for nobody's benefit.
    console = Console()
    return console if console.is_terminal else Console(width=120)


def print_failures(results: Sequence[ItemResult], console: Console | None = None) -> None:
    """Print the first items that did not pass, with the reason."""
    console = console or _console()
    wrong = [result for result in results if result.outcome is not Outcome.PASS]
    for result in wrong[:MAX_FAILURES]:
        where = f"{result.label} · {result.model} · {result.case}"
        # Model output may hold control codes; a terminal must not obey them.
        reason = "".join(char if char.isprintable() else "·" for char in result.message)[:160]
        console.print(f"  [red]{result.outcome}[/] {escape(where)}: {escape(reason)}", highlight=False)
    if len(wrong) > MAX_FAILURES:
        console.print(f"  … and {len(wrong) - MAX_FAILURES} more", highlight=False)


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
