"""What calls pass before they are made: a limiter for each provider key, a breaker for each role that it is called in.

Runs on one event loop that are given the same gates keep to one concurrency together, and each knows what the others
have learnt of their providers.
"""

from __future__ import annotations

import asyncio

from promptcard_ext.core.engine.breaker import Breaker, Role
from promptcard_ext.core.engine.identity import limit_key
from promptcard_ext.core.engine.limiter import Limiter
from promptcard_ext.core.engine.options import EngineOptions
from promptcard_ext.core.engine.pace import Buckets
from promptcard_ext.core.engine.seats import Seats
from promptcard_ext.core.engine.traffic import Traffic
from promptcard_ext.core.engine.weights import Weights
from promptcard_ext.core.ports import Provider


class Gates:
    """The gates of one run, or of several that count as one.

    Args:
        traffic: Looks after the calls of many runs at once, these among them.

    Attributes:
        seats: The tasks that may be at work at once.
        weights: What calls take, where tokens are limited.
    """

    def __init__(self, options: EngineOptions, traffic: Traffic | None = None) -> None:
        self._options, self._traffic = options, traffic
        self._ceiling = options.concurrency
        self._limiters: dict[str, Limiter] = {}
        self._breakers: dict[tuple[str, Role], Breaker] = {}
        self.seats, self.weights = Seats(), Weights()

    def limiter(self, provider: Provider) -> Limiter:
        """Return the limiter of a provider's key."""
        key = limit_key(provider)
        found = self._limiters.get(key)
        if found is None:
            options = self._options
            found = self._limiters[key] = Limiter(options.start_concurrency, self._ceiling, options.max_wait_s)
            if options.per_minute.limits:
                found.regulate(Buckets(options.per_minute, asyncio.get_running_loop().time))
            if self._traffic is not None:
                self._traffic.begun(key, provider.name, found)
        return found

    def breaker(self, provider: Provider, role: Role) -> Breaker:
        """Return the breaker of a provider's key in a role."""
        key = limit_key(provider)
        found = self._breakers.get((key, role))
        if found is None:
            told = None if self._traffic is None else self._traffic.told
            found = self._breakers[key, role] = Breaker(key, provider.name, role, self._options.outage_s, told)
        return found

    def retune(self, concurrency: int) -> None:
        """Give every limiter another ceiling."""
        if concurrency == self._ceiling:
            return  # heard from another of the runs already
        self._ceiling = concurrency
        for limiter in self._limiters.values():
            limiter.retune(concurrency)

    def limits(self) -> dict[str, int]:
        """Return the calls admitted at once, per provider key."""
        return {key: int(limiter.limit) for key, limiter in self._limiters.items()}
