"""The second level: values in Redis, shared by the servers of an installation.

Three things keep it honest. A value is stored only with the lease that its reader took on the miss, and a change
deletes value and lease together: what was read before the change cannot be stored after it. Every value belongs to an
epoch; a server that may have missed a change (it was deaf, Redis was away or has lost its last second) begins a new
one, and everything older is a miss. And every value is sealed with the installation's secret: whoever can write to
Redis can neither make himself an owner nor change a prompt.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from server_ext.cache.families import FAMILIES, Name
from server_ext.redis_line import RedisAway, RedisLine, Script

# Longer than any load: a lease that has run out only means that its value is not stored.
LEASE_MS = 60_000
SEAL_BYTES = 32

_READ = Script("""
local epoch = redis.call('GET', KEYS[1]) or ''
local found = redis.call('HMGET', KEYS[2], 'epoch', 'value')
if found[2] and found[1] == epoch then return {epoch, found[2]} end
redis.call('SET', KEYS[3], ARGV[1], 'NX', 'PX', ARGV[2])
return {epoch, false, redis.call('GET', KEYS[3])}
""")
_STORE = Script("""
local epoch = redis.call('GET', KEYS[1]) or ''
if epoch ~= ARGV[1] or redis.call('GET', KEYS[3]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], 'epoch', epoch, 'value', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('DEL', KEYS[3])
return 1
""")


class Lease(NamedTuple):
    """The right to store what is loaded after a miss, as long as nothing changes."""

    epoch: bytes
    token: bytes


class Found(NamedTuple):
    """A value, or else the lease to store it; neither when Redis is away."""

    value: bytes | None = None
    lease: Lease | None = None


class Shared:
    """Values in Redis. Nothing here raises: without Redis everything is a miss.

    Args:
        line: The way to Redis; `close` closes it.
        installation: Sets our keys apart from those of another installation on the same Redis.
        secret: What values are sealed with; the same in all servers of the installation.
    """

    def __init__(self, line: RedisLine, installation: str, secret: bytes) -> None:
        self._line = line
        self._prefix = f"pc:{installation}"
        self._secret = secret
        self._lock = threading.Lock()
        self._epochs_wanted = 1
        self._epochs_begun = 0

    def read(self, name: Name) -> Found:
        """Look for a value; on a miss take a lease."""
        keys = self._keys(name)
        try:
            epoch, value, *lease = self._run(_READ, keys, [secrets.token_bytes(12), LEASE_MS])
        except RedisAway:
            return Found()
        if value is None:
            return Found(None, Lease(epoch, lease[0]))
        return Found(self._opened(keys[1], value))

    def store(self, name: Name, lease: Lease, value: bytes) -> None:
        """Store what was loaded, unless it has changed since the lease was taken."""
        keys = self._keys(name)
        sealed = self._seal(keys[1], value) + value
        try:
            self._run(_STORE, keys, [lease.epoch, lease.token, sealed, FAMILIES[name.family].ttl_s * 1000])
        except RedisAway:
            return

    def drop(self, name: Name) -> None:
        """Delete a value, and every lease on it; when that fails, begin a new epoch before Redis is used again."""
        _, value, lease = self._keys(name)
        try:
            self._line.delete(value, lease)
        except RedisAway:
            self.begin_epoch()

    def begin_epoch(self) -> None:
        """Make a miss of everything stored so far, now or as soon as Redis is there again."""
        with self._lock:
            self._epochs_wanted += 1

    def close(self) -> None:
        """Close the connections to Redis."""
        self._line.close()

    def _run(self, script: Script, keys: list[str], arguments: list[Any]) -> Any:
        self._ensure_epoch()
        try:
            return self._line.run(script, keys, arguments)
        except NoScriptError:
            # Redis forgets scripts when it starts. It may then also have forgotten the deletions of its last second.
            self.begin_epoch()
            self._ensure_epoch()
        try:
            return self._line.run(script, keys, arguments)
        except NoScriptError:
            raise RedisAway from None

    def _ensure_epoch(self) -> None:
        if self._epochs_begun == self._epochs_wanted:
            return
        with self._lock:
            wanted = self._epochs_wanted
            if self._epochs_begun != wanted:
                self._line.set(f"{self._prefix}:epoch", secrets.token_hex(8))
                self._line.load(_READ, _STORE)
                self._epochs_begun = wanted

    def _keys(self, name: Name) -> list[str]:
        place = f"{name.workspace_id or '-'}:{FAMILIES[name.family].prefix}{name.key}"
        return [f"{self._prefix}:epoch", f"{self._prefix}:cache:{place}", f"{self._prefix}:lease:{place}"]

    def _seal(self, key: str, value: bytes) -> bytes:
        return hmac.digest(self._secret, key.encode() + b"\0" + value, "sha256")

    def _opened(self, key: str, sealed: bytes) -> bytes | None:
        seal, value = sealed[:SEAL_BYTES], sealed[SEAL_BYTES:]
        return value if hmac.compare_digest(seal, self._seal(key, value)) else None
