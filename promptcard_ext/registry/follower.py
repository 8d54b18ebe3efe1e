"""Following what changes on the server, on a thread of its own."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from promptcard_ext.client.changes import Change, ChangeStream
from promptcard_ext.client.session import Session
from promptcard_ext.core.errors import PromptCardError

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
_log = logging.getLogger(__name__)


class Follower:
    """Tells of changes of a workspace, and comes back when the connection breaks.

    Args:
        changed: Called with the key that has changed, or None when anything may have.
    """

    def __init__(self, session: Session, workspace: str, changed: Callable[[str | None], None]) -> None:
        self._session, self._workspace, self._changed = session, workspace, changed
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stream: ChangeStream | None = None
        self._closed = threading.Event()
        self._last_id = ""
        self._heard = False

    def start(self) -> None:
        """Begin to follow, unless that is done already."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="promptcards-changes", daemon=True)
                    self._thread.start()

    def close(self) -> None:
        """Stop following."""
        with self._lock:
            self._closed.set()
            if self._stream is not None:
                self._stream.close()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        wait_s = FIRST_WAIT_S
        while not self._closed.is_set():
            self._heard = False
            try:
                self._follow()
            except PromptCardError as error:
                _log.debug("Changes are not followed at the moment: %s", error.code)
            except Exception:  # noqa: BLE001  The edge of the thread: else nobody would hear of changes any more.
                _log.exception("Following changes broke")
            wait_s = FIRST_WAIT_S if self._heard else min(LONGEST_WAIT_S, wait_s * 2)
            self._closed.wait(wait_s * (0.5 + random.random() / 2))  # noqa: S311  no secret

    def _follow(self) -> None:
        asked_with = self._last_id
        stream = ChangeStream(self._session, self._workspace, asked_with)
        with self._lock:
            self._stream = stream
            if self._closed.is_set():
                stream.close()
        for change in stream:
            if change.kind == "end":
                return
            self._hear(change, anew=not asked_with)

    def _hear(self, change: Change, *, anew: bool) -> None:
        # After the first start, too: what was fetched before it may have changed before it.
        if change.kind == "reset" or (change.kind == "start" and anew):
            self._changed(None)
        elif change.kind in ("card", "label"):
            self._changed(change.key)
        self._heard, self._last_id = True, change.id or self._last_id
