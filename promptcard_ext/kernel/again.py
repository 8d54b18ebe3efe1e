"""Letting a run of this process go on after its end: some of its items are done again, in the same handle."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from promptcard_ext.core.engine import Control
from promptcard_ext.core.errors import RunError
from promptcard_ext.core.results import Outcome
from promptcard_ext.kernel import loop
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.redo import UNFINISHED, Items
from promptcard_ext.kernel.run import drive
from promptcard_ext.local.case_spool import CaseSpool
from promptcard_ext.local.run_folder import RunFolder
from promptcard_ext.local.run_head import read_head
from promptcard_ext.local.run_lock import RunLock


def do_again(run: RunHandle, ordinals: Iterable[int], *, budget_usd: Decimal | None = None) -> None:
    """Call the models again for some items of a run that has ended; the handle goes on and counts them anew.

    Where answers to a case are compared with each other, all of its group are asked again.

    Args:
        ordinals: Places in the plan.
        budget_usd: For the whole run, what was spent before included; default what it had.

    Raises:
        RunError: It has not ended (``run_state``), or is not of this process (``not_in_this_process``).
        Conflict: It is kept on disk, and another process works on it (``run_busy``).
    """
    setup = run.setup
    if setup is None:
        raise RunError(f"Run '{run.name}' is not of this process.", code="not_in_this_process")
    if budget_usd is not None:
        setup = replace(setup, budget_usd=budget_usd)
    prepared = setup.plan.prepare()
    per_group = setup.plan.per_group if prepared.has_contests else 1
    groups = sorted({ordinal // per_group for ordinal in ordinals})
    items = Items(setup.plan, array("q", (group * per_group + n for group in groups for n in range(per_group))))
    folder = _folder(run)
    control = Control()
    try:
        run.begin_again(control, items.ordinals)
    except BaseException:
        if folder is not None:
            folder.release()
        raise
    run.setup = setup
    loop.submit(drive(run, setup, prepared, control, items, None, folder))


def failed(run: RunHandle) -> list[int]:
    """Return the items that ended as an error, or were not judged because the run stopped or lacked something."""
    return [
        result.ordinal
        for result in run.log.iter_plan()
        if result.outcome is Outcome.ERROR or result.reason in UNFINISHED
    ]


def _folder(run: RunHandle) -> RunFolder | None:
    path = None if run.kept_as is None or run.log.path is None else run.log.path.parent
    if path is None:
        return None
    lock = RunLock.take(path)
    try:
        return RunFolder(path, read_head(path), CaseSpool.open(path / "cases.jsonl"), run.log, lock)
    except BaseException:
        lock.release()
        raise
