"""Live news of runs over Redis: "run R has event N". Only a hint; the events themselves stand in PostgreSQL."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from redis import Redis
from redis.exceptions import RedisError

_PREFIX = "pc:run:"


def publish(redis: Redis, workspace_id: UUID, run_id: UUID, seq: int) -> None:
    """Tell whoever watches a run that it has an event ``seq``. Watchers look by themselves, too."""
    try:
        redis.publish(f"{_PREFIX}{workspace_id}:{run_id}", str(seq))
    except RedisError:
        return


class Listener:
    """Hears the news of all runs in one thread and calls ``heard(run_id)`` for each.

    Args:
        redis_url: Redis or Valkey.
        heard: Called from the listener's thread; it must only hand off.
    """

    def __init__(self, redis_url: str, heard: Callable[[str], None]) -> None:
        self._redis = Redis.from_url(redis_url, socket_timeout=1, socket_connect_timeout=5)
        self._heard = heard
        self._stop = threading.Event()
        # On which `close` calls the thread, which sleeps while it listens.
        self._call = f"pc:call:{secrets.token_hex(8)}"
        self._thread = threading.Thread(target=self._listen, name="promptcards-live", daemon=True)

    def start(self) -> None:
        """Start listening."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        with suppress(RedisError):  # without the call it stops half a second later
            self._redis.publish(self._call, "")
        self._thread.join(timeout=5)
        self._redis.close()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                with self._redis.pubsub(ignore_subscribe_messages=True) as news:  # type: ignore[no-untyped-call]
                    news.psubscribe(f"{_PREFIX}*")
                    news.subscribe(self._call)
                    while not self._stop.is_set():
                        message = news.get_message(timeout=0.5)
                        if message and message["pattern"] is not None:
                            self._heard(message["channel"].decode().rpartition(":")[2])
            except RedisError:
                # Redis is away: watchers fall back to looking every second until it returns.
                self._stop.wait(1.0)
