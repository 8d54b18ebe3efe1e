"""A line to Redis that may be cut: whoever asks gets an answer soon, or hears at once that there is none."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

TIMEOUT_S = 1.0
PAUSE_S = 1.0
"""How long Redis is not asked after it has failed."""


class RedisAway(Exception):
    """Redis does not answer, or did not a moment ago. Nobody outside of the server's own modules meets this."""


class Script:
    """A Lua script.

    Attributes:
        sha: The name by which Redis calls it, once it has been loaded.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisLine:
    """Commands to one Redis or Valkey, safe for threads.

    Args:
        url: Where it is.
        timeout_s: How long a command may take.
        clock: Seconds, of which only differences count.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
        )
        self._clock = clock
        self._away_until = float("-inf")

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | float]) -> Any:
        """Run a script that has been loaded.

        Raises:
            NoScriptError: It has not, or Redis has been started anew since.
            RedisAway: Redis does not answer.
        """
        with self._asking():
            return self._redis.evalsha(script.sha, len(keys), *keys, *arguments)

    def ask(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | float]) -> Any:
        """Run a script, and load it before that when it is not there.

        Raises:
            RedisAway: Redis does not answer.
        """
        try:
            return self.run(script, keys, arguments)
        except NoScriptError:
            self.load(script)
        try:
            return self.run(script, keys, arguments)
        except NoScriptError as error:
            # Scripts vanish as soon as they are there: no Redis to count with.
            raise RedisAway from error

    def load(self, *scripts: Script) -> None:
        """Load scripts.

        Raises:
            RedisAway: Redis does not answer.
        """
        with self._asking():
            for script in scripts:
                self._redis.script_load(script.text)

    def set(self, key: str, value: str) -> None:
        """Set a key.

        Raises:
            RedisAway: Redis does not answer.
        """
        with self._asking():
            self._redis.set(key, value)

    def delete(self, *keys: str) -> None:
        """Delete keys.

        Raises:
            RedisAway: Redis does not answer.
        """
        with self._asking():
            self._redis.delete(*keys)

    def publish(self, channel: str, message: str | bytes) -> None:
        """Publish a message.

        Raises:
            RedisAway: Redis does not answer.
        """
        with self._asking():
            self._redis.publish(channel, message)

    def subscribers(self, channel: str) -> int:
        """Return how many connections hear what is published on a channel.

        Raises:
            RedisAway: Redis does not answer.
        """
        with self._asking():
            ((_, count),) = self._redis.pubsub_numsub(channel)
            return int(count)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        if self._clock() < self._away_until:
            raise RedisAway
        try:
            yield
        except NoScriptError:
            raise
        except RedisError as error:
            # A Redis that hangs would otherwise cost every request the whole timeout.
            self._away_until = self._clock() + PAUSE_S
            raise RedisAway from error
