"""Copies of the heads of all audit trails, kept in a file: they show later what a chain alone cannot.

Whoever cuts entries off at the end, or writes a whole trail anew, leaves a chain that is whole. The file is a line of
JSON for each head, and is only ever appended to; keep a copy of it where the database's owner cannot reach.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import msgspec
import sqlalchemy as sa

from promptcard_ext.core.contract.audit import AuditHead
from promptcard_ext.core.errors import SetupError
from server_ext.db.engine import Database
from server_ext.services.audit import head_of

log = logging.getLogger("promptcards.audit")
_ALL = sa.text("select workspace_id, seq, at, hash, key_id, mac from pc.audit_heads()")


def heads(database: Database) -> list[AuditHead]:
    """Return the last entry's number, hash and seal of every workspace."""
    with database.transaction() as connection:
        return [head_of(row) for row in connection.execute(_ALL)]


def append(path: Path, found: list[AuditHead]) -> int:
    """Write heads that went on since they were written last; returns how many.

    They are on the disk when this returns. A trail that is shorter than it was is reported in the log.

    Raises:
        SetupError: The file cannot be read or written (``audit_heads_invalid``).
    """
    latest = {head.workspace: head for head in read(path)} if path.exists() else {}
    fresh = [head for head in found if _went_on(latest.get(head.workspace), head)]
    if fresh:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(path, b"".join(msgspec.json.encode(head) + b"\n" for head in fresh))
        except OSError as error:
            raise _invalid(path, f"cannot be written: {error.strerror}") from None
    return len(fresh)


def read(path: Path, workspace: UUID | None = None) -> Iterator[AuditHead]:
    """Yield the heads of a file, oldest first; of one workspace or of all.

    Raises:
        SetupError: There is no such file, or a line of it is no head (``audit_heads_invalid``).
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    head = msgspec.json.decode(line, type=AuditHead)
                except msgspec.DecodeError:
                    raise _invalid(path, f"has a line that is no head: line {number}") from None
                if workspace in (None, head.workspace):
                    yield head
    except OSError as error:
        raise _invalid(path, f"cannot be read: {error.strerror}") from None


def _went_on(before: AuditHead | None, now: AuditHead) -> bool:
    if before is None or now.seq > before.seq:
        return True
    if now.seq < before.seq or now.hash != before.hash:
        log.error(
            "The audit trail of workspace %s is not what it was: it had entry %d with another hash or more entries. "
            "'jupyter promptcards audit verify' tells more.",
            now.workspace,
            before.seq,
        )
    return False


def _write(path: Path, lines: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # closing gives it back
        written = os.write(file, lines)
        if written < len(lines):
            os.ftruncate(file, os.fstat(file).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)
    finally:
        os.close(file)


def _invalid(path: Path, what: str) -> SetupError:
    return SetupError(
        f"The copied heads {path} cannot be used: the file {what}.",
        hint="Name a file that 'jupyter promptcards audit head --out' or the server has written.",
        code="audit_heads_invalid",
    )
