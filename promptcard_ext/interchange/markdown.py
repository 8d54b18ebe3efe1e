"""Results as Markdown: a summary and what did not pass, for pull requests and notes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.stats.summary import SummaryRow

MAX_SHOWN = 200
MAX_CELL_CHARS = 300
# What could begin another cell, code, emphasis, a link, an image, a formula, a mention, an address.
_SPECIAL = re.compile(r"([\\`*_\[\]!|~$@:]|(?<=www)\.)", re.IGNORECASE)


def write_markdown(path: Path, results: Iterable[ItemResult], title: str, summary: Sequence[SummaryRow]) -> None:
    """Write a summary and the first 200 items that did not pass."""
    with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.write(f"# {cell(title or 'Results')}\n\n")
        if summary:
            _write_summary(file, summary)
        _write_failures(file, results)


def _write_summary(file: IO[str], summary: Sequence[SummaryRow]) -> None:
    file.write("| Card | Model | Pass rate | Failed | Errors | Unscored | p50 | Cost |\n")
    file.write("|---|---|---|--:|--:|--:|--:|---|\n")
    for row in summary:
        counts = row.counts
        median = "–" if row.p50_ms is None else f"{row.p50_ms:,.0f} ms"
        cells = [
            row.label,
            row.model,
            row.rate_text,
            counts.failed,
            counts.errored,
            counts.unscored,
            median,
            row.cost_text,
        ]
        file.write("| " + " | ".join(cell(str(one)) for one in cells) + " |\n")
    file.write("\n")


def _write_failures(file: IO[str], results: Iterable[ItemResult]) -> None:
    done = shown = more = 0
    for result in results:
        done += 1
        if result.outcome is Outcome.PASS:
            continue
        if shown == MAX_SHOWN:
            more += 1
            continue
        if not shown:
            file.write("## Did not pass\n\n| Case | Card | Model | Outcome | Reason | Message | Answer |\n")
            file.write("|---|---|---|---|---|---|---|\n")
        shown += 1
        answer = result.generation.output if result.generation else None
        name = result.case + (f" (repeat {result.repeat + 1})" if result.repeat else "")
        cells = [name, result.label, result.model, result.outcome, result.reason or "", result.message, answer or ""]
        file.write("| " + " | ".join(cell(str(one)) for one in cells) + " |\n")
    if more:
        file.write(f"\nand {more:,} more\n")
    elif not shown:
        file.write(f"All {done:,} items passed.\n" if done else "There are no results.\n")


def cell(text: str) -> str:
    r"""Return a text for a cell of a table: on one line, and nothing in it is Markdown or HTML.

    Example:
        >>> print(cell("a|b\n<b>c</b>"))
        a\|b<br>&lt;b&gt;c&lt;/b&gt;
    """
    cut = text[:MAX_CELL_CHARS] + "…" if len(text) > MAX_CELL_CHARS else text
    escaped = _SPECIAL.sub(r"\\\1", cut).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    lines = [" ".join(line.split()) for line in re.split(r"\r\n|[\r\n\x0b\x0c\x85\u2028\u2029]", escaped)]
    return re.sub(r"[\x00-\x1f\x7f]", "\ufffd", "<br>".join(lines))
