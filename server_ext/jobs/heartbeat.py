"""Keeps a lease alive, and says when to stop."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType

from promptcard_ext.core.engine import Control
from promptcard_ext.core.errors import Unavailable
from server_ext.db.engine import Database
from server_ext.jobs import drain
from server_ext.services import run_control, tasks
from server_ext.services.run_control import Orders

log = logging.getLogger("promptcards.worker")
INTERVAL_S = 0.5  # also how soon a cancellation or a pause is noticed


class Heartbeat:
    """Renews a lease from a thread of its own, so that a busy event loop cannot make it late.

    A second thread looks at the time only: a database that says nothing at all keeps the first one waiting.

    Args:
        database: Best one that nobody else uses, so that no renewal waits for a connection.

    Attributes:
        reason: Why to stop: ``lost`` (another worker has the task, or no database for half the lease),
            ``cancelled`` and ``paused`` (by a user), ``drain`` (this worker shuts down), ``budget`` (the run has got
            one, and is taken up anew with it); an empty text as long as there is none.
    """

    def __init__(self, database: Database, lease: tasks.Lease, lease_s: float) -> None:
        self._database, self._lease, self._lease_s = database, lease, lease_s
        self.reason = ""
        self._orders: Orders | None = None
        self._obey: Callable[[Orders], None] | None = None
        self._steered: list[tuple[Control, float]] = []
        self._ended = threading.Event()
        self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._beat, name="promptcards-heartbeat", daemon=True)
        self._fence = threading.Thread(target=self._watch, name="promptcards-fence", daemon=True)

    @property
    def hands_back(self) -> bool:
        """Whether what is not done yet is to be done later, by whoever takes the task up."""
        return self.reason in ("drain", "paused", "budget")

    def steer(self, control: Control, grace_s: float) -> None:
        """Stop a run when there is a reason to; at once when there is one already.

        Args:
            grace_s: How long calls in flight may still be answered when the worker shuts down, and no more than that.
        """
        self._steered.append((control, grace_s))
        if self.reason:
            self._end(control, grace_s)

    def follow(self, orders: Orders, listener: Callable[[Orders], None]) -> None:
        """Call ``listener`` from the thread whenever the orders of the run are no longer these, or the last ones."""
        self._orders, self._obey = orders, listener

    def take_up_anew(self) -> None:
        """Stop so that the task is taken up again, as the run is now."""
        self._stop("budget")

    def drain(self) -> None:
        """Stop because the worker shuts down; the task goes back to the queue."""
        self._stop("drain")

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()
        self._fence.start()

    def close(self) -> None:
        """Stop beating, and wait until that is so."""
        self._ended.set()
        self._fence.join()
        # One that waits for a silent database is left alone: it ends when its connection does.
        self._thread.join(timeout=0 if self.reason == "lost" else 10)

    def __enter__(self) -> Heartbeat:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _beat(self) -> None:
        interval = min(INTERVAL_S, self._lease_s / 3)
        while not self._ended.wait(interval) and self.reason != "lost":
            if drain.orphaned() and not drain.requested:
                # Nobody looks after us any more: the task is for one who is looked after.
                os.kill(os.getpid(), drain.SIGNAL)
            asked = time.monotonic()
            try:
                status = tasks.renew(self._database, self._lease, self._lease_s)
            except Unavailable:
                continue  # for how long, says the other thread
            except Exception:
                # Without renewals the task is somebody else's soon: better to stop than to do it twice.
                log.exception("The lease on task %s could not be renewed", self._lease.task_id)
                return self._stop("lost")
            if status is None:
                return self._stop("lost")
            # Not when the answer came: that may have taken long, and the lease counts from before it.
            self._renewed = asked
            if status == "cancelling":
                self._stop("cancelled")
            elif status in ("pausing", "paused"):
                self._stop("paused")
            else:
                self._pass_on()
        return None

    def _watch(self) -> None:
        """Stop when there was no renewal for half the lease.

        Without a database nobody can tell us that the lease is gone: stop well before it may be.
        """
        while (left := self._renewed + self._lease_s / 2 - time.monotonic()) > 0:
            if self._ended.wait(left):
                return
        log.warning("No database for half the lease on task %s: its calls end here.", self._lease.task_id)
        self._stop("lost")

    def _pass_on(self) -> None:
        if self._obey is None:
            return
        try:
            orders = run_control.orders(self._database, self._lease)
        except Unavailable:
            return  # the next beat asks again
        if orders != self._orders:
            self._orders = orders
            self._obey(orders)

    def _stop(self, reason: str) -> None:
        if self._ended.is_set() or self.reason == "lost":
            return
        self.reason = self.reason or reason
        if reason == "lost":
            self.reason = reason
        for control, grace_s in self._steered:
            self._end(control, grace_s)

    def _end(self, control: Control, grace_s: float) -> None:
        # Whatever comes after that, such as a cancellation, cuts it short.
        if self.reason == "drain" and not control.cancelled:
            control.finish(grace_s, "drain")
        else:
            control.cancel()
