"""The limiter: whether a request may be served, by whose it is and of which kind."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cachetools import LRUCache
from redis.exceptions import NoScriptError

from promptcard_ext.core.errors import Unavailable
from server_ext.limits.gcra import MAX_KEYS, SCRIPT, LocalGcra, Verdict
from server_ext.limits.rates import LIMITS, Limit, LimitName, Rate, network_of
from server_ext.redis_line import RedisAway, RedisLine

# Of large bursts a hundredth is fetched at once, which saves most of the ways to Redis. It is counted when it is
# fetched, so that there are never too many; what is not used within a second is given up.
ADVANCE_PART = 100
ADVANCE_S = 1.0
# Without Redis each process allows this part: together four of them are as strict as before.
LOCAL_PART = 4


@dataclass(frozen=True)
class Decision:
    """Whether a request may be served, and what to tell about it.

    Attributes:
        limit: How many may come at once.
        remaining: How many still may.
        reset_s: Seconds until ``limit`` may come again.
        retry_after_s: Seconds until one more is welcome; 0 when it already is.
    """

    allowed: bool
    limit: int
    remaining: int
    reset_s: float
    retry_after_s: float

    @property
    def headers(self) -> dict[str, str]:
        """The standard headers; ``Retry-After`` only with a refusal."""
        headers = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(math.ceil(self.reset_s)),
        }
        return headers if self.allowed else headers | {"Retry-After": str(max(1, math.ceil(self.retry_after_s)))}


class Advance:
    """Requests of one key that are already counted."""

    def __init__(self, count: int, until: float, verdict: Verdict) -> None:
        self.count, self.until, self.verdict = count, until, verdict


class Limiter:
    """Counts in Redis, exactly over all servers; safe for threads.

    Args:
        line: The way to Redis; `close` closes it.
        installation: Sets our keys apart from those of another installation on the same Redis.
        clock: Seconds, of which only differences count; used only while Redis is away, and to give advances up.
    """

    def __init__(
        self,
        line: RedisLine,
        installation: str,
        limits: Mapping[LimitName, Limit] = LIMITS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line = line
        self._prefix = f"pc:{installation}:limit"
        self._limits = limits
        self._clock = clock
        self._local = LocalGcra()
        self._advances: LRUCache[str, Advance] = LRUCache(MAX_KEYS)
        self._lock = threading.Lock()

    def check(self, name: LimitName, *identity: str) -> Decision:
        """Count a request and tell whether it may be served.

        Args:
            identity: Whose it is: an address, an account, a workspace, or user and workspace.

        Raises:
            Unavailable: Redis is away, and without it there are no requests of this kind (``limiter_unavailable``).
        """
        limit = self._limits[name]
        key = self._key(name, limit, identity)
        if (advance := self._from_advance(key)) is not None:
            return _decision(limit.rate, advance)
        wanted = max(1, limit.rate.burst // ADVANCE_PART)
        try:
            verdict = self._ask(key, limit.rate, wanted)
        except RedisAway:
            if limit.closed:
                raise Unavailable(
                    "This cannot be done at the moment: Redis, which counts how often it is done, does not answer.",
                    hint="Try again in a moment.",
                    code="limiter_unavailable",
                ) from None
            part = limit.rate.divided(LOCAL_PART)
            return _decision(part, self._local.take(key, part, self._clock()))
        if verdict.granted > 1:
            self._keep_advance(key, verdict)
        return _decision(limit.rate, verdict)

    def at_hand(self, name: LimitName, *identity: str) -> Decision | None:
        """Count a request by what is counted in advance, or return None; asks nobody, never waits."""
        limit = self._limits[name]
        advance = self._from_advance(self._key(name, limit, identity))
        return None if advance is None else _decision(limit.rate, advance)

    def close(self) -> None:
        """Close the connections to Redis."""
        self._line.close()

    def _from_advance(self, key: str) -> Verdict | None:
        with self._lock:
            advance = self._advances.get(key)
            if advance is None:
                return None
            good = self._clock() <= advance.until
            advance.count -= 1
            if advance.count == 0 or not good:
                del self._advances[key]
            return advance.verdict if good else None

    def _keep_advance(self, key: str, verdict: Verdict) -> None:
        until = self._clock() + ADVANCE_S
        with self._lock:
            before = self._advances.get(key)
            # Another thread may have fetched some at the same time: they are counted, and so they are used.
            count = verdict.granted - 1 + (before.count if before is not None else 0)
            self._advances[key] = Advance(count, until, verdict)

    def _ask(self, key: str, rate: Rate, wanted: int) -> Verdict:
        arguments = [rate.interval_s * 1e6, rate.interval_s * 1e6 * rate.burst, wanted]
        try:
            found = self._line.run(SCRIPT, [key], arguments)
        except NoScriptError:
            self._line.load(SCRIPT)
            try:
                found = self._line.run(SCRIPT, [key], arguments)
            except NoScriptError as error:
                # Scripts vanish as soon as they are there: no Redis to count with.
                raise RedisAway from error
        granted, room, full_in_us, next_in_us = found
        return Verdict(granted, room, full_in_us / 1e6, next_in_us / 1e6)

    def _key(self, name: LimitName, limit: Limit, identity: tuple[str, ...]) -> str:
        whose = (network_of(identity[0]),) if limit.by_network else identity
        # Addresses and accounts are nobody's business who looks into Redis; and they are of any length.
        digest = hashlib.blake2b("\0".join(whose).encode("utf-8", "surrogatepass"), digest_size=16)
        return f"{self._prefix}:{name}:{digest.hexdigest()}"


def _decision(rate: Rate, verdict: Verdict) -> Decision:
    return Decision(verdict.granted > 0, rate.burst, verdict.room, verdict.full_in_s, verdict.next_in_s)
