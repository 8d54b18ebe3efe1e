"""The entry of every job: lease the task that is next, do it, end it."""

from __future__ import annotations

import time

from promptcard_ext.core.errors import PromptCardError
from server_ext.jobs import batch_mode, drain, reports, stint, turn, webhooks
from server_ext.jobs.context import Context, current
from server_ext.jobs.heartbeat import Heartbeat
from server_ext.jobs.queue import heard, hush
from server_ext.services import tasks

# A process takes one task after the other for so long: making one costs more than a short task.
STAY_S = 60.0
# No further shard of a run is begun in the same stint after so long: its prices and credentials are as of its start.
STINT_S = 30.0
# So often one that waits for a bell looks whether it is to end.
GLANCE_S = 0.25
# What is done in one go: a shutdown interrupts it, and it begins anew.
_WITHOUT_SHARD = {"report": reports.render, "webhook": webhooks.deliver, "batch_cancel": batch_mode.cancel}


def do(workspace_id: str, task_id: str) -> None:
    """Do the task that is next, if there is one.

    The ids say why the bell was rung, no more: whoever rings often must not be served before everybody else.
    """
    until = time.monotonic() + STAY_S
    while time.monotonic() < until and (_do_next() or _bells_waited() or _bell_rings(until)):
        drain.on_request(_nothing)


def _nothing() -> None:
    """Stand in for a task between two of them."""


def _do_next() -> bool:
    """Do the task that is next; return False when there is none, or when none may be begun."""
    context = current()
    lease = turn.take(context)
    if lease is not None:
        context.at_work.set()
        _carry_out(context, lease)
    return lease is not None


def _bells_waited() -> bool:
    """Take the bells that wait and tell whether there were any: each asks for a look, and one look does for all.

    Otherwise each would be heard by a process of its own, which finds nothing. A worker without work needs none of
    them: it waits for the next, and is there before that could be taken from it.
    """
    return not _is_to_end() and hush(current().redis) > 0


def _bell_rings(until: float) -> bool:
    """Wait for a bell, for a while: who comes back soon is served by a process that has all its connections."""
    context = current()
    context.at_work.clear()
    until = min(until, time.monotonic() + context.linger_s)
    while time.monotonic() < until and not _is_to_end():
        if heard(context.redis, GLANCE_S):
            return True
    return False


def _is_to_end() -> bool:
    return drain.requested or drain.orphaned()


def _carry_out(context: Context, lease: tasks.Lease) -> None:
    if lease.kind == "run_shard":
        stint.run(context, lease, time.monotonic() + STINT_S)
    else:
        with Heartbeat(context.lease_database, lease, context.lease_s) as heartbeat:
            _do_at_once(context, lease, heartbeat)


def _do_at_once(context: Context, lease: tasks.Lease, heartbeat: Heartbeat) -> None:
    error: PromptCardError | None = None
    try:
        drain.on_request(_interrupt)
        _WITHOUT_SHARD[lease.kind](context, lease)
        drain.on_request(_nothing)  # it is made: too late to give it back
    except _Interrupted:
        heartbeat.drain()
    except Exception as problem:  # noqa: BLE001  Nobody above would see it: it is the reason of the task's end.
        error = turn.as_error(lease, problem)
    turn.end(context, lease, heartbeat, error, ())


class _Interrupted(BaseException):
    """Raised in the middle of what listens to nobody, such as a notebook that runs."""


def _interrupt() -> None:
    raise _Interrupted
