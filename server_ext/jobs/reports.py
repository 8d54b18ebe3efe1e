"""Makes a report: the notebook is run by papermill on a snapshot of the run, then rendered to offline HTML.

The notebook's kernel gets a folder with the run's results, and neither a database address nor a token: it needs none.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from promptcard_ext.core import wire
from promptcard_ext.core.contract.runs import ItemQuery, RunOut
from promptcard_ext.core.errors import RunError
from promptcard_ext.interchange.starters import shipped
from server_ext.auth.actor import Actor
from server_ext.jobs.context import Context
from server_ext.services import items, reports
from server_ext.services.scope import Scope
from server_ext.services.tasks import Lease

PAGE = 2_000
SERVICE = UUID(int=0)


def render(context: Context, lease: Lease) -> None:
    """Make the report of a lease and store it.

    Raises:
        RunError: The notebook failed (``report_failed``).
    """
    assert lease.report_id is not None
    with tempfile.TemporaryDirectory(prefix="promptcards-report-") as folder:
        with _scope(context, lease) as scope:
            run = reports.started(scope, lease.report_id)
        _write_snapshot(context, lease, run, Path(folder))
        notebook = _execute(Path(folder), str(run.id))
        from server_ext.jobs import report_html

        html = report_html.render(notebook, title=run.name)
    with _scope(context, lease) as scope:
        import nbformat

        reports.done(scope, lease.report_id, html.encode(), str(nbformat.writes(notebook)).encode())  # type: ignore[no-untyped-call]


@contextmanager
def _scope(context: Context, lease: Lease) -> Iterator[Scope]:
    # Who asked for the report was checked when the task was made; the worker needs no more than to read.
    with context.database.transaction(lease.workspace_id) as connection:
        yield Scope(connection, lease.workspace_id, Actor(SERVICE, "worker", kind="job"), "viewer", context.database)


def _write_snapshot(context: Context, lease: Lease, run: RunOut, folder: Path) -> None:
    (folder / "run.json").write_bytes(wire.encode(run))
    query = ItemQuery(limit=PAGE)
    with (folder / "items.jsonl").open("wb") as file:
        while True:
            with _scope(context, lease) as scope:
                page = items.list_items(scope, str(run.id), query)
            file.writelines(wire.encode(item) + b"\n" for item in page.items)
            if page.next is None:
                return
            query = ItemQuery(cursor=page.next, limit=PAGE)


def _execute(folder: Path, run_id: str) -> Any:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    source, target = shipped("templates/reports") / "run_report.ipynb", folder / "report.ipynb"
    with _environment(PROMPTCARDS_SNAPSHOT=str(folder), PROMPTCARDS_RENDER="static"):
        try:
            return papermill.execute_notebook(
                str(source),
                str(target),
                parameters={"run_id": run_id},
                kernel_name="python3",
                progress_bar=False,
                cwd=str(folder),
                start_timeout=60,
                execution_timeout=300,
                store_widget_state=False,
            )
        except PapermillExecutionError as error:
            raise RunError(
                f"The report's notebook failed in cell {error.exec_count}: {error.ename}: {error.evalue:.300}",
                code="report_failed",
            ) from None


# What a kernel needs to start; everything else stays out, because nobody knows which variable holds a secret.
_KEPT = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TEMP|VIRTUAL_ENV|PYTHON(PATH|HOME|UTF8)|LD_LIBRARY_PATH"
    r"|JUPYTER_(PATH|DATA_DIR|RUNTIME_DIR|CONFIG_DIR|CONFIG_PATH)|IPYTHONDIR|XDG_\w+|SYSTEMROOT"
)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Give the kernel these variables and what it needs to start, and nothing else of ours."""
    before = dict(os.environ)
    try:
        for name in before:
            if not _KEPT.fullmatch(name):
                del os.environ[name]
        os.environ.update(values)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
