"""The entry of every job: lease the task, do it, end it."""

from __future__ import annotations

import logging
from uuid import UUID

from promptcard_ext.core.errors import PromptCardError, Unavailable
from server_ext.jobs import drain, reports, shard
from server_ext.jobs.context import Context, current
from server_ext.jobs.heartbeat import Heartbeat
from server_ext.services import tasks

log = logging.getLogger("promptcards.worker")
MAX_CRASHES = 3


def do(workspace_id: str, task_id: str) -> None:
    """Do a task, unless it is done or somebody else has it."""
    if drain.requested:
        return  # the task waits in the database; another worker will be woken for it
    context = current()
    lease = tasks.claim(context.database, UUID(workspace_id), UUID(task_id), context.worker, context.lease_s)
    if lease is None:
        return
    heartbeat = Heartbeat(context.database, lease, context.lease_s)
    with heartbeat:
        _carry_out(context, lease, heartbeat)


def _carry_out(context: Context, lease: tasks.Lease, heartbeat: Heartbeat) -> None:
    error: PromptCardError | None = None
    try:
        if lease.kind == "run_shard":
            drain.on_request(heartbeat.drain)
            shard.run(context, lease, heartbeat)
        else:
            drain.on_request(_interrupt)
            reports.render(context, lease)
            drain.on_request(lambda: None)  # it is made: too late to give it back
    except _Interrupted:
        heartbeat.drain()
    except PromptCardError as problem:
        error = problem
    except Exception as problem:
        log.exception("Task %s broke", lease.task_id)
        error = PromptCardError(f"The worker broke: {type(problem).__name__}: {problem}", code="internal_error")
    _end(context, lease, heartbeat, error)


class _Interrupted(BaseException):
    """Raised in the middle of a report: a notebook that runs listens to nobody."""


def _interrupt() -> None:
    raise _Interrupted


def _end(context: Context, lease: tasks.Lease, heartbeat: Heartbeat, error: PromptCardError | None) -> None:
    if heartbeat.reason == "lost":
        return  # somebody else has the task by now, and its end is theirs
    if heartbeat.hands_back:
        tasks.release(context.database, lease)
    elif heartbeat.reason == "cancelled":
        tasks.finish(context.database, lease, "cancelled")
    elif error is None:
        tasks.finish(context.database, lease, "done")
    elif isinstance(error, Unavailable) or (error.code == "internal_error" and lease.attempt < MAX_CRASHES):
        tasks.release(context.database, lease, error.to_dict())
    else:
        tasks.finish(context.database, lease, "failed", error.to_dict())
    shard.announce(context, lease)
