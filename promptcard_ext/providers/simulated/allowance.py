"""A simulated rate limit: so many calls a minute, refilled evenly, a tenth of them at once."""

from __future__ import annotations

import time
from collections.abc import Callable

from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Quota


class Allowance:
    """A bucket of calls.

    Args:
        per_minute: Calls that flow in.
        clock: Seconds, rising.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._size = max(1.0, per_minute / 10)
        self._left = self._size
        self._clock, self._at = clock, clock()

    def take(self) -> Quota:
        """Take one call, and return what is left.

        Raises:
            ProviderError: None is left (``provider_429``).
        """
        now = self._clock()
        self._left = min(self._size, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            raise ProviderError(
                "The simulated rate limit is reached.",
                code="provider_429",
                retryable=True,
                retry_after_s=(1 - self._left) / self._rate,
                quota=self._quota(),
            )
        self._left -= 1
        return self._quota()

    def _quota(self) -> Quota:
        return Quota(self._left / self._size, (self._size - self._left) / self._rate)
