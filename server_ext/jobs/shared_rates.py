"""The limits by the minute that all workers share, as the calls of one run meet them in one process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence

from promptcard_ext.core.engine.limiter import Limiter
from promptcard_ext.core.per_minute import UNLIMITED, PerMinute
from server_ext.jobs.portion import Portion
from server_ext.limits.portions import Demand, Grant

# A portion is for what begins until the next look, which is one such time away.
PORTION_S = 0.25
# Over this time it is reckoned how many calls begin in a second.
LATELY_S = 0.5


class LeasedPace:
    """The `Pace` of a limiter whose calls begin when all portions that they fall under admit them.

    Args:
        hungry: Called when a call waits for a portion, and asking for one now may help.
    """

    def __init__(self, limiter: Limiter, portions: Sequence[Portion], hungry: Callable[[], None]) -> None:
        self.limiter, self.portions, self._hungry = limiter, portions, hungry
        self.counts_tokens = any(portion.per_minute.tokens is not None for portion in portions)
        self._begun, self._per_second = 0, 0.0
        self._mean = self._head = 0.0
        self._looked: float | None = None

    @property
    def bound(self) -> bool:
        """Whether the last look gave less than was wanted: another one now would not give more."""
        return any(portion.bound for portion in self.portions)

    def begin(self, tokens: float) -> float:
        """Count a call if it may begin now; nobody knows when it may otherwise."""
        if not all(portion.admits(tokens) for portion in self.portions):
            self._head = tokens
            if not self.bound:
                self._hungry()
            return math.inf
        self._begun += 1
        self._mean = tokens if not self._mean else self._mean + (tokens - self._mean) / 4
        for portion in self.portions:
            portion.take(1, tokens)
        return 0.0

    def put_back(self, requests: int, tokens: float) -> None:
        """Give back what was counted and not used."""
        for portion in self.portions:
            portion.take(-requests, -tokens)

    def soon(self) -> tuple[float, float]:
        """Return how many calls would begin until the next look, and what they would take; asked once a look.

        At most twice as many as lately: what another limit keeps from beginning should not be kept from others here.
        """
        now, limiter = time.monotonic(), self.limiter
        if self._looked is None:
            # Others are about to follow the first call.
            calls = max(float(limiter.waiting), limiter.limit) if limiter.waiting else 0.0
        else:
            since = max(now - self._looked, 1e-6)
            keep = math.exp(-since / LATELY_S)
            self._per_second = self._per_second * keep + self._begun / since * (1 - keep)
            flow = self._per_second * PORTION_S
            calls = min(limiter.waiting + 1.5 * flow, 2 * flow + 2)
        self._looked, self._begun = now, 0
        head = self._head if limiter.waiting else 0.0
        return calls, max(head, calls * (self._mean or self._head))


class SharedRates:
    """The portions of one run in one process, and the paces that its limiters keep by them.

    Args:
        overall: Names and limits of what holds over all keys.
        hungry: Called when asking for portions now may help.
    """

    def __init__(self, overall: Iterable[tuple[str, PerMinute]], hungry: Callable[[], None]) -> None:
        self._overall = [Portion(name, "", per_minute) for name, per_minute in overall if per_minute.limits]
        self._hungry = hungry
        self._limits: dict[str, PerMinute] = {}
        self._limiters: dict[str, tuple[str, Limiter]] = {}
        self._own: dict[str, Portion] = {}
        self._paces: dict[str, LeasedPace] = {}

    def limit(self, key: str, per_minute: PerMinute) -> None:
        """Set the limits of a provider key, from its next call on."""
        if self._limits.get(key) != per_minute:
            self._limits[key] = per_minute
            self._hold(key)

    def begun(self, key: str, label: str, limiter: Limiter) -> None:
        """Hold a new limiter to the portions that it falls under; to none when there is no limit."""
        self._limiters[key] = (label, limiter)
        self._hold(key)

    def _hold(self, key: str) -> None:
        if key not in self._limiters:
            return
        label, limiter = self._limiters[key]
        per_minute, portions = self._limits.get(key, UNLIMITED), list(self._overall)
        self._own.pop(key, None)
        self._paces.pop(key, None)
        if per_minute.limits:
            self._own[key] = Portion(key, label, per_minute)
            portions.append(self._own[key])
        if portions:
            self._paces[key] = LeasedPace(limiter, portions, self._hungry)
        limiter.regulate(self._paces.get(key))

    def demands(self) -> tuple[list[Demand], dict[str, int]]:
        """Return what to ask for, and by key how many calls would begin until the next look."""
        soon = {key: pace.soon() for key, pace in self._paces.items()}
        calls, tokens = sum(one[0] for one in soon.values()), sum(one[1] for one in soon.values())
        demands = [self._own[key].demand(*soon[key]) for key in self._own]
        demands += [portion.demand(calls, tokens) for portion in self._overall if self._paces]
        return demands, {key: math.ceil(one[0]) for key, one in soon.items()}

    def bound(self, key: str) -> bool:
        """Tell whether the calls of a key wait for a limit by the minute."""
        pace = self._paces.get(key)
        return pace is not None and pace.bound

    def ends(self) -> list[Demand]:
        """Return what to tell at the end: what is left is put back."""
        return [portion.demand(0, 0) for portion in self._portions() if self._paces]

    def fill(self, demands: Sequence[Demand], grants: Sequence[Grant | None]) -> None:
        """Take what was given and let calls begin with it."""
        portions = {portion.name: portion for portion in self._portions()}
        for demand, grant in zip(demands, grants, strict=True):
            if demand.name in portions:  # its limit may have been taken away meanwhile
                portions[demand.name].fill(demand, grant)
        # Another one each time is the first to take from what they have in common.
        for first in list(self._paces)[:1]:
            self._paces[first] = self._paces.pop(first)
        for pace in self._paces.values():
            pace.limiter.admit()

    def _portions(self) -> list[Portion]:
        return [*self._own.values(), *self._overall]
