"""When the next call may begin, where calls or tokens are limited by the minute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from promptcard_ext.core.per_minute import PerMinute, burst, fill

# Far less than a call: sums of small times are not exact.
_EXACT_TO = 1e-9


class Pace(Protocol):
    """What a limiter asks before each call; on the event loop.

    Attributes:
        counts_tokens: Whether it wants to know what calls take.
    """

    counts_tokens: bool

    def begin(self, tokens: float) -> float:
        """Count a call if it may begin now, and return 0; else the seconds until it may.

        Infinite means that nobody can say; `Limiter.admit` is called when it is known.

        Args:
            tokens: What the call is expected to take.
        """

    def put_back(self, requests: int, tokens: float) -> None:
        """Give back what was counted and not used; negative tokens when a call took more than was expected."""


class Bucket:
    """What may begin of one limit; see `core.per_minute` for what that promises.

    Args:
        per_minute: The limit.
        now: The time in seconds, of a clock that only goes forward; as it is in all of its methods.
    """

    __slots__ = ("_at", "_burst", "_fill", "level")

    def __init__(self, per_minute: float, now: float) -> None:
        self._fill, self._burst = fill(per_minute), burst(per_minute)
        self.level, self._at = self._burst, now

    def lacks_s(self, amount: float, now: float) -> float:
        """Return in how many seconds so much may begin; 0 for now."""
        self.level = min(self._burst, self.level + self._fill * (now - self._at))
        self._at = now
        missing = min(amount, self._burst) - self.level
        return 0.0 if missing <= _EXACT_TO else missing / self._fill

    def take(self, amount: float) -> None:
        """Take so much out; what is not there is a debt."""
        self.level -= amount

    def put(self, amount: float) -> None:
        """Put so much back in; what does not fit is lost."""
        self.level = min(self._burst, self.level + amount)


class Buckets:
    """The `Pace` of calls that nobody else has a part in.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, per_minute: PerMinute, clock: Callable[[], float]) -> None:
        self._clock, now = clock, clock()
        self._requests = None if per_minute.requests is None else Bucket(per_minute.requests, now)
        self._tokens = None if per_minute.tokens is None else Bucket(per_minute.tokens, now)
        self.counts_tokens = self._tokens is not None

    def begin(self, tokens: float) -> float:
        """Count a call if it may begin now; see `Pace`."""
        now = self._clock()
        wait_s = 0.0 if self._requests is None else self._requests.lacks_s(1.0, now)
        if self._tokens is not None:
            wait_s = max(wait_s, self._tokens.lacks_s(tokens, now))
        if not wait_s:
            self._take(1.0, tokens)
        return wait_s

    def put_back(self, requests: int, tokens: float) -> None:
        """Give back what was not used; see `Pace`."""
        if self._requests is not None:
            self._requests.put(requests)
        if self._tokens is not None:
            self._tokens.put(tokens)

    def _take(self, requests: float, tokens: float) -> None:
        if self._requests is not None:
            self._requests.take(requests)
        if self._tokens is not None:
            self._tokens.take(tokens)
