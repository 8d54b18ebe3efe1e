"""A worker's signs of life: in the database for people, in a file of its home for whoever supervises the process."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from promptcard_ext._version import __version__
from promptcard_ext.core.errors import Unavailable
from server_ext.db.engine import Database
from server_ext.services import workers
from server_ext.services.workers import Sign, State

log = logging.getLogger("promptcards.worker")
FOLDER = "workers"
INTERVAL_S = 5.0
STALE_S = 20.0


class Pulse(Struct, frozen=True):
    """What a worker's file says.

    Attributes:
        at: When it was written, in seconds since 1970.
        ready: Whether the database knew of it then.
    """

    name: str
    host: str
    pid: int
    state: State
    at: float
    ready: bool


class Presence:
    """A thread that gives a sign every five seconds, and at once when the worker turns to something else.

    Args:
        home: Where the files are.
        state: Says what the worker is at.
    """

    def __init__(
        self, database: Database, home: Path, name: str, state: Callable[[], State], concurrency: int | None
    ) -> None:
        self._database, self._name, self._state, self._concurrency = database, name, state, concurrency
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._file = home / FOLDER / f"{self._host}-{self._pid}.json"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="promptcards-presence", daemon=True)

    def start(self) -> None:
        """Start giving signs."""
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def close(self) -> None:
        """Give no more, and take this worker off the lists."""
        self._ended.set()
        self._thread.join(timeout=10)
        self._file.unlink(missing_ok=True)
        with suppress(Unavailable):
            workers.forget(self._database, self._name)

    def _beat(self) -> None:
        told, next_at = None, 0.0
        while not self._ended.is_set():
            state = self._state()
            if state != told or time.monotonic() >= next_at:
                told, next_at = state, time.monotonic() + INTERVAL_S
                self._tell(state)
            self._ended.wait(0.5)

    def _tell(self, state: State) -> None:
        ready = False
        try:
            workers.beat(self._database, Sign(self._name, self._host, self._pid, __version__, state, self._concurrency))
            ready = True
        except Unavailable:
            pass  # the file says so
        except Exception:
            # Nobody watches this thread; a worker that works is worth more than a list that has it.
            log.exception("The worker could not say that it lives.")
        self._write(Pulse(self._name, self._host, self._pid, state, time.time(), ready))

    def _write(self, pulse: Pulse) -> None:
        unfinished = self._file.with_suffix(".new")
        try:
            unfinished.write_bytes(msgspec.json.encode(pulse))
            unfinished.replace(self._file)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._file, error.strerror)


def pulses(home: Path) -> list[Pulse]:
    """Return the files of this machine's workers that live; those of the dead are removed."""
    found = []
    for path in sorted((home / FOLDER).glob("*.json")):
        try:
            pulse = msgspec.json.decode(path.read_bytes(), type=Pulse)
        except (OSError, msgspec.DecodeError):
            continue  # gone while we looked, or none of ours
        if pulse.host != socket.gethostname():
            continue
        if _lives(pulse.pid):
            found.append(pulse)
        else:
            path.unlink(missing_ok=True)
    return found


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's, and so none that we may call dead
    return True


def healthy(pulse: Pulse) -> bool:
    """Tell whether a worker has given a sign lately."""
    return time.time() - pulse.at < STALE_S
