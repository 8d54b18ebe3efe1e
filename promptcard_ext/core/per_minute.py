"""How many calls may begin in a minute, and how many tokens they may take.

Both are kept by buckets: what may begin now is in the bucket, which fills as time passes. The bucket of a limit of L a
minute holds ``burst(L)`` = 1 + L/60 at most (one call, and a second's worth) and gets ``fill(L)`` = 59/60 × L/60 a
second. So of n calls that begin within less than 60 s the first leaves L/60 at most, and n - 1 ≤ L/60 + 59/60 × L < L:
no minute ever sees more than L calls begin. The price for that is a sixtieth of the rate.

Tokens are counted as calls are expected to take them when they begin, and put right when they end. A call that takes
more than the bucket can hold begins when it is full, and those after it wait until its debt is paid. So of tokens a
minute sees at most L, what the largest call takes, and what calls in flight at its beginning turned out not to take.
"""

from __future__ import annotations

from typing import NamedTuple

MINUTE_S = 60.0
BURST_S = 1.0
"""How many seconds' worth may begin at once, besides a single call."""


class PerMinute(NamedTuple):
    """The limits of a provider key, of a workspace, or of everything; None sets no limit.

    Attributes:
        requests: Calls that may begin in a minute.
        tokens: Tokens that they may take, in and out.
    """

    requests: float | None = None
    tokens: float | None = None

    @property
    def limits(self) -> bool:
        """Whether there is a limit at all."""
        return self.requests is not None or self.tokens is not None

    def strictest(self, other: PerMinute) -> PerMinute:
        """Return the lower limit of each kind.

        Example:
            >>> PerMinute(60).strictest(PerMinute(90, 1000))
            PerMinute(requests=60, tokens=1000)
        """
        return PerMinute(_least(self.requests, other.requests), _least(self.tokens, other.tokens))


UNLIMITED = PerMinute()


def fill(per_minute: float) -> float:
    """Return what comes into the bucket of a limit in a second."""
    return per_minute / MINUTE_S * (1 - BURST_S / MINUTE_S)


def burst(per_minute: float) -> float:
    """Return what the bucket of a limit can hold."""
    return 1.0 + per_minute / MINUTE_S * BURST_S


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)
