"""The worker process."""

from __future__ import annotations

import gc
import logging
import os
import secrets
import socket
import threading

from redis import Redis
from rq import Worker
from rq.serializers import JSONSerializer

from promptcard_ext.providers import registry
from server_ext.jobs import context, drain, work  # noqa: F401  Jobs are forked: what they need is imported once
from server_ext.jobs.presence import Presence
from server_ext.jobs.queue import Doorbell, DoorbellJob, open_queue
from server_ext.jobs.relay import Relay
from server_ext.keys import KeyRing
from server_ext.services.workers import State
from server_ext.settings import NO_RATES, CallRates

log = logging.getLogger("promptcards.worker")
# Of so many new objects some may be garbage that only a search finds. A run makes that many in a few hundred calls.
GARBAGE_AFTER = 20_000
# So long a job without work waits for more: somebody at a notebook runs, looks, changes something and runs again.
LINGER_S = 60.0


class PromptCardsWorker(Worker):
    """RQ's forking worker; on a warm shutdown its job hands the task back instead of being waited for."""

    # RQ's pauses grow to a minute while Redis is away: so long nobody would be working after it has come back.
    max_connection_wait_time = 2.0

    def what_it_is_at(self) -> State:
        """Tell whether it has a task: a job that waits for the next one has none."""
        if drain.requested:
            return "draining"
        return "busy" if self.horse_pid and context.current().at_work else "idle"

    def handle_warm_shutdown_request(self) -> None:
        """Ask the running job to stop where it is; what it has is recorded, the rest goes back to the queue."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        drain.request(self.horse_pid)


def worker_name() -> str:
    """Return a new name that tells machine and process.

    The ending makes it differ from one that was killed: in a container the next worker has the same process id, and
    RQ refuses a name that it believes to be alive.
    """
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def prepare_forks() -> None:
    """Have everything in memory that all jobs need, and let none of them search it for garbage.

    The search through modules and classes, again and again, took a fifth of a run's time; and it writes to pages that
    a job would otherwise share with its parent.
    """
    registry.preload()
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER, 10, 10)


def work_forever(
    database_url: str,
    redis_url: str,
    keys: KeyRing,
    *,
    lease_s: float,
    grace_s: float = context.DEFAULT_GRACE_S,
    shared_keys: bool = False,
    most_calls: int | None = None,
    installation: str = "",
    calls_total: int | None = None,
    calls_per_workspace: int | None = None,
    rates: CallRates = NO_RATES,
    burst: bool = False,
) -> None:
    """Take tasks from the queue until SIGTERM or Ctrl-C (or, with ``burst``, until none is left)."""
    setting = context.Context(
        database_url, redis_url, worker_name(), keys, lease_s, shared_keys, most_calls, installation,
        calls_total, calls_per_workspace, rates, grace_s, 0.0 if burst else LINGER_S,
    )  # fmt: skip
    context.install(setting)
    drain.install()
    prepare_forks()
    # The relay's threads and connections live in this process only; a forked job opens its own.
    doorbell = Doorbell(redis_url)
    relay = Relay(setting.database, doorbell, sweep_s=min(5.0, lease_s / 4), home=setting.home)
    relay.start()
    connection = Redis.from_url(redis_url)
    worker = PromptCardsWorker(
        [open_queue(connection)],
        connection=connection,
        name=setting.worker,
        job_class=DoorbellJob,
        serializer=JSONSerializer,
        maintenance_interval=60,
        log_job_description=False,
    )
    presence = Presence(setting.database, setting.home, setting.worker, worker.what_it_is_at, most_calls)
    presence.start()
    log.info("Worker %s waits for work.", worker.name)
    try:
        worker.work(burst=burst, logging_level="WARNING")
    finally:
        presence.close()
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
