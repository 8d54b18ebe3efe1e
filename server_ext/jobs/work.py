"""The entry of every job: lease the task that is next, do it, end it."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from promptcard_ext.core.errors import PromptCardError, Unavailable
from server_ext.jobs import batch_mode, drain, journal, recorder, reports, shard, webhooks
from server_ext.jobs.context import Context, current
from server_ext.jobs.heartbeat import Heartbeat
from server_ext.jobs.ledger import Ledger
from server_ext.services import tasks

log = logging.getLogger("promptcards.worker")
MAX_CRASHES = 3
# A process takes one task after the other for so long: making one costs more than a short task.
STAY_S = 30.0
# What is done in one go: a shutdown interrupts it, and it begins anew.
_WITHOUT_SHARD = {"report": reports.render, "webhook": webhooks.deliver, "batch_cancel": batch_mode.cancel}


def do(workspace_id: str, task_id: str) -> None:
    """Do the task that is next, if there is one.

    The ids say why the bell was rung, no more: whoever rings often must not be served before everybody else.
    """
    until = time.monotonic() + STAY_S
    while time.monotonic() < until and _do_next():
        drain.on_request(_nothing)


def _nothing() -> None:
    """Stand in for a task between two of them."""


def _do_next() -> bool:
    """Do the task that is next; return False when there is none, or when none may be begun."""
    if drain.requested or drain.orphaned():
        return False  # the task waits in the database; another worker will be woken for it
    context = current()
    # What was answered and could not be stored comes first: an item that has its result is not called again.
    recorder.tell(context, journal.replay_all(context.home, context.database))
    lease = tasks.claim_next(context.database, context.worker, context.lease_s)
    if lease is None:
        return False
    heartbeat = Heartbeat(context.lease_database, lease, context.lease_s)
    with heartbeat:
        _carry_out(context, lease, heartbeat)
    return True


def _carry_out(context: Context, lease: tasks.Lease, heartbeat: Heartbeat) -> None:
    error: PromptCardError | None = None
    ledger = Ledger(context, lease)
    try:
        if lease.kind == "run_shard":
            drain.on_request(heartbeat.drain)
            shard.run(context, lease, heartbeat, ledger)
        else:
            drain.on_request(_interrupt)
            _WITHOUT_SHARD[lease.kind](context, lease)
            drain.on_request(lambda: None)  # it is made: too late to give it back
    except _Interrupted:
        heartbeat.drain()
    except PromptCardError as problem:
        error = problem
    except Exception as problem:
        log.exception("Task %s broke", lease.task_id)
        error = PromptCardError(f"The worker broke: {type(problem).__name__}: {problem}", code="internal_error")
    _end(context, lease, heartbeat, error, ledger.sent)


class _Interrupted(BaseException):
    """Raised in the middle of what listens to nobody, such as a notebook that runs."""


def _interrupt() -> None:
    raise _Interrupted


def _end(
    context: Context, lease: tasks.Lease, heartbeat: Heartbeat, error: PromptCardError | None, sent: Collection[int]
) -> None:
    if heartbeat.reason == "lost":
        return  # somebody else has the task by now, and its end is theirs
    if heartbeat.hands_back:
        tasks.release(context.database, lease, sent=sent)
    elif heartbeat.reason == "cancelled":
        tasks.finish(context.database, lease, "cancelled", sent=sent)
    elif error is None:
        tasks.finish(context.database, lease, "done", sent=sent)
    elif isinstance(error, Unavailable) or (error.code == "internal_error" and lease.attempt < MAX_CRASHES):
        tasks.release(context.database, lease, error.to_dict(), sent=sent)
    else:
        tasks.finish(context.database, lease, "failed", error.to_dict(), sent=sent)
    shard.announce(context, lease)
