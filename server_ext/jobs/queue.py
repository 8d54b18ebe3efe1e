"""The doorbell: RQ only wakes workers. What there is to do stands in PostgreSQL.

A job carries two ids and nothing else. Losing it costs seconds (`relay` rings again), having it twice costs one look.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.exceptions import InvalidJobOperation
from rq.job import Job
from rq.serializers import JSONSerializer

from promptcard_ext.core.errors import Unavailable
from server_ext.services.tasks import Note

QUEUE = "promptcards"
ENTRY = "server_ext.jobs.work.do"


class DoorbellJob(Job):
    """A job that can only be our own entry function.

    Whoever can write to Redis can put any dotted path into a job; a worker must not import and call it.
    """

    @property
    def func(self) -> Any:
        """The one function that a worker runs."""
        if self.func_name != ENTRY:
            raise InvalidJobOperation(f"This worker does not run '{str(self.func_name)[:100]}'.")
        from server_ext.jobs.work import do

        return do

    # RQ would import these by name, too.
    success_callback = failure_callback = stopped_callback = property(lambda self: None)


class Doorbell:
    """Wakes workers.

    Args:
        redis_url: Redis or Valkey.
    """

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=5)
        self._queue = open_queue(self._redis)

    def ring(self, note: Note) -> None:
        """Wake a worker for a task.

        Raises:
            Unavailable: Redis does not answer; the task waits in the database until it does.
        """
        with _translated():
            self._queue.enqueue_call(
                ENTRY,
                args=(str(note.workspace_id), str(note.task_id)),
                timeout=-1,  # leases limit our tasks; RQ's alarm could be swallowed anyway
                result_ttl=0,
                failure_ttl=300,
                description=f"{note.kind} {note.task_id}",
            )

    def waiting(self) -> int:
        """Return how many jobs are in the queue.

        Raises:
            Unavailable: Redis does not answer.
        """
        with _translated():
            return len(self._queue)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise Unavailable("The queue does not answer.", code="queue_unavailable") from error


def open_queue(redis: Redis) -> Queue:
    """Return our queue. Each worker listens on this one only: on several, RQ can lose a job between two lists."""
    return Queue(QUEUE, connection=redis, serializer=JSONSerializer, job_class=DoorbellJob)


def heard(redis: Redis, wait_s: float) -> bool:
    """Wait for the next bell, in whole or parts of seconds, and take it; False when none came, or Redis went away."""
    try:
        return redis.blpop([open_queue(redis).key], timeout=wait_s) is not None
    except RedisError:
        return False


def hush(redis: Redis) -> int:
    """Take all bells out of the queue and return how many there were; none while Redis does not answer."""
    try:
        return int(open_queue(redis).empty())  # type: ignore[no-untyped-call]
    except RedisError:
        return 0
