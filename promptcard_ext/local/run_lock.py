"""The right to go on with a run: one process at a time has it, and loses it when it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from promptcard_ext.core.errors import Conflict
from promptcard_ext.local.folders import explained, open_private


class RunLock:
    """A lock on the file ``lock`` in the folder of a run; the system drops it when its process dies, however."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    @classmethod
    def take(cls, folder: Path) -> RunLock:
        """Take the lock.

        Raises:
            Conflict: Somebody has it (``run_busy``).
            FileError: The file cannot be opened (``run_unusable``).
        """
        with explained(folder, code="run_unusable"):
            fd = open_private(folder / "lock")
        try:
            # Of the open file, not of the process: two runs in one process exclude each other too.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise Conflict(
                f"Another process works on run {folder.name}.",
                hint="Wait until it is done, or stop it first.",
                code="run_busy",
            ) from None
        return cls(fd)

    def release(self) -> None:
        """Give the lock back; calling it twice is fine."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
