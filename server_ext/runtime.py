"""What a server or worker process needs running: services, schema, connections, the relay, its worker."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from server_ext import embedded
from server_ext.cache import Cache, Shared
from server_ext.db import catalog, migrate, partitions
from server_ext.db.engine import Database
from server_ext.db.loop_reads import LoopReads
from server_ext.jobs.head_keeper import HEADS_FILE, HeadKeeper
from server_ext.jobs.live import Listener
from server_ext.jobs.queue import Doorbell
from server_ext.jobs.relay import Relay
from server_ext.keys import KeyRing, load_ring
from server_ext.limits import Limiter, limits_from
from server_ext.limits.loads import Loads
from server_ext.news import News
from server_ext.observe.readiness import Readiness
from server_ext.redis_line import RedisLine
from server_ext.services.changes import Change
from server_ext.services.known_actors import KnownActors
from server_ext.settings import Settings
from server_ext.supervisor import WorkerProcess

EXPORT_THREADS = WATCH_THREADS = 2
EXPORT_TIMEOUT_S = 600


def ready_services(settings: Settings) -> embedded.Services:
    """Attach to the services and see that the database can be worked with.

    The embedded database is brought to this version's schema; somebody else's is only checked.

    Raises:
        SetupError: See `server_ext.embedded`; or the schema does not fit, or the role may do too much.
        Unavailable: A URL that is set does not answer.
    """
    services = embedded.attach(settings)
    try:
        if settings.database_url is None:
            assert services.owner_database_url is not None
            migrate.upgrade(services.owner_database_url)
        else:
            migrate.check(services.database_url)
        with Database(services.database_url, pool_size=1) as database, database.transaction() as connection:
            catalog.check_role(connection)
            partitions.ensure(connection)
    except BaseException:
        services.close()
        raise
    return services


@dataclass
class Runtime:
    """Everything that a running server holds; `close` gives it all back.

    Attributes:
        exports: Connections of exports, which may take minutes, and `export_pool` their threads.
        loop_reads: Connections of the event loop; whoever runs one closes them before it ends.
        watch: Connections of what must answer when all others are busy, and `watch_pool` its threads.
        actors: Who showed which credential.
        readiness: Whether load balancers may send requests.
        cache: Values that need not be read again, as long as `news` does not say that they have changed.
        limiter: Who may ask how often.
        loads: How provider keys are loaded.
        worker: The worker process of this server, unless it was told to have none.
    """

    settings: Settings
    services: embedded.Services
    keys: KeyRing
    database: Database
    doorbell: Doorbell
    relay: Relay
    heads: HeadKeeper
    cache: Cache
    limiter: Limiter
    loads: Loads
    news: News
    exports: Database
    watch: Database
    loop_reads: LoopReads
    actors: KnownActors
    readiness: Readiness
    export_pool: ThreadPoolExecutor
    watch_pool: ThreadPoolExecutor
    listener: Listener | None = None
    worker: WorkerProcess | None = None

    @classmethod
    def start(cls, settings: Settings, *, pool_size: int = 8, with_worker: bool = True) -> Runtime:
        """Start everything; see `ready_services` for what may be wrong."""
        limits = limits_from(settings.limits)
        services = ready_services(settings)
        # One more than threads that serve requests: the relay's.
        keys = load_ring(settings.keys_path)
        database = Database(services.database_url, pool_size=pool_size + 1, keys=keys)
        doorbell = Doorbell(services.redis_url)
        watch = Database(services.database_url, pool_size=WATCH_THREADS, keys=keys)
        installation = installation_id(services.database_url)
        cache = Cache(Shared(RedisLine(services.redis_url), installation, seal_key(keys)))
        runtime = cls(
            settings=settings,
            services=services,
            keys=keys,
            database=database,
            doorbell=doorbell,
            relay=Relay(database, doorbell),
            heads=HeadKeeper(database, settings.home / HEADS_FILE),
            cache=cache,
            limiter=Limiter(RedisLine(services.redis_url), installation, limits),
            loads=Loads(RedisLine(services.redis_url), installation),
            news=News(services.database_url, cache),
            exports=Database(services.database_url, EXPORT_THREADS, keys=keys, statement_timeout_s=EXPORT_TIMEOUT_S),
            watch=watch,
            loop_reads=LoopReads(services.database_url),
            actors=KnownActors(watch),
            readiness=Readiness(watch.ping),
            export_pool=ThreadPoolExecutor(EXPORT_THREADS, thread_name_prefix="promptcards-export"),
            watch_pool=ThreadPoolExecutor(WATCH_THREADS, thread_name_prefix="promptcards-watch"),
        )
        runtime.news.subscribe(runtime.heard)
        database.after_commit = runtime.changed
        runtime.relay.start()
        runtime.heads.start()
        runtime.news.start()
        if with_worker:
            runtime.worker = WorkerProcess(settings)
        return runtime

    def remembered_rights(self, user_id: UUID, load: Callable[[], bytes]) -> bytes:
        """Return what is remembered of a user's rights, or what ``load`` returns."""
        return self.cache.get("perms", None, str(user_id), load)

    def heard(self, change: Change | None) -> None:
        """Check credentials anew when a session, token or user has ended, or when that may have been missed."""
        if change is None or change.family == "session":
            self.actors.forget()

    def changed(self, changes: Sequence[Change]) -> None:
        """Take note of changes that a transaction of this process has just made."""
        self.news.forget(changes)
        for change in changes:
            self.heard(change)

    def close(self) -> None:
        """Stop the worker and the relay, close the connections, detach from the services."""
        with ExitStack() as rest:  # from the last to the first; what does not close does not keep the others open
            rest.callback(self.services.close)
            for database in (self.database, self.exports, self.watch):
                rest.callback(database.close)
            for pool in (self.export_pool, self.watch_pool):
                rest.callback(pool.shutdown, wait=False, cancel_futures=True)
            for line in (self.doorbell, self.cache, self.limiter, self.loads):
                rest.callback(line.close)
            rest.callback(self.relay.close)
            rest.callback(self.heads.close)
            rest.callback(self.news.close)
            if self.listener is not None:
                rest.callback(self.listener.close)
            if self.worker is not None:
                rest.callback(self.worker.close)


def installation_id(database_url: str) -> str:
    """Return what sets this installation apart from others on the same Redis: its database, which they cannot share."""
    url = sa.make_url(database_url)
    place = f"{url.host or url.query.get('host')}:{url.port}/{url.database}"
    return hashlib.blake2b(place.encode(), digest_size=8).hexdigest()


def seal_key(keys: KeyRing) -> bytes:
    """Return the secret that cached values are sealed with, which is good for nothing else."""
    return hmac.digest(keys.current("signing").secret, b"promptcards cache", "sha256")


def is_loopback(ip: str) -> bool:
    """Tell whether a server that listens on ``ip`` can be reached from this machine only."""
    # Jupyter turns '*' into an empty text: that is every address of this machine.
    try:
        return ip == "localhost" or ipaddress.ip_address(ip).is_loopback
    except ValueError:
        return False
