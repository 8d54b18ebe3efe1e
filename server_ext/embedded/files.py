"""Private files and directories, and what the operating system's refusals mean to a user."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from promptcard_ext.core.errors import SetupError
from server_ext.embedded.account import Account

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FULL_TEXT = ("No space left on device", "Disk quota exceeded", "disk full")
LOG_LINES = 8


def disk_full(place: Path) -> SetupError:
    """Return the error for a disk without room, naming the place that could not be written."""
    return SetupError(
        f"There is no space left on the disk that holds {place}.",
        hint="Free some space (a new home needs about 100 MB), or set PROMPTCARDS_HOME to another disk.",
        code="disk_full",
    )


@contextmanager
def explained(home: Path) -> Iterator[None]:
    """Turn an OSError into a SetupError that names the path and the way out.

    Raises:
        SetupError: ``disk_full`` or ``home_not_writable``.
    """
    try:
        yield
    except OSError as error:
        place = Path(os.fsdecode(error.filename)) if error.filename else home
        if error.errno in _FULL:
            raise disk_full(place) from error
        raise SetupError(
            f"The home {home} cannot be used: {place}: {error.strerror or error}.",
            hint="Make it writable for this user, or set PROMPTCARDS_HOME to a directory that is.",
            code="home_not_writable",
        ) from error


def failed(what: str, log: Path, text: str, *, place: Path) -> SetupError:
    """Return the error for a program that did not start or finish, with the last lines it wrote."""
    if any(mark in text for mark in _FULL_TEXT):
        return disk_full(place)
    lines = [line for line in text.splitlines() if line.strip()][-LOG_LINES:]
    said = "\n".join(lines) or "(it wrote nothing)"
    return SetupError(f"{what} failed. It said:\n{said}\n", hint=f"The whole log: {log}.", code="service_failed")


def read_from(path: Path, offset: int) -> str:
    """Return what was written to a log after ``offset``; empty when there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def size_of(path: Path) -> int:
    """Return the size of a file, 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def rotate(log: Path, limit: int = 10 * 2**20) -> None:
    """Keep one old log: called before a start, the only moment when nobody writes to it."""
    if size_of(log) > limit:
        log.replace(log.with_name(log.name + ".1"))


def make_private(path: Path, account: Account | None = None, mode: int = 0o700) -> None:
    """Create a directory of our own; one that exists already is left exactly as it is."""
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        return
    path.chmod(mode)  # the umask may have taken bits away
    if account:
        os.chown(path, account.uid, account.gid)


def write_private(path: Path, text: str, account: Account | None = None) -> None:
    """Write a 0600 file in one step: a reader, or a crash, never sees half of it."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    # O_EXCL: in a directory that another account owns, a planted symbolic link must not be followed.
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            if account:
                os.fchown(fd, account.uid, account.gid)
            file.write(text)
            file.flush()
            os.fsync(fd)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Delete a file or a tree; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
