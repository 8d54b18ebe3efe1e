"""The worker process of a server: started with it, started again when it dies, stopped with it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from server_ext.settings import Settings

log = logging.getLogger("promptcards")

MIN_LIFE_S = 5.0
MAX_PAUSE_S = 60.0


class WorkerProcess:
    """Keeps one worker alive.

    A worker that dies is replaced at once; one that dies again and again, after a pause that doubles up to a minute.
    What it was doing is taken up by the next one when its lease has run out.

    Args:
        arguments: What it is started with, besides ``worker``.
    """

    def __init__(self, settings: Settings, arguments: Sequence[str] = ()) -> None:
        self._settings, self._arguments = settings, arguments
        self._stopping = threading.Event()
        self._process = _start(settings, arguments)
        self._thread = threading.Thread(target=self._watch, name="promptcards-supervisor", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Process id of the worker that runs now."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def _watch(self) -> None:
        pause, started = 1.0, time.monotonic()
        while not self._stopping.wait(0.5):
            if self.alive:
                continue
            long_enough = time.monotonic() - started > MIN_LIFE_S
            pause = 1.0 if long_enough else min(MAX_PAUSE_S, pause * 2)
            log.warning("The worker ended with code %s; another starts.", self._process.returncode)
            if not long_enough and self._stopping.wait(pause):
                return
            started = time.monotonic()
            self._process = _start(self._settings, self._arguments)

    def close(self, timeout_s: float = 15.0) -> None:
        """Let the worker finish what it writes; after ``timeout_s`` seconds end it by force."""
        self._stopping.set()
        self._thread.join()
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            log.warning("The worker did not stop within %g s and is ended; its work will be taken up again.", timeout_s)
            self._process.kill()
            self._process.wait(5)
        if self._process.returncode not in (0, -signal.SIGTERM, -signal.SIGKILL):
            log.warning("The worker ended with code %s.", self._process.returncode)


def _start(settings: Settings, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # -P: a file of the user's that is called like a module, in the folder of the notebooks, must not be imported.
        [sys.executable, "-P", "-m", "promptcard_ext.cli", "worker", "--parent", str(os.getpid()), *arguments],
        env={**os.environ, "PROMPTCARDS_HOME": str(settings.home)},
        stdin=subprocess.DEVNULL,
        # Its own session: Ctrl-C in the terminal is for the server, which then stops the worker in good order.
        start_new_session=True,
    )
