"""A task from its lease to its end."""

from __future__ import annotations

import logging
from collections.abc import Collection
from uuid import UUID

from promptcard_ext.core.errors import PromptCardError, Unavailable
from server_ext.jobs import drain, journal, live, recorder
from server_ext.jobs.context import Context
from server_ext.jobs.heartbeat import Heartbeat
from server_ext.services import tasks

log = logging.getLogger("promptcards.worker")
MAX_CRASHES = 3


def take(context: Context, of_run: UUID | None = None) -> tasks.Lease | None:
    """Lease the task that is next; None when there is none, or when none may be begun.

    Args:
        of_run: Take it only if it is of this run; otherwise it stays where it is.

    Raises:
        Unavailable: The database is away.
    """
    if drain.requested or drain.orphaned():
        return None  # the task waits in the database; another worker will be woken for it
    # What was answered and could not be stored comes first: an item that has its result is not called again.
    recorder.tell(context, journal.replay_all(context.home, context.database))
    return tasks.claim_next(context.database, context.worker, context.lease_s, of_run)


def as_error(lease: tasks.Lease, problem: Exception) -> PromptCardError:
    """Return what broke a task as the reason of its end."""
    if isinstance(problem, PromptCardError):
        return problem
    log.error("Task %s broke", lease.task_id, exc_info=problem)
    return PromptCardError(f"The worker broke: {type(problem).__name__}: {problem}", code="internal_error")


def end(
    context: Context, lease: tasks.Lease, heartbeat: Heartbeat, error: PromptCardError | None, sent: Collection[int]
) -> None:
    """End a task, or hand it back.

    Args:
        error: Why it broke.
        sent: Ordinals of the items that were called.
    """
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
    announce(context, lease)


def announce(context: Context, lease: tasks.Lease) -> None:
    """Tell whoever watches the run to look again."""
    if lease.run_id is not None:
        live.publish(context.news, lease.workspace_id, lease.run_id, 0)
