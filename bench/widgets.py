"""What the live view of a large run costs, in a real JupyterLab with Chromium, beside `itables` on the same rows.

    python -m bench.widgets [--rows 100000] [--write bench/RESULTS.md]

One notebook makes the same run twice, first without a view and then with one: the difference in CPU of the kernel is
what the view costs, together with the messages that the page gets meanwhile. Then the ended run is shown anew, and
scrolled through with the wheel; frames are counted by `requestAnimationFrame`, against 60 a second. A slower run shows
how long a result takes from being recorded to being painted while the kernel's main thread computes. At the end the
notebook is saved. Times begin in the kernel, at the line that makes the view, and end with the frame that has rows.

`itables` (installed into a temporary folder) gets the same rows as a data frame in a second notebook. It sends all of
them into the page, in pages of ten; there is nothing to scroll there, so its frames are counted while pages are turned.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from bench.engine import Target, machine, say, write_section
from bench.lab import OpenNotebook, dropped, lab, notebook, page

ITABLES = "itables==2.9.1"
OUR_ROWS = ".pcv-grid:not([hidden]) .pcv-rows .pcv-row:not(.pcv-wait)"
THEIR_ROWS = "table.dataTable tbody tr"
LAG_ITEMS = 400

SETUP = """
import json, os, time
from pathlib import Path
import promptcard_ext as pc
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.widgets import RunView

card = pc.Card("invoice", "Invoice number {{ number }}, total {{ number }} EUR, is due in thirty days.")
cases = [
    pc.Case({"number": n}, (Assertion("not-contains", f"number {n}," if n % 7 == 0 else "!"),), name=f"invoice-{n}")
    for n in range(%ROWS%)
]

def cpu():
    used = os.times()
    return used.user + used.system

def tell(name, **what):
    Path(name + ".part").write_text(json.dumps(what))
    os.replace(name + ".part", name)

def measured(name, show):
    used, began = cpu(), time.time()
    run = pc.run(card, cases, "simulated:echo", concurrency=128)
    view = RunView(run) if show else None
    if show:
        display(view)
    while not run.finished or (show and not view.state["frozen"]):
        time.sleep(0.05)
    took, used = time.time() - began, cpu() - used
    tell(name, cpu_s=used, took_s=took, done=run.counts.done)
    return run, view
tell("setup.json", ready=True)
"""
OURS = [
    SETUP,
    'plain, _ = measured("plain.json", False)\ndel plain',
    'run, view = measured("live.json", True)',
    'view.close()\ntell("closed.json", closed=True)',
    'began = time.time()\nview = RunView(run)\ndisplay(view)\ntell("again.json", began=began, made=time.time())',
    """
    recorded = []
    slow = pc.run(card, cases[:%d], "simulated:steady?latency_ms=400", concurrency=8)
    slow.on_change(lambda: recorded.append((time.time(), slow.counts.done)))
    display(RunView(slow))
    while not slow.finished:
        sum(range(20_000))
    time.sleep(2)
    tell("lag.json", recorded=recorded)
    """.replace("\n    ", "\n")
    % LAG_ITEMS,
    """
    frame = run.to_frame()[["outcome", "case", "label", "model", "output", "latency_ms", "message"]]
    frame.to_pickle("rows.pkl")
    view.close()
    display(run)
    tell("end.json", rows=len(frame))
    """.replace("\n    ", "\n"),
]
THEIRS = [
    """
    import json, os, time
    from pathlib import Path
    import pandas as pd
    import itables
    frame = pd.read_pickle("rows.pkl")
    itables.init_notebook_mode(connected=False)
    Path("itables-ready.json").write_text("{}")
    """.replace("\n    ", "\n"),
    """
    began = time.time()
    itables.show(frame, maxBytes=0, connected=False)
    Path("itables.json").write_text(json.dumps({"began": began, "made": time.time()}))
    """.replace("\n    ", "\n"),
]


class Figures(NamedTuple):
    """What was measured of one table; None where there is nothing of the kind."""

    first_paint_ms: float
    in_kernel_ms: float
    dropped: int
    drawn: int
    worst_ms: float
    heap_mb: float
    page_bytes: int
    notebook_bytes: int


class Live(NamedTuple):
    """What was measured of the view while the run went on."""

    took_s: float
    plain_s: float
    cpu_s: float
    plain_cpu_s: float
    messages_s: float
    bytes_s: float
    lags_ms: list[float]


def ours(book: OpenNotebook) -> tuple[Figures, Live]:
    """Measure our view."""
    book.run_cell()
    book.told("setup.json")
    say("without a view")
    book.run_cell()
    plain = book.told("plain.json")
    say("with a view")
    before = (book.comm_messages, book.bytes)
    book.run_cell()
    live = book.told("live.json")
    messages, received = book.comm_messages - before[0], book.bytes - before[1]
    book.run_cell()
    book.told("closed.json")
    say("first paint")
    heap, received_before = book.heap_mb(), book.bytes
    book.sample(OUR_ROWS)
    book.run_cell()
    again = book.told("again.json")
    book.page.locator(OUR_ROWS).last.wait_for()
    first = book.sampled()["first"] - again["began"] * 1000
    page_bytes = book.bytes - received_before
    # All is counted before it is scrolled.
    book.page.get_by_text("completed").last.wait_for()
    say("scroll")
    gaps = book.scroll(".pcv-scroll:visible")
    heap = book.heap_mb() - heap
    say("lag")
    lags = lags_ms(book)
    book.run_cell()
    book.told("end.json")
    size = book.save()
    figures = Figures(
        first, (again["made"] - again["began"]) * 1000, dropped(gaps), len(gaps), max(gaps), heap, page_bytes, size
    )
    return figures, Live(
        live["took_s"], plain["took_s"], live["cpu_s"], plain["cpu_s"], messages / live["took_s"],
        received / live["took_s"], lags,
    )  # fmt: skip


def lags_ms(book: OpenNotebook) -> list[float]:
    """Return how long each result took from being recorded to being painted, sorted."""
    book.page.evaluate("() => document.querySelectorAll('.pcv').forEach((view) => (view.dataset.old = '1'))")
    book.sample(f".pcv:not([data-old]) {OUR_ROWS}")
    book.run_cell()
    recorded = book.told("lag.json")["recorded"]
    seen = book.sampled()["seen"]
    found, place = [], 0
    known = 0
    for at, done in recorded:
        for number in range(known, done):
            while place < len(seen) and seen[place][1] < number:
                place += 1
            if place == len(seen):
                sys.exit(f"Result {number} of {LAG_ITEMS} was never painted.")
            found.append(seen[place][0] - at * 1000)
        known = max(known, done)
    if known != LAG_ITEMS:
        sys.exit(f"{known} results were recorded, not {LAG_ITEMS}.")
    return sorted(found)


def theirs(book: OpenNotebook) -> Figures:
    """Measure itables."""
    book.run_cell()
    book.told("itables-ready.json")
    heap, received = book.heap_mb(), book.bytes
    book.sample(THEIR_ROWS)
    book.run_cell()
    told = book.told("itables.json")
    book.page.locator(THEIR_ROWS).last.wait_for()
    first = book.sampled()["first"] - told["began"] * 1000
    page_bytes = book.bytes - received
    before = len(book.sampled()["frames"])
    for _ in range(20):
        book.page.locator(".dt-paging-button.next").last.click()
    frames = book.sampled()["frames"][before:]
    gaps = [later - earlier for earlier, later in pairwise(frames)]
    grown = book.heap_mb() - heap
    size = book.save()
    made = (told["made"] - told["began"]) * 1000
    return Figures(first, made, dropped(gaps), len(gaps), max(gaps), grown, page_bytes, size)


def table(mine: Figures, live: Live, other: Figures | None, rows: int) -> tuple[str, bool]:
    """Return the Markdown and whether every target is met."""
    columns = [mine] if other is None else [mine, other]
    heads = ["Prompt Cards", f"`{ITABLES}`"][: len(columns)]
    lines = [f"| {rows:,} rows | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(columns)]
    for title, said in (
        ("first paint, from the line that shows it", lambda one: f"{one.first_paint_ms:,.0f} ms"),
        ("– of that in the kernel", lambda one: f"{one.in_kernel_ms:,.0f} ms"),
        ("frames drawn and dropped, scrolling (itables: turning pages)", lambda one: f"{one.drawn}, {one.dropped}"),
        ("longest frame", lambda one: f"{one.worst_ms:.0f} ms"),
        ("browser's heap, more than before", lambda one: f"{one.heap_mb:.1f} MB"),
        ("sent to the page for it", lambda one: f"{one.page_bytes / 1000:,.0f} kB"),
        ("saved notebook", lambda one: f"{one.notebook_bytes / 1000:,.0f} kB"),
    ):
        lines.append(f"| {title} | " + " | ".join(said(one) for one in columns) + " |")
    lags = live.lags_ms
    p50, p95 = (statistics.quantiles(lags, n=20)[place] for place in (9, 18))
    lines += [
        "",
        f"While {rows:,} items run in {live.took_s:.1f} s ({live.plain_s:.1f} s without a view):",
        f"{live.messages_s:.1f} messages/s, {live.bytes_s / 1000:.1f} kB/s.",
        f"CPU of the kernel {live.cpu_s:.1f} s, {live.plain_cpu_s:.1f} s without a view.",
        f"Recorded to painted, main thread busy, {len(lags)} results: p50 {p50:.0f} ms, p95 {p95:.0f} ms.",
    ]
    if other is None:
        lines.append(f"`{ITABLES}` could not be installed here.")
    targets = [
        Target("first paint", mine.first_paint_ms, 500, "ms"),
        Target("messages to a view", live.messages_s, 5, "a second"),
        Target("saved notebook", mine.notebook_bytes / 1000, 200, "kB"),
        Target("recorded to painted, p95", p95, 700, "ms"),
    ]
    lines += ["", "| target | measured | bound | |", "|---|---|---|---|"]
    lines += [
        f"| {one.what} | {one.measured:.2f} {one.unit} | {one.bound:g} | {'met' if one.met else '**missed**'} |"
        for one in targets
    ]
    return "\n".join(lines), all(one.met for one in targets)


def install(folder: Path) -> bool:
    """Install itables into a folder of its own; tell whether that worked."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), ITABLES]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def measure(rows: int) -> tuple[str, bool]:
    """Measure all of it; return the Markdown and whether every target is met."""
    with tempfile.TemporaryDirectory(prefix="promptcards-bench-") as base:
        root, packages = Path(base) / "work", Path(base) / "packages"
        root.mkdir()
        has_other = install(packages)
        notebook(root / "ours.ipynb", [cell.replace("%ROWS%", str(rows)) for cell in OURS])
        notebook(root / "theirs.ipynb", THEIRS)
        with lab(root, packages) as url:
            with page() as first:
                mine, live = ours(OpenNotebook(first, url, root, "ours.ipynb"))
            other = None
            if has_other:
                say("itables")
                with page() as second:
                    other = theirs(OpenNotebook(second, url, root, "theirs.ipynb"))
    say("")
    return table(mine, live, other, rows)


def main() -> None:
    """Measure, print, write; exit 1 when a target is missed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--write", type=Path)
    given = options.parse_args()
    text, met = measure(given.rows)
    print(text)
    if given.write:
        head = (__doc__ or "").strip().splitlines()[0]
        command = f"`python -m bench.widgets --rows {given.rows}`"
        section = f"## Run view\n\n{head}\n\n{text}\n\n{command}, {datetime.now(UTC):%Y-%m-%d}, {machine()}.\n"
        write_section(given.write, "widgets", section)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
