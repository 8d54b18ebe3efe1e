"""How provider keys are loaded: what the workers' shares in Redis tell to whoever looks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from promptcard_ext.core.per_minute import PerMinute
from server_ext.limits.portions import LIVE_S
from server_ext.limits.shares import prefix_of
from server_ext.redis_line import RedisAway, RedisLine, Script

# KEYS: all names. ARGV: what the keys of states and askers begin with. Returns for each name what is known of it, as
# fields and values, its askers, the minute it is, what is known of its limits by the minute, and the time in us.
LOADS = Script("""
local time = redis.call('TIME')
local found = {}
for _, name in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, 199)) do
  local state = redis.call('HGETALL', ARGV[1] .. ':state:' .. name)
  local askers = redis.call('ZRANGEBYSCORE', ARGV[1] .. ':askers:' .. name, time[1] * 1000000 + time[2], '+inf')
  local rate = redis.call('HGETALL', ARGV[1] .. ':rate:' .. name)
  if #state + #rate > 0 then
    found[#found + 1] = {name, state, askers, math.floor(time[1] / 60), rate, time[1] * 1000000 + time[2]}
  end
end
return found
""")


class Load(NamedTuple):
    """What is known of a provider key.

    Attributes:
        name: Endpoint, with a hash of the credential.
        provider: Its name.
        limit: Calls that it is trusted with at once; 0 for what is limited by the minute only.
        in_flight: Calls of each asker, whose names begin with the id of a workspace.
        calls_per_minute, refusals_per_minute: In the last full minute.
        down: As what it is down, as some asker finds: ``task``, ``judge``.
        per_minute: Its limits by the minute.
        used: What each asker began in a minute, as it was over the last seconds: calls and tokens.
    """

    name: str
    provider: str
    limit: int
    in_flight: dict[str, int]
    calls_per_minute: int
    refusals_per_minute: int
    down: dict[str, str]
    per_minute: PerMinute
    used: dict[str, tuple[float, float]]

    def rates(self, used: Iterable[tuple[float, float]]) -> tuple[int | None, int | None, int | None, int | None]:
        """Return calls a minute and their limit, and tokens a minute and theirs; None for what has no limit.

        Args:
            used: What counts, of `used`.
        """
        calls = tokens = 0.0
        for one in used:
            calls, tokens = calls + one[0], tokens + one[1]
        return *_beside(calls, self.per_minute.requests), *_beside(tokens, self.per_minute.tokens)


class Loads:
    """Looks at the loads; safe for threads.

    Args:
        line: The way to Redis; `close` closes it.
        installation: As `server_ext.limits.shares.Shares`.
    """

    def __init__(self, line: RedisLine, installation: str) -> None:
        self._line, self._prefix = line, prefix_of(installation)

    def look(self) -> list[Load] | None:
        """Return the loads of the last hour, the latest first; None while Redis is away."""
        try:
            return [_load(*one) for one in self._ask()]
        except RedisAway:
            return None

    def close(self) -> None:
        """Close the connections to Redis."""
        self._line.close()

    def _ask(self) -> list[tuple[bytes, list[bytes], list[bytes], int, list[bytes], int]]:
        return self._line.ask(LOADS, [f"{self._prefix}:names"], [self._prefix])  # type: ignore[no-any-return]


def _load(name: bytes, state: list[bytes], askers: list[bytes], minute: int, rate: list[bytes], now_us: int) -> Load:
    fields, rates = _fields(state), _fields(rate)
    alive = [asker.decode() for asker in askers]
    # What is called the minute before is that only while nobody has begun another.
    now = {0: "_before", 1: ""}.get(minute - int(fields.get("minute", 0)))
    return Load(
        name.decode(),
        fields.get("label", "") or rates.get("label", ""),
        int(float(fields.get("limit", 0))),
        {asker: int(fields.get(f"f:{asker}", 0)) for asker in alive},
        0 if now is None else int(fields.get(f"calls{now}", 0)),
        0 if now is None else int(fields.get(f"refused{now}", 0)),
        {asker: down for asker in alive if (down := fields.get(f"d:{asker}", ""))},
        PerMinute(float(rates.get("lr", 0)) or None, float(rates.get("lt", 0)) or None),
        dict(_used(rates, now_us)),
    )


def _beside(used: float, limit: float | None) -> tuple[int | None, int | None]:
    # What was expected and not used is taken back later: for a moment that may be more than was used.
    return (None, None) if limit is None else (max(0, round(used)), round(limit))


def _fields(flat: list[bytes]) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in zip(flat[::2], flat[1::2], strict=True)}


def _used(rates: dict[str, str], now_us: int) -> Iterator[tuple[str, tuple[float, float]]]:
    for field, value in rates.items():
        if field.startswith("a:"):
            seen, *_, calls, tokens = map(float, value.split())
            if now_us - seen <= LIVE_S * 1e6:
                yield field.removeprefix("a:"), (calls, tokens)
