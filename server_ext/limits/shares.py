"""Calls in flight, shared by all workers: how many each of them may have, of a provider key or of a workspace.

Redis is asked a few times a second and not once a call. Each asker says how many it has in flight and how many more it
would like; it is given a fair share of what all may have together. What it was given is its own until it gives it back,
or has not been heard of for ten seconds by the clock of Redis.
"""

from __future__ import annotations

from typing import NamedTuple

from server_ext.redis_line import RedisLine, Script

TTL_S = 10.0
START = 20
"""Calls that a provider key is trusted with at first, by all workers together."""

# KEYS: the askers by the time until which they count; what is known of each and of the whole; all names.
# ARGV: asker, lifetime in us, wanted, in flight, answers and refusals since it last asked, factor of a cut (1: none),
# age in us of the call that was refused, us for which nobody may call, the limit (0: learnt), the name, what to call
# it, the limit to start with, and as what it is down.
# The limit of a provider key is learnt as in `promptcard_ext.core.engine.limiter`, from what all askers hear.
# Returns how many the asker may have in flight, the limit, for how many us nobody may call, and the number of askers.
SHARE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local askers, state, names = KEYS[1], KEYS[2], KEYS[3]
local me, ttl = ARGV[1], tonumber(ARGV[2])
local wanted, flying, answers, refusals = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local cut, age, hold, fixed = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local function get(field, default) return tonumber(redis.call('HGET', state, field) or default) end

for _, gone in ipairs(redis.call('ZRANGEBYSCORE', askers, '-inf', now)) do
  redis.call('HDEL', state, 'w:' .. gone, 'f:' .. gone, 'h:' .. gone, 'd:' .. gone)
end
redis.call('ZREMRANGEBYSCORE', askers, '-inf', now)
local had = get('h:' .. me, 0)
local here = wanted + flying > 0 or ARGV[14] ~= ''
if here then
  redis.call('ZADD', askers, now + ttl, me)
  redis.call('HSET', state, 'w:' .. me, wanted, 'f:' .. me, flying, 'd:' .. me, ARGV[14])
else
  redis.call('ZREM', askers, me)
  redis.call('HDEL', state, 'w:' .. me, 'f:' .. me, 'h:' .. me, 'd:' .. me)
end

local all = redis.call('ZRANGE', askers, 0, -1)
table.sort(all)
local wants, total, held = {}, 0, 0
for rank, asker in ipairs(all) do
  local flight = get('f:' .. asker, 0)
  total = total + flight
  wants[rank] = {asker, get('w:' .. asker, 0), rank}
  if asker ~= me then held = held + math.max(flight, get('h:' .. asker, 0)) end
end

local limit = fixed
if fixed == 0 then
  limit = get('limit', ARGV[13])
  if cut < 1 then
    if now - age > get('cut_at', 0) then
      limit = math.max(1, math.min(limit, math.max(total, 1)) * cut)
      redis.call('HSET', state, 'cut_at', now)
    end
  elseif answers > 0 and total * 2 >= limit then
    -- Until the first cut every answer admits one more; then a round of answers does.
    limit = math.min(10000, limit + answers / (get('cut_at', 0) > 0 and limit or 1))
  end
end
local free_at = math.max(get('hold', 0), hold > 0 and now + hold or 0)
redis.call('HSET', state, 'limit', limit, 'hold', free_at, 'label', ARGV[12])

local minute = math.floor(now / 60000000)
local behind = minute - get('minute', 0)
if behind > 0 then
  local last = behind == 1
  redis.call('HSET', state, 'minute', minute, 'calls_before', last and get('calls', 0) or 0, 'calls', 0,
    'refused_before', last and get('refused', 0) or 0, 'refused', 0)
end
redis.call('HINCRBY', state, 'calls', answers + refusals)
redis.call('HINCRBY', state, 'refused', refusals)
redis.call('ZADD', names, now, ARGV[11])
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, 3600) end

-- The smallest wishes first, so that what they leave is shared by the larger ones. When there is less than one for
-- each, they take turns of a second.
local whole, left, share = math.floor(limit), #all, 0
local turn = time[1] % math.max(1, #all)
local function later(one) return (one[3] + turn) % #all end
table.sort(wants, function(a, b)
  if whole >= #all and a[2] ~= b[2] then return a[2] < b[2] end
  return later(a) < later(b)
end)
local rest = whole
for _, one in ipairs(wants) do
  local part = whole >= left and math.floor(rest / left) or math.min(1, rest)
  local mine = math.min(one[2], part)
  if one[1] == me then share = mine end
  rest, left = rest - mine, left - 1
end
-- More than before comes from what is free; but nobody has to go below a fair share for those who are above theirs.
local granted = math.min(share, math.max(0, whole - held, flying, had))
if here then redis.call('HSET', state, 'h:' .. me, granted) end
return {granted, whole, math.max(0, free_at - now), #all}
""")


class Wish(NamedTuple):
    """What an asker has and would like, and what it has heard since it last asked.

    Attributes:
        name: Of a provider key, a workspace, or everything.
        label: What to call it.
        wanted: Calls that it would have in flight if it could.
        cut: By which factor a refusal cuts the limit; 1 without one.
        age_s: How long ago the refused call began.
        hold_s: For how long the provider wants no calls.
        limit: When it is fixed; 0 for one that is learnt.
        down: As what the provider is down, as the asker finds: ``task``, ``judge``, both with a comma, or nothing.
    """

    name: str
    label: str
    wanted: int
    in_flight: int
    answers: int = 0
    refusals: int = 0
    cut: float = 1.0
    age_s: float = 0.0
    hold_s: float = 0.0
    limit: int = 0
    down: str = ""


class Share(NamedTuple):
    """What an asker was given.

    Attributes:
        granted: Calls that it may have in flight.
        limit: What all may have together.
        hold_s: For how long nobody may call.
        askers: How many they are.
    """

    granted: int
    limit: int
    hold_s: float
    askers: int


class Shares:
    """Asks for shares; safe for threads.

    Args:
        line: The way to Redis.
        installation: Sets our keys apart from those of another installation on the same Redis.
        asker: Who asks: a worker, or what one does of its work at a time.
    """

    def __init__(self, line: RedisLine, installation: str, asker: str) -> None:
        self._line, self._asker = line, asker
        self._prefix = prefix_of(installation)

    def ask(self, wish: Wish) -> Share:
        """Tell what there is and return what may be.

        Raises:
            RedisAway: Redis does not answer.
        """
        keys = [f"{self._prefix}:askers:{wish.name}", f"{self._prefix}:state:{wish.name}", f"{self._prefix}:names"]
        values: list[str | bytes | float] = [
            self._asker, round(TTL_S * 1e6), wish.wanted, wish.in_flight, wish.answers, wish.refusals, wish.cut,
            round(wish.age_s * 1e6), round(wish.hold_s * 1e6), wish.limit, wish.name, wish.label, START, wish.down,
        ]  # fmt: skip
        granted, limit, hold_us, askers = self._line.ask(SHARE, keys, values)
        return Share(granted, limit, hold_us / 1e6, askers)

    def close(self) -> None:
        """Close the connections to Redis."""
        self._line.close()


def prefix_of(installation: str) -> str:
    """Return what all keys of shares begin with."""
    return f"pc:{installation}:share"
