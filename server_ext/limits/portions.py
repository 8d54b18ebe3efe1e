"""Calls and tokens by the minute, shared by all workers: each takes a portion of what may begin, and counts for itself.

A limit is a bucket in Redis, as in `promptcard_ext.core.per_minute`. A few times a second each asker says what it would
begin until it asks again, and takes it out; what it does not begin after all it puts back. So all together begin no
more in a minute than the limit and what had been handed out before that minute: a second's worth at most.
"""

from __future__ import annotations

from typing import NamedTuple

from promptcard_ext.core.per_minute import PerMinute, burst, fill
from server_ext.limits.shares import prefix_of
from server_ext.redis_line import RedisLine, Script

LIVE_S = 2.0
"""So long what an asker wants is kept for it when it does not come."""
SMOOTH_S = 5.0

# KEYS: the limits, then all names. ARGV: asker, us that it counts, whether it ends, s over which its use is smoothed;
# then for each limit its name, what to call it, and twice, for calls and for tokens: the limit a minute (0: none), what
# comes into the bucket in a second and what it can hold, what is wanted, put back, and was used since the last time.
# Fields of a limit: what it is (label, lr, lt), the buckets (r, t) and when they were filled (at), how far each kind
# has been served (vr, vt), and of each asker (a:NAME) when it came, and of calls and of tokens what it still wants, how
# far it was served, and what it uses a minute.
# Returns of each limit how many calls and tokens are granted, and how many askers there are.
PORTIONS = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local me, ttl, ends, smooth = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])
local KINDS = {{limit = 'lr', bucket = 'r', served = 'vr', want = 2, had = 4, use = 6},
               {limit = 'lt', bucket = 't', served = 'vt', want = 3, had = 5, use = 7}}

-- Who has been served least comes first, until all are even or have what they want: this line is the highest level up
-- to which all can be served.
local function line_of(all, kind, amount)
  local low, high = math.huge, -math.huge
  for _, one in ipairs(all) do
    low, high = math.min(low, one[kind.had]), math.max(high, one[kind.had] + one[kind.want])
  end
  for _ = 1, 50 do
    local line, sum = (low + high) / 2, 0
    for _, one in ipairs(all) do sum = sum + math.max(0, math.min(one[kind.want], line - one[kind.had])) end
    if sum > amount then high = line else low = line end
  end
  return low
end

-- Whole ones only; those that no part is large enough for go one each to who has been served least.
local function part_of_me(all, kind, amount)
  local wanted, mine = 0, 0
  for _, one in ipairs(all) do
    wanted = wanted + one[kind.want]
    if one.name == me then mine = one[kind.want] end
  end
  if wanted <= amount then return mine end
  local line, rest, lacking = line_of(all, kind, amount), math.floor(amount), {}
  for _, one in ipairs(all) do
    local part = math.floor(math.max(0, math.min(one[kind.want], line - one[kind.had])) + 0.000001)
    if one.name == me then mine = part end
    rest = rest - part
    if part < one[kind.want] then lacking[#lacking + 1] = {one.name, one[kind.had] + part} end
  end
  table.sort(lacking, function(a, b) if a[2] ~= b[2] then return a[2] < b[2] end return a[1] < b[1] end)
  for place, one in ipairs(lacking) do
    if place <= rest and one[1] == me then mine = mine + 1 end
  end
  return mine
end

local function ask(key, given)
  local state, all, mine = {}, {}, nil
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local asker = string.match(flat[i], '^a:(.*)$')
    if asker == nil then
      state[flat[i]] = flat[i + 1]
    else
      local one = {name = asker}
      for number in string.gmatch(flat[i + 1], '%S+') do one[#one + 1] = tonumber(number) end
      if now - one[1] <= ttl then
        all[#all + 1] = one
        if asker == me then mine = one end
      else
        redis.call('HDEL', key, flat[i])
      end
    end
  end
  if mine == nil then
    mine = {now, 0, 0, 0, 0, 0, 0, name = me}
    all[#all + 1] = mine
  end
  local elapsed = math.max(0, now - tonumber(state.at or now)) / 1000000
  local since = math.max(0, now - mine[1]) / 1000000
  local keep = math.exp(-since / smooth)
  local changed, granted = {}, {}
  for n, kind in ipairs(KINDS) do
    local limit, fill, burst, wanted, back, used = unpack(given, 6 * n - 5, 6 * n)
    if since > 0 then mine[kind.use] = mine[kind.use] * keep + used / since * 60 * (1 - keep) end
    local part, level = wanted, tonumber(state[kind.bucket] or burst)
    if burst > 0 then
      level = math.min(burst, level + fill * elapsed + back)
      local served = tonumber(state[kind.served] or 0)
      -- Whoever wanted no more than there was does not have the first right to what is scarce now.
      if mine[kind.want] <= 0 then mine[kind.had] = math.max(mine[kind.had], served) end
      mine[kind.had], mine[kind.want] = mine[kind.had] - back, wanted
      part = part_of_me(all, kind, math.max(0, math.floor(level + 0.000001)))
      if part > 0 then served = math.max(served, mine[kind.had]) end
      changed[#changed + 1] = kind.served
      changed[#changed + 1] = string.format('%.3f', served)
      mine[kind.had], mine[kind.want], level = mine[kind.had] + part, wanted - part, level - part
      changed[#changed + 1] = kind.bucket
      changed[#changed + 1] = string.format('%.6f', level)
    end
    changed[#changed + 1] = kind.limit
    changed[#changed + 1] = limit
    granted[n] = part
  end
  redis.call('HSET', key, 'at', string.format('%.0f', now), unpack(changed))
  mine[1] = now
  local count = #all
  if ends then
    redis.call('HDEL', key, 'a:' .. me)
    count = count - 1
  else
    redis.call('HSET', key, 'a:' .. me, string.format('%.0f %.0f %.0f %.3f %.3f %.3f %.3f', unpack(mine)))
  end
  redis.call('EXPIRE', key, 3600)
  return {granted[1], granted[2], count}
end

local found = {}
for place = 1, #KEYS - 1 do
  local from, given = 4 + (place - 1) * 14, {}
  for i = 1, 12 do given[i] = tonumber(ARGV[from + 2 + i]) end
  found[place] = ask(KEYS[place], given)
  redis.call('HSET', KEYS[place], 'label', ARGV[from + 2])
  redis.call('ZADD', KEYS[#KEYS], now, ARGV[from + 1])
end
redis.call('EXPIRE', KEYS[#KEYS], 3600)
return found
""")


class Demand(NamedTuple):
    """What an asker would take of a limit until it asks again, and what came of the last portions.

    Attributes:
        name: Of a provider key, a workspace, or everything.
        label: What to call it.
        per_minute: The limit, as this asker knows it.
        requests, tokens: What it wants, whole numbers.
        requests_back, tokens_back: What it took before and does not use; negative tokens when it has used more.
        requests_used, tokens_used: What it has used since it last asked.
    """

    name: str
    label: str
    per_minute: PerMinute
    requests: int
    tokens: int
    requests_back: int = 0
    tokens_back: int = 0
    requests_used: int = 0
    tokens_used: int = 0


class Grant(NamedTuple):
    """What an asker was given; of what has no limit, all that it wanted.

    Attributes:
        askers: How many share the limit.
    """

    requests: int
    tokens: int
    askers: int


class Portions:
    """Asks for portions; safe for threads.

    Args:
        line: The way to Redis.
        installation, asker: As `server_ext.limits.shares.Shares`.
    """

    def __init__(self, line: RedisLine, installation: str, asker: str) -> None:
        self._line, self._asker = line, asker
        self._prefix = prefix_of(installation)

    def ask(self, demands: list[Demand], *, ends: bool = False) -> list[Grant]:
        """Take a portion of each limit, all on one way to Redis.

        Args:
            ends: Whether this is the last time.

        Raises:
            RedisAway: Redis does not answer.
        """
        keys = [f"{self._prefix}:rate:{demand.name}" for demand in demands]
        values: list[str | bytes | float] = [self._asker, round(LIVE_S * 1e6), int(ends), SMOOTH_S]
        for one in demands:
            values += [one.name, one.label]
            values += [*_bucket(one.per_minute.requests), one.requests, one.requests_back, one.requests_used]
            values += [*_bucket(one.per_minute.tokens), one.tokens, one.tokens_back, one.tokens_used]
        found = self._line.ask(PORTIONS, [*keys, f"{self._prefix}:names"], values)
        return [Grant(*one) for one in found]


def _bucket(per_minute: float | None) -> tuple[float, float, float]:
    return (0.0, 0.0, 0.0) if per_minute is None else (per_minute, fill(per_minute), burst(per_minute))
