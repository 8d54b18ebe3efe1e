"""The worker process."""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import suppress

from redis import Redis
from rq import Worker
from rq.serializers import JSONSerializer

from server_ext.jobs import context, work
from server_ext.jobs.queue import Doorbell, DoorbellJob, open_queue
from server_ext.jobs.relay import Relay

log = logging.getLogger("promptcards.worker")


class PromptCardsWorker(Worker):
    """RQ's forking worker; on a warm shutdown its job hands the task back instead of being waited for."""

    def handle_warm_shutdown_request(self) -> None:
        """Ask the running job to stop where it is; what it has is recorded, the rest goes back to the queue."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        if self.horse_pid:
            with suppress(ProcessLookupError):
                os.kill(self.horse_pid, work.DRAIN_SIGNAL)


def worker_name() -> str:
    """Return a name that tells machine and process."""
    return f"{socket.gethostname()}-{os.getpid()}"


def work_forever(database_url: str, redis_url: str, *, lease_s: float, burst: bool = False) -> None:
    """Take tasks from the queue until SIGTERM or Ctrl-C (or, with ``burst``, until none is left)."""
    setting = context.Context(database_url, redis_url, worker_name(), lease_s)
    context.install(setting)
    # The relay's threads and connections live in this process only; a forked job opens its own.
    doorbell = Doorbell(redis_url)
    relay = Relay(setting.database, doorbell, sweep_s=min(5.0, lease_s / 2), patience_s=max(10.0, lease_s))
    relay.start()
    connection = Redis.from_url(redis_url)
    worker = PromptCardsWorker(
        [open_queue(connection)],
        connection=connection,
        name=worker_name(),
        job_class=DoorbellJob,
        serializer=JSONSerializer,
        maintenance_interval=60,
        log_job_description=False,
    )
    log.info("Worker %s waits for work.", worker.name)
    try:
        worker.work(burst=burst, logging_level="WARNING")
    finally:
        relay.close()
        doorbell.close()
        setting.database.close()


def die_with_parent(parent: int) -> None:
    """End this process (warmly) when its parent is gone: a server that was killed must not leave workers behind."""
    import signal
    import time

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="promptcards-parent", daemon=True).start()
