"""When a request is made again."""

from __future__ import annotations

import random
import time

TOTAL_S = 120.0
"""Longest time for a request with all its repetitions."""
MOST = 3
FIRST_S = 0.3


class Retries:
    """The repetitions of one request: at most three, further and further apart, within a total time.

    Args:
        total_s: Seconds in which all of it has to be over.
    """

    def __init__(self, total_s: float = TOTAL_S) -> None:
        self._ends_at = time.monotonic() + total_s
        self._made = 0

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self._ends_at - time.monotonic()

    def next_wait_s(self, asked_s: float | None) -> float | None:
        """Return how long to wait before the next repetition; None when there is to be none.

        Args:
            asked_s: How long the server wants us to wait, when it said so. It is made a little longer, so that not
                everybody comes back at once; without it half of each wait is left to chance.
        """
        if self._made == MOST:
            return None
        chance = random.random()  # noqa: S311  no secret
        wait = FIRST_S * 2**self._made * (0.5 + chance / 2) if asked_s is None else asked_s * (1 + chance / 10)
        self._made += 1
        return wait if wait < self.left_s else None
