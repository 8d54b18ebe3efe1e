"""Carries notes from the outbox to the queue, rings again for tasks that nobody took up, and brings in what waits.

Every server and worker runs one; the database hands each note to one of them only.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from promptcard_ext.core.errors import Unavailable
from server_ext.db.engine import Database
from server_ext.jobs import journal
from server_ext.jobs.queue import Doorbell
from server_ext.services import tasks

log = logging.getLogger("promptcards.relay")
MOST_BELLS = 50


class Relay:
    """A thread that rings.

    Args:
        sweep_s: How often to look for tasks that wait or whose lease ran out.
        patience_s: How long a task may wait, without a bell in the queue, before it is rung for again.
        home: Where answers may wait for the database, of workers that have nothing to do now; None for a server.
    """

    def __init__(
        self,
        database: Database,
        doorbell: Doorbell,
        *,
        sweep_s: float = 5.0,
        patience_s: float = 2.0,
        home: Path | None = None,
    ) -> None:
        self._database, self._doorbell, self._home = database, doorbell, home
        self._sweep_s, self._patience_s = sweep_s, patience_s
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="promptcards-relay", daemon=True)

    def start(self) -> None:
        """Start ringing."""
        self._thread.start()

    def wake(self) -> None:
        """Look into the outbox now: something was just committed to it."""
        self._wake.set()

    def close(self) -> None:
        """Stop ringing."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        next_sweep = 0.0
        while not self._stopping:
            try:
                while tasks.take_notes(self._database, self._doorbell.ring):
                    pass
                if time.monotonic() >= next_sweep:
                    next_sweep = time.monotonic() + self._sweep_s
                    self._sweep()
            except Unavailable as error:
                log.warning("%s Trying again.", error)
            except Exception:
                # Nobody watches this thread; it must outlive whatever goes wrong in one round.
                log.exception("The relay met an unexpected error and goes on.")
            self._wake.wait(1.0)
            self._wake.clear()

    def _sweep(self) -> None:
        # As long as a bell waits, workers are busy, not deaf: ringing again would only make the queue longer each time.
        if not self._doorbell.waiting():
            for note in tasks.overdue(self._database, self._patience_s, MOST_BELLS):
                self._doorbell.ring(note)
        if self._home is not None:
            journal.replay_all(self._home, self._database)
