"""Whether the server can do its work, for whoever asks, as often as they like."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from promptcard_ext.core.errors import PromptCardError

GOOD_FOR_S = 1.0


class Readiness:
    """What the last look found, for a second; safe for threads.

    Args:
        look: Raises what keeps the server from its work.
        clock: Seconds, of which only differences count.
    """

    def __init__(self, look: Callable[[], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._look, self._clock = look, clock
        self._lock = threading.Lock()
        self._until = float("-inf")
        self._problem: PromptCardError | None = None

    def check(self) -> None:
        """Raise what keeps the server from its work, as of at most a second ago."""
        with self._lock:
            if self._clock() >= self._until:
                self._problem = self._found()
                self._until = self._clock() + GOOD_FOR_S
            problem = self._problem
        if problem is not None:
            raise type(problem)(problem.message, hint=problem.hint, code=problem.code)

    def _found(self) -> PromptCardError | None:
        try:
            self._look()
        except PromptCardError as problem:
            return problem
        return None
