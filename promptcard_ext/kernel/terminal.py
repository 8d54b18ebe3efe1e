"""Runs in a terminal: a progress line, tables, what failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from itertools import islice

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from promptcard_ext.core.results import Counts, ItemResult, Outcome
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.row_facts import share_text
from promptcard_ext.stats.flips import FlipTable
from promptcard_ext.stats.invariance import invariance
from promptcard_ext.stats.metrics import score_text
from promptcard_ext.stats.reducers import reduce_repeats, summarise_reduced
from promptcard_ext.stats.summary import SummaryRow

MAX_FAILURES = 8
# Where nobody watches (a log, continuous integration), a line now and then says that it still goes on.
QUIET_LINE_S = 15.0
COLOURS = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.ERROR: "yellow", Outcome.UNSCORED: "bright_black"}


def watch(run: RunHandle, console: Console | None = None) -> RunHandle:
    """Show how a run goes until it has ended, and return it; see `RunHandle.wait` for errors."""
    console = console or Console(stderr=True)
    changed = threading.Event()
    end = run.on_change(changed.set)
    try:
        if console.is_terminal:
            _watch_bar(run, console, changed)
        else:
            _watch_lines(run, console, changed)
    except KeyboardInterrupt:
        run.cancel()
        raise
    finally:
        end()
    return run.wait()


def _watch_bar(run: RunHandle, console: Console, changed: threading.Event) -> None:
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
        TextColumn("{task.fields[outcome]}"), TextColumn("{task.fields[pace]}"), TimeRemainingColumn(compact=True),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(escape(run.name), total=run.counts.total, outcome="", pace="")
        while not run.finished:
            changed.wait(0.5)
            changed.clear()
            _update(progress, task, run)
        _update(progress, task, run)


def _update(progress: Progress, task: TaskID, run: RunHandle) -> None:
    counts = run.counts
    progress.update(task, completed=counts.done, outcome=_outcomes(counts), pace=_pace(run, counts))


def _watch_lines(run: RunHandle, console: Console, changed: threading.Event) -> None:
    said = time.monotonic()
    while not run.finished:
        changed.wait(0.5)
        changed.clear()
        if time.monotonic() - said >= QUIET_LINE_S:
            said = time.monotonic()
            counts = run.counts
            pace = " · ".join(filter(None, [_pace(run, counts), _left(run, counts)]))
            line = f"{run.name}: {counts.done:,} of {counts.total:,}, {_outcomes(counts)}, {pace}"
            console.print(escape(line), highlight=False)


def _outcomes(counts: Counts) -> str:
    parts = [f"[green]{counts.passed} pass[/]", f"[red]{counts.failed} fail[/]"]
    if counts.errored:
        parts.append(f"[yellow]{counts.errored} error[/]")
    if counts.unscored:
        parts.append(f"[bright_black]{counts.unscored} unscored[/]")
    return " ".join(parts)


def _pace(run: RunHandle, counts: Counts) -> str:
    elapsed = run.elapsed_s
    rate = f"{counts.done / elapsed:.1f}/s" if elapsed and counts.done else ""
    spent = f"${counts.spent_usd:.4f}" if counts.priced else ""
    held = "paused" if run.paused else ""
    return " · ".join(part for part in (held, rate, spent) if part)


def _left(run: RunHandle, counts: Counts) -> str:
    elapsed = run.elapsed_s
    if not elapsed or not counts.done or run.paused:
        return ""
    seconds = (counts.total - counts.done) * elapsed / counts.done
    return f"{seconds:.0f} s left" if seconds < 120 else f"{seconds / 60:.0f} min left"


def print_summary(rows: Sequence[SummaryRow], title: str = "", console: Console | None = None) -> None:
    """Print one line per card version and model."""
    console = console or console_of()
    table = Table(title=escape(title), title_justify="left", header_style="bold")
    for name in ("card version", "model", "pass rate [95 %]"):
        table.add_column(escape(name), overflow="fold")
    for name in ("p50 ms", "p95 ms", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        cells = (row.label, row.model, row.rate_text, _ms(row.p50_ms), _ms(row.p95_ms), row.cost_text)
        table.add_row(*(escape(printable(cell)) for cell in cells))
    console.print(table)


def print_metrics(rows: Sequence[SummaryRow], console: Console | None = None) -> None:
    """Print named and derived metrics, a line each and a column per card version and model; nothing without any."""
    columns = [
        {metric.name: metric.text for metric in row.metrics} | {metric.name: metric.text for metric in row.derived}
        for row in rows
    ]
    names = list(dict.fromkeys(name for column in columns for name in column))
    if not names:
        return
    table = Table(title="Metrics: mean score [95 %]", title_justify="left", header_style="bold")
    table.add_column("metric", overflow="fold")
    for row in rows:
        table.add_column(escape(printable(f"{row.label} · {row.model}")), overflow="fold")
    for name in names:
        table.add_row(escape(printable(name)), *(escape(column.get(name, "–")) for column in columns))
    (console or console_of()).print(table)


def print_reduced(results: Iterable[ItemResult], how: str, console: Console | None = None) -> None:
    """Print what a reducer makes of the repeats, a line per card version and model."""
    table = Table(title=escape(f"{how} over repeats, mean of cases [95 %]"), title_justify="left", header_style="bold")
    for name in ("card version", "model", how):
        table.add_column(escape(name), overflow="fold")
    for row in summarise_reduced(reduce_repeats(results, how)):
        text = score_text(row.mean, row.cases, row.undecided)
        table.add_row(*(escape(printable(cell)) for cell in (row.label, row.model, text)))
    (console or console_of()).print(table)


def print_invariance(results: Iterable[ItemResult], console: Console | None = None) -> None:
    """Print how often answers held under changes of the prompt; nothing when none was changed."""
    found = invariance(results)
    if not found:
        return
    table = Table(title="Invariance: answers that held [95 %]", title_justify="left", header_style="bold")
    for name in ("change", "card version", "model", "rate"):
        table.add_column(name, overflow="fold")
    for row in found:
        cells = (row.transform, row.label, row.model, share_text(row.rate, row.judged, row.undecided))
        table.add_row(*(escape(printable(cell)) for cell in cells))
    (console or console_of()).print(table)


def print_flips(flips: FlipTable, console: Console | None = None) -> None:
    """Print how many outcomes became which others, and the first items that changed."""
    console = console or console_of()
    console.print(escape(flips.text), highlight=False)
    table = Table(title="Before (rows) and now (columns)", title_justify="left", header_style="bold")
    table.add_column("")
    for outcome in Outcome:
        table.add_column(str(outcome), justify="right")
    for before, row in zip(Outcome, flips.rows(), strict=True):
        if any(row):
            table.add_row(str(before), *(_moved(count, before, now) for count, now in zip(row, Outcome, strict=True)))
    console.print(table)
    for flip in flips.items[:MAX_FAILURES]:
        change = f"[{COLOURS[flip.before]}]{flip.before}[/] → [{COLOURS[flip.after]}]{flip.after}[/]"
        where = escape(printable(f"{flip.label} · {flip.model} · {flip.case}"))
        reason = f" ({escape(flip.reason_after)})" if flip.reason_after else ""
        console.print(f"  {change} {where}{reason}", highlight=False)
    if len(flips.items) > MAX_FAILURES:
        console.print(f"  … and {len(flips.items) - MAX_FAILURES:,} more", highlight=False)


def _moved(count: int, before: Outcome, now: Outcome) -> str:
    return f"[bold]{count:,}[/]" if count and before is not now else f"{count:,}"


def console_of() -> Console:
    """Return a console for standard output."""
    # A file or a pipe has no width; 80 columns would break the table for nobody's benefit.
    console = Console()
    return console if console.is_terminal else Console(width=120)


def print_failures(results: Iterable[ItemResult], console: Console | None = None) -> None:
    """Print the first items that did not pass, with the reason."""
    console = console or console_of()
    wrong = (result for result in results if result.outcome is not Outcome.PASS)
    for result in islice(wrong, MAX_FAILURES):
        where = f"{result.label} · {result.model} · {result.case}"
        colour = COLOURS[result.outcome]
        reason = escape(printable(result.message)[:160])
        console.print(f"  [{colour}]{result.outcome}[/] {escape(printable(where))}: {reason}", highlight=False)
    if more := sum(1 for _ in wrong):
        console.print(f"  … and {more:,} more", highlight=False)


def printable(text: str) -> str:
    """Return a text without control codes: model output may hold some, and a terminal must not obey them."""
    return "".join(char if char.isprintable() else "·" for char in text)


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
