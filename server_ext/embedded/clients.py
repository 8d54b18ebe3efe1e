"""Who is attached: one marker file each, and a lock held while services start or stop.

The locks are POSIX record locks (``fcntl.lockf``). The kernel drops them when their process dies, however
it dies, and a forked child does not own them. In exchange a process must never open its own markers again:
closing any descriptor of such a file drops the lock. Hence the registry below.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from promptcard_ext.core.errors import SetupError
from server_ext.embedded.process import wait_until

# Longer than a start may take, recovery after a crash included.
TRANSITION_TIMEOUT_S = 330.0
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC

_threads = threading.Lock()  # record locks do not exclude threads of one process
_own: dict[Path, int] = {}


def _after_fork_in_child() -> None:
    """Forget the parent's markers; closing them here does not touch the parent's locks."""
    global _threads
    _threads = threading.Lock()
    for fd in _own.values():
        os.close(fd)
    _own.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


@dataclass(frozen=True)
class Marker:
    """One attached instance; ``pid`` tells a forked copy from the original."""

    path: Path
    pid: int


def _try_lock(fd: int) -> bool:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


@contextmanager
def transition(lock_file: Path, timeout: float = TRANSITION_TIMEOUT_S) -> Iterator[None]:
    """Hold the home's lock: nobody else starts or stops services meanwhile.

    Raises:
        SetupError: ``services_busy``.
        FileNotFoundError: The home does not exist.
    """
    with _threads:
        fd = _acquire(lock_file, timeout)
        try:
            yield
        finally:
            os.close(fd)


def _acquire(lock_file: Path, timeout: float) -> int:
    while True:
        fd = os.open(lock_file, _FLAGS, 0o600)
        try:
            if not wait_until(lambda fd=fd: _try_lock(fd), timeout):  # type: ignore[misc]
                raise SetupError(
                    f"Another process has been starting or stopping the services of {lock_file.parent} "
                    f"for more than {timeout:.0f} seconds.",
                    hint="Try again; if it lasts, end the process that hangs.",
                    code="services_busy",
                )
            # While we waited the home may have been removed: then what we hold is a lock on nothing.
            if _same(fd, lock_file):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _same(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def register(directory: Path) -> Marker:
    """Add a marker of this process; call it under ``transition``."""
    path = directory / f"{os.getpid()}-{secrets.token_hex(4)}"
    fd = os.open(path, _FLAGS | os.O_EXCL, 0o600)
    fcntl.lockf(fd, fcntl.LOCK_EX)
    _own[path] = fd
    return Marker(path, os.getpid())


def release(marker: Marker) -> None:
    """Take a marker away; a second time, or in a forked child, it does nothing."""
    fd = _own.pop(marker.path, None)
    if fd is not None:
        marker.path.unlink(missing_ok=True)
        os.close(fd)


def attached(directory: Path, *, purge: bool = False) -> int:
    """Count living markers. ``purge`` removes those of killed processes; only under ``transition``."""
    count = 0
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        if _is_own(path) or _is_locked(path):
            count += 1
        elif purge:
            path.unlink(missing_ok=True)
    return count


def _is_own(path: Path) -> bool:
    # Compared as files: one home may be reached by two paths.
    return any(_same(fd, path) for fd in _own.values())


def _is_locked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True  # another user's: better count one too many than stop services in use
    try:
        return not _try_lock(fd)
    finally:
        os.close(fd)
