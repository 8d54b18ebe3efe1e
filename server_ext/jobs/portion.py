"""What one process may still begin of a limit by the minute, between two questions to Redis."""

from __future__ import annotations

import math
import time

from promptcard_ext.core.per_minute import PerMinute, burst, fill
from server_ext.limits.portions import Demand, Grant

# Without Redis each goes on with its part of the limit; one that begins meanwhile knows of no others and takes this.
LOCAL_PART = 4


class Amount:
    """What may still begin of one kind, calls or tokens.

    Attributes:
        left: Of the last portions; negative when more was used.
        used: Since the last look.
    """

    def __init__(self) -> None:
        self.left = self.used = 0.0
        self._saved, self._looked = 0.0, time.monotonic()

    def take(self, amount: float) -> None:
        """Use so much."""
        self.left -= amount
        self.used += amount

    def settle(self, wanted: float, per_minute: float | None) -> tuple[int, int, int]:
        """Return what to ask for, what to put back (both whole numbers) and what was used since the last time.

        More than the bucket of the limit can hold is neither asked for nor kept.
        """
        if per_minute is not None:
            wanted = min(wanted, burst(per_minute))
        back = math.floor(self.left - wanted) if self.left > wanted else min(0, math.floor(self.left))
        self.left -= back
        used, self.used = self.used, 0.0
        return max(0, math.ceil(wanted - self.left)), back, round(used)

    def save(self, per_minute: float, askers: int, wanted: int) -> int:
        """Return a portion without Redis: what has come into this one's part of the bucket since the last time."""
        now, most = time.monotonic(), max(1.0, burst(per_minute) / askers)
        self._saved = min(most, self._saved + fill(per_minute) / askers * (now - self._looked))
        self._looked = now
        granted = min(wanted, math.floor(self._saved))
        self._saved -= granted
        return granted

    def forget(self) -> None:
        """Redis answers: what was saved without it counts no more."""
        self._saved, self._looked = 0.0, time.monotonic()


class Portion:
    """What this process may still begin of one limit.

    Attributes:
        bound: Whether the last look gave less than was wanted.
    """

    def __init__(self, name: str, label: str, per_minute: PerMinute) -> None:
        self.name, self.label, self.per_minute = name, label, per_minute
        self.requests, self.tokens = Amount(), Amount()
        self.bound = False
        self._askers = LOCAL_PART

    def admits(self, tokens: float) -> bool:
        """Tell whether a call may begin."""
        most = self.per_minute.tokens
        if self.per_minute.requests is not None and self.requests.left < 1:
            return False
        return most is None or self.tokens.left >= min(tokens, math.floor(burst(most)))

    def take(self, requests: int, tokens: float) -> None:
        """Count calls that begin, or with negative numbers take that back."""
        self.requests.take(requests)
        self.tokens.take(tokens)

    def demand(self, requests: float, tokens: float) -> Demand:
        """Return what to ask for, when so much is about to begin."""
        limits = self.per_minute
        wanted, back, used = self.requests.settle(requests, limits.requests)
        tokens_wanted, tokens_back, tokens_used = self.tokens.settle(tokens, limits.tokens)
        if limits.requests is None:
            back = 0
        if limits.tokens is None:
            tokens_back = 0
        return Demand(
            self.name, self.label, self.per_minute, wanted, tokens_wanted, back, tokens_back, used, tokens_used
        )

    def fill(self, demand: Demand, grant: Grant | None) -> None:
        """Take what was given; without Redis, what this one may take by itself."""
        if grant is None:
            grant = self._without_redis(demand)
        else:
            self._askers = max(1, grant.askers)
            self.requests.forget()
            self.tokens.forget()
        self.requests.left += grant.requests
        self.tokens.left += grant.tokens
        self.bound = grant.requests < demand.requests or grant.tokens < demand.tokens

    def _without_redis(self, demand: Demand) -> Grant:
        limits, askers = self.per_minute, self._askers
        requests, tokens = demand.requests, demand.tokens
        if limits.requests is not None:
            requests = self.requests.save(limits.requests, askers, requests)
        if limits.tokens is not None:
            tokens = self.tokens.save(limits.tokens, askers, tokens)
        return Grant(requests, tokens, askers)
