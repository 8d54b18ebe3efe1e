"""The files that results are written to."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from promptcard_ext.core.errors import FileError

if TYPE_CHECKING:
    from promptcard_ext.kernel.handle import RunHandle
    from promptcard_ext.local.run_folder import RunFolder
    from promptcard_ext.stats.summary import SummaryRow

FORMATS = ("json", "jsonl", "junit", "html", "csv", "xlsx", "parquet", "markdown")


def check_outputs(arguments: argparse.Namespace) -> None:
    """Look before the first call whether the files can be written.

    Raises:
        FileError: A folder does not exist, or the path is one (``file_unwritable``).
    """
    for name in FORMATS:
        path: Path | None = getattr(arguments, name)
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise FileError(
                f"{path} cannot be written.",
                code="file_unwritable",
                hint="It is a folder." if path.is_dir() else f"There is no folder '{path.absolute().parent}'.",
            )


def write_outputs(run: RunHandle, arguments: argparse.Namespace, source: str = "") -> None:
    """Write the files that were asked for.

    Args:
        source: Which of several sources it was; goes into the files' names: ``report.html`` is ``report-greet.html``.

    Raises:
        FileError: One cannot be written (``file_unwritable``).
    """
    rows = None
    for name in FORMATS:
        path: Path | None = getattr(arguments, name)
        if path is not None:
            path = path.with_stem(f"{path.stem}-{source}") if source else path
            rows = run.summary() if rows is None and name != "html" else rows
            write_run(path, run, rows or (), kind=name)


def write_run(path: Path, run: RunHandle | RunFolder, rows: Sequence[SummaryRow], *, kind: str = "") -> None:
    """Write the results of a run.

    Args:
        kind: One of `FORMATS`; default what the ending of the path says.

    Raises:
        FileError: It cannot be written (``file_unwritable``), or its ending says nothing (``file_format``).
    """
    if (kind or path.suffix.lstrip(".").lower()) == "html":
        _write_page(path, run)
        return
    from promptcard_ext.interchange.result_files import write_results
    from promptcard_ext.local.run_folder import RunFolder

    name, log = (run.head.name, run.results) if isinstance(run, RunFolder) else (run.name, run.log)
    write_results(log.iter_plan(), path, kind or None, title=name, rows=rows)


def _write_page(path: Path, run: RunHandle | RunFolder) -> None:
    from promptcard_ext.report.page import page
    from promptcard_ext.report.run import of

    try:
        path.write_text(page(of(run)), "utf-8")
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}.", code="file_unwritable") from None
