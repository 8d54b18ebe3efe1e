"""How provider keys are loaded: what the workers' shares in Redis tell to whoever looks."""

from __future__ import annotations

from typing import NamedTuple

from redis.exceptions import NoScriptError

from server_ext.limits.shares import prefix_of
from server_ext.redis_line import RedisAway, RedisLine, Script

# KEYS: all names. ARGV: what the keys of states and askers begin with. Returns for each name what is known of it, as
# fields and values, its askers, and the minute it is.
LOADS = Script("""
local time = redis.call('TIME')
local found = {}
for _, name in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, 199)) do
  local state = redis.call('HGETALL', ARGV[1] .. ':state:' .. name)
  local askers = redis.call('ZRANGEBYSCORE', ARGV[1] .. ':askers:' .. name, time[1] * 1000000 + time[2], '+inf')
  if #state > 0 then found[#found + 1] = {name, state, askers, math.floor(time[1] / 60)} end
end
return found
""")


class Load(NamedTuple):
    """What is known of a provider key.

    Attributes:
        name: Endpoint, with a hash of the credential.
        provider: Its name.
        limit: Calls that it is trusted with at once.
        in_flight: Calls of each asker, whose names begin with the id of a workspace.
        calls_per_minute, refusals_per_minute: In the last full minute.
        down: As what it is down, as some asker finds: ``task``, ``judge``.
    """

    name: str
    provider: str
    limit: int
    in_flight: dict[str, int]
    calls_per_minute: int
    refusals_per_minute: int
    down: dict[str, str]


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

    def _ask(self) -> list[tuple[bytes, list[bytes], list[bytes], int]]:
        names, given = [f"{self._prefix}:names"], [self._prefix]
        try:
            return self._line.run(LOADS, names, given)  # type: ignore[no-any-return]
        except NoScriptError:
            self._line.load(LOADS)
        try:
            return self._line.run(LOADS, names, given)  # type: ignore[no-any-return]
        except NoScriptError as error:
            raise RedisAway from error


def _load(name: bytes, state: list[bytes], askers: list[bytes], minute: int) -> Load:
    fields = {key.decode(): value.decode() for key, value in zip(state[::2], state[1::2], strict=True)}
    alive = [asker.decode() for asker in askers]
    # What is called the minute before is that only while nobody has begun another.
    now = {0: "_before", 1: ""}.get(minute - int(fields.get("minute", 0)))
    return Load(
        name.decode(),
        fields.get("label", ""),
        int(float(fields.get("limit", 0))),
        {asker: int(fields.get(f"f:{asker}", 0)) for asker in alive},
        0 if now is None else int(fields.get(f"calls{now}", 0)),
        0 if now is None else int(fields.get(f"refused{now}", 0)),
        {asker: down for asker in alive if (down := fields.get(f"d:{asker}", ""))},
    )
