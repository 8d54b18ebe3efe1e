"""Percentiles of many latencies in little memory."""

from __future__ import annotations

import math
from collections import Counter

from promptcard_ext.stats.intervals import percentile

EXACT = 10_000
_BASE = 1.02
_LOG_BASE = math.log(_BASE)


class Latencies:
    """Latencies in ms, added one at a time.

    Up to ``EXACT`` values the percentiles are exact. Beyond, values are counted in buckets of which each is 2 % wider
    than the one before, so that a percentile is within 1 % of an observed value; memory no longer grows.
    """

    __slots__ = ("_buckets", "_greatest", "_least", "_values", "count")

    def __init__(self) -> None:
        self.count = 0
        self._values: list[float] = []
        self._buckets: Counter[int | None] = Counter()
        self._least, self._greatest = math.inf, -math.inf

    def add(self, latency_ms: float) -> None:
        """Add one latency; what is not a finite number is passed over."""
        if not math.isfinite(latency_ms):
            return
        self.count += 1
        self._least, self._greatest = min(self._least, latency_ms), max(self._greatest, latency_ms)
        if self._buckets:
            self._buckets[_bucket(latency_ms)] += 1
        else:
            self._values.append(latency_ms)
            if len(self._values) > EXACT:
                self._buckets.update(map(_bucket, self._values))
                self._values.clear()

    def percentile(self, share: float) -> float | None:
        """Return the latency below which ``share`` (0 to 1) of them lie; None when there is none.

        Raises:
            ValueError: ``share`` is not between 0 and 1.
        """
        if not self._buckets:
            return percentile(self._values, share)
        if not 0 <= share <= 1:
            raise ValueError(f"{share} is not between 0 and 1")
        left = share * (self.count - 1)
        for bucket in sorted(self._buckets, key=lambda bucket: -math.inf if bucket is None else bucket):
            left -= self._buckets[bucket]
            if left < 0:
                break
        return min(self._greatest, max(self._least, 0.0 if bucket is None else _BASE ** (bucket + 0.5)))


def _bucket(latency_ms: float) -> int | None:
    """Return the number of the bucket; None holds what has no logarithm."""
    return math.floor(math.log(latency_ms) / _LOG_BASE) if latency_ms > 0 else None
