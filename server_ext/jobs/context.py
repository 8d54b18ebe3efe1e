"""What a worker process works with. RQ forks per job; a connection must not cross the fork."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis

from server_ext.db.engine import SILENCE_S, Database
from server_ext.jobs.flag import Flag
from server_ext.keys import KeyRing
from server_ext.redis_line import RedisLine
from server_ext.settings import NO_RATES, CallRates, Settings

DEFAULT_LEASE_S = 30.0
DEFAULT_GRACE_S = 10.0


@dataclass
class Context:
    """Connections of this process, opened when first used and again after a fork.

    Attributes:
        lease_s: How long a worker may be silent before its task is given to another.
        grace_s: How long calls in flight may still be answered when the worker is asked to end.
        linger_s: How long a job without work waits for more before it ends.
        at_work: Whether the job has a task; it tells the worker that forked it.
        home: Where what must not be lost is kept while the database is away.
        shared_keys: Whether provider keys of this process's environment are for every workspace.
        most_calls: Most calls in flight, whatever a run asks for; None sets no limit.
        installation: Sets our keys in Redis apart from those of others.
        calls_total, calls_per_workspace: Most calls in flight of all workers together; None sets no limit.
        rates: Most calls and tokens of all workers together in a minute.
    """

    database_url: str
    redis_url: str
    worker: str
    keys: KeyRing
    lease_s: float = DEFAULT_LEASE_S
    shared_keys: bool = False
    most_calls: int | None = None
    installation: str = ""
    calls_total: int | None = None
    calls_per_workspace: int | None = None
    rates: CallRates = NO_RATES
    grace_s: float = DEFAULT_GRACE_S
    linger_s: float = 0.0
    at_work: Flag = field(default_factory=Flag, repr=False)
    home: Path = field(default_factory=lambda: Settings.from_environment().home)
    _pid: int = 0
    _database: Database | None = field(default=None, repr=False)
    _lease_database: Database | None = field(default=None, repr=False)
    _redis: Redis | None = field(default=None, repr=False)
    _news: RedisLine | None = field(default=None, repr=False)

    @property
    def database(self) -> Database:
        """The database."""
        self._check_process()
        if self._database is None:
            # A worker that vanished in a transaction holds locks until its lease has run out, not longer.
            silence_s = min(SILENCE_S, self.lease_s / 2)
            self._database = Database(self.database_url, pool_size=4, keys=self.keys, silence_s=silence_s)
        return self._database

    @property
    def lease_database(self) -> Database:
        """The database by connections of its own, for renewals: they wait for nobody, and not for long."""
        self._check_process()
        if self._lease_database is None:
            half_s = self.lease_s / 2
            self._lease_database = Database(
                self.database_url, pool_size=4, statement_timeout_s=half_s, silence_s=min(SILENCE_S, half_s)
            )
        return self._lease_database

    @property
    def redis(self) -> Redis:
        """Redis, for the queue."""
        self._check_process()
        if self._redis is None:
            self._redis = Redis.from_url(self.redis_url, socket_timeout=5, socket_connect_timeout=5)
        return self._redis

    @property
    def news(self) -> RedisLine:
        """Redis, for news: what waits for nobody."""
        self._check_process()
        if self._news is None:
            self._news = RedisLine(self.redis_url)
        return self._news

    def close(self) -> None:
        """Close what this process has opened; it is opened anew when it is needed."""
        self._check_process()
        for opened in (self._database, self._lease_database, self._redis, self._news):
            if opened is not None:
                opened.close()
        self._database = self._lease_database = self._redis = self._news = None

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            # After a fork the parent's connections are dropped, not closed: closing would end them for the parent. What
            # it has learnt of the database is kept: to ask anew would take longer than a short task.
            for database in (self._database, self._lease_database):
                if database is not None:
                    database.dispose_after_fork()
            self._pid, self._redis, self._news = os.getpid(), None, None


_current: Context | None = None


def install(context: Context) -> None:
    """Make ``context`` the one of this process and of the children it forks."""
    global _current
    _current = context


def current() -> Context:
    """Return the context of this process."""
    if _current is None:
        raise RuntimeError("this process is not a Prompt Cards worker")
    return _current
