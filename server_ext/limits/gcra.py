"""The generic cell rate algorithm: one number per key, the time at which its last request would be due.

A request moves it by one interval and is refused when that leads too far into the future. There are no windows, so
there is no moment at which everything is allowed anew.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from cachetools import LRUCache

from server_ext.limits.rates import Rate
from server_ext.redis_line import Script

# KEYS: the key. ARGV: interval and burst in microseconds, most requests wanted at once. By the clock of Redis: those of
# our servers may be wrong. Returns how many are granted, how many more would be, and in which time the key is full
# again and grants the next one.
SCRIPT = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local room = math.floor((now + burst - due) / interval + 0.000001)
local granted = math.max(0, math.min(wanted, room))
if granted > 0 then
  due = due + granted * interval
  redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000) + 1)
end
local wait = 0
if room - granted < 1 then wait = math.ceil(due + interval - burst - now) end
return {granted, math.max(0, room - granted), math.ceil(due - now), wait}
""")
MAX_KEYS = 10_000


class Verdict(NamedTuple):
    """What one look at a key gave.

    Attributes:
        granted: How many requests are allowed; 0 is a refusal.
        room: How many more would be allowed at once.
        full_in_s: Seconds until the whole burst is allowed again.
        next_in_s: Seconds until the next request is allowed.
    """

    granted: int
    room: int
    full_in_s: float
    next_in_s: float


class LocalGcra:
    """The same for one process, in memory: for the time without Redis. The least recently seen keys are forgotten."""

    def __init__(self) -> None:
        self._due: LRUCache[str, float] = LRUCache(MAX_KEYS)
        self._lock = threading.Lock()

    def take(self, key: str, rate: Rate, now: float) -> Verdict:
        """Take one request off ``rate`` at the time ``now``, in seconds."""
        interval, burst = rate.interval_s, rate.interval_s * rate.burst
        with self._lock:
            due = max(now, self._due.get(key, now))
            room = int((now + burst - due) / interval + 1e-6)
            granted = min(1, max(0, room))
            if granted:
                due += interval
                self._due[key] = due
        left = max(0, room - granted)
        return Verdict(granted, left, due - now, 0.0 if left else max(0.0, due + interval - burst - now))
