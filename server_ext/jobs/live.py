"""Live news of runs over Redis: "run R has event N", and for whoever watches the run the event itself.

Both are only hints; the events stand in PostgreSQL. News may be lost, and anybody who can write to Redis can send some.
So an event is sealed with a secret of the installation, together with its run and its number: what is not, was not
written by one of our workers, and is thrown away.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError

from server_ext.keys import KeyRing
from server_ext.redis_line import RedisAway, RedisLine
from server_ext.services.fresh_events import FreshEvent, encode_fresh

log = logging.getLogger("promptcards")
MOST_BYTES = 1_000_000
"""Larger events are read from the database: Redis holds a copy for each server until that has taken it."""
_HINTS = "pc:run:"
_EVENTS = "pc:watch:"
_SEAL_BYTES = 32
_NUMBER = struct.Struct("!Q")
LOOK_EVERY_S = 0.5
WARN_EVERY_S = 60.0


class Heard(NamedTuple):
    """News of one run.

    Attributes:
        seq: Number of an event; 0: it is worth a look.
        message: The event as it is sent, when that has come as well.
    """

    run_id: str
    seq: int = 0
    message: memoryview | None = None


def publish(line: RedisLine, workspace_id: UUID, run_id: UUID, seq: int) -> None:
    """Tell whoever watches a run that it has an event ``seq``. Watchers look by themselves, too."""
    with suppress(RedisAway):
        line.publish(f"{_HINTS}{workspace_id}:{run_id}", str(seq))


def publish_event(line: RedisLine, keys: KeyRing, workspace_id: UUID, run_id: UUID, event: FreshEvent) -> None:
    """Hand an event over to whoever watches the run, or tell of it. Nothing is encoded for nobody."""
    channel = _channel(workspace_id, run_id)
    with suppress(RedisAway):
        message = encode_fresh(event, MOST_BYTES) if line.subscribers(channel) else None
        if message is not None:
            # Without a hint: a server that is about to follow the run looks once it does.
            line.publish(channel, _seal(keys, channel, event.seq, message))
            return
    publish(line, workspace_id, run_id, event.seq)


def _channel(workspace_id: UUID, run_id: UUID | str) -> str:
    return f"{_EVENTS}{workspace_id}:{run_id}"


def _seal(keys: KeyRing, channel: str, seq: int, message: bytes) -> bytes:
    number = _NUMBER.pack(seq)
    return b"".join((_mark(keys, channel, number, message), number, message))


def _mark(keys: KeyRing, channel: str, *content: bytes | memoryview) -> bytes:
    secret = hmac.digest(keys.current("signing").secret, b"promptcards run events", "sha256")
    made = hmac.new(secret, channel.encode() + b"\0", "sha256")
    for piece in content:  # not joined: to copy a message takes about as long as all the rest
        made.update(piece)
    return made.digest()


def _opened(keys: KeyRing, channel: str, sealed: bytes) -> tuple[int, memoryview] | None:
    """Return number and message, or None when one of our workers has not sent them about this run."""
    content = memoryview(sealed)[_SEAL_BYTES:]
    mark = sealed[:_SEAL_BYTES]
    if len(content) < _NUMBER.size or not hmac.compare_digest(mark, _mark(keys, channel, content)):
        return None
    return _NUMBER.unpack_from(content)[0], content[_NUMBER.size :]


class Listener:
    """Hears the news of all runs in one thread, and the events of those that are followed.

    Args:
        redis_url: Redis or Valkey.
        keys: What events are sealed with.
        heard: Called from the listener's thread; it must only hand off.
    """

    def __init__(self, redis_url: str, keys: KeyRing, heard: Callable[[Heard], None]) -> None:
        # By the newer protocol redis-py 8 makes a text for its log of each message that it gets: six times the work.
        self._redis = Redis.from_url(redis_url, socket_timeout=1, socket_connect_timeout=5, protocol=2)
        self._keys, self._heard = keys, heard
        self._next_warning = 0.0
        self._stop = threading.Event()
        # Channels of followed runs. Only whole sets are put here, so that the thread needs no lock to read it.
        self._followed: dict[str, str] = {}
        # On which others call the thread, which sleeps while it listens and does all subscribing itself.
        self._call = f"pc:call:{secrets.token_hex(8)}"
        self._thread = threading.Thread(target=self._listen, name="promptcards-live", daemon=True)

    def start(self) -> None:
        """Start listening."""
        self._thread.start()

    def follow(self, workspace_id: UUID, run_id: str) -> None:
        """Hear the events of a run from now on, half a second later at most, sooner after `call`.

        When they are heard that is news, too, and again when the connection was lost meanwhile.

        `follow` and `leave` wait for nothing, and are for one thread.
        """
        self._followed = {**self._followed, _channel(workspace_id, run_id): run_id}

    def leave(self, run_id: str) -> None:
        """Hear no more of a run's events."""
        self._followed = {channel: followed for channel, followed in self._followed.items() if followed != run_id}

    def call(self) -> None:
        """Have the thread look now what it is to follow; this asks Redis, and may wait for it."""
        with suppress(RedisError):  # without the call it looks half a second later
            self._redis.publish(self._call, "")

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self.call()
        self._thread.join(timeout=5)
        self._redis.close()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                with self._redis.pubsub() as news:  # type: ignore[no-untyped-call]
                    news.psubscribe(f"{_HINTS}*")
                    news.subscribe(self._call)
                    self._hear(news)
            except RedisError:
                # Redis is away: watchers fall back to looking every second until it returns.
                self._stop.wait(1.0)

    def _hear(self, news: PubSub) -> None:
        subscribed: set[str] = set()
        while not self._stop.is_set():
            followed = self._followed
            if gone := subscribed - followed.keys():
                news.unsubscribe(*gone)  # type: ignore[no-untyped-call]
            if new := followed.keys() - subscribed:
                news.subscribe(*new)
            subscribed = set(followed)
            message = news.get_message(timeout=LOOK_EVERY_S)
            if message is None:
                continue
            channel = message["channel"].decode()
            if message["type"] in PubSub.PUBLISH_MESSAGE_TYPES:
                self._pass_on(channel, message["data"], followed)
            elif message["type"] == "subscribe" and channel in followed:
                self._heard(Heard(followed[channel]))

    def _pass_on(self, channel: str, data: bytes, followed: dict[str, str]) -> None:
        if channel.startswith(_HINTS):
            seq = int(data) if data.isdigit() and len(data) < 20 else 0
            self._heard(Heard(channel.rpartition(":")[2], seq))
        elif channel in followed:
            opened = _opened(self._keys, channel, data)
            if opened is not None:
                self._heard(Heard(followed[channel], *opened))
            elif time.monotonic() >= self._next_warning:
                self._next_warning = time.monotonic() + WARN_EVERY_S
                log.warning("Somebody sends events of run %s over Redis that are not ours.", followed[channel])
