"""Copies the heads of all audit trails into a file of the home, at the start of a server and every hour."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from promptcard_ext.core.errors import PromptCardError
from server_ext.db.engine import Database
from server_ext.services import audit_heads

HEADS_FILE = "audit-heads.jsonl"
log = logging.getLogger("promptcards.audit")


class HeadKeeper:
    """A thread that copies heads.

    Args:
        path: The file; see `server_ext.services.audit_heads`.
        every_s: Seconds between two copies.
    """

    def __init__(self, database: Database, path: Path, *, every_s: float = 3600.0) -> None:
        self._database, self._path, self._every_s = database, path, every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="promptcards-audit-heads", daemon=True)

    def start(self) -> None:
        """Start copying."""
        self._thread.start()

    def close(self) -> None:
        """Stop copying."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            try:
                audit_heads.append(self._path, audit_heads.heads(self._database))
            except PromptCardError as error:
                log.warning("The heads of the audit trails were not copied: %s", error)
            except Exception:
                # Nobody watches this thread; it must outlive whatever goes wrong in one round.
                log.exception("The copy of the audit trails' heads met an unexpected error; it is tried again.")
            if self._stopping.wait(self._every_s):
                return
