"""What a server or worker process needs running: services, schema, connections, the relay, its worker."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

from promptcard_ext.core.errors import SetupError
from server_ext import embedded
from server_ext.db import catalog, migrate, partitions
from server_ext.db.engine import Database
from server_ext.jobs.live import Listener
from server_ext.jobs.queue import Doorbell
from server_ext.jobs.relay import Relay
from server_ext.settings import Settings

log = logging.getLogger("promptcards")


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
        worker: The worker process of this server, unless it was told to have none.
    """

    settings: Settings
    services: embedded.Services
    database: Database
    doorbell: Doorbell
    relay: Relay
    listener: Listener | None = None
    worker: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, settings: Settings, *, pool_size: int = 8, with_worker: bool = True) -> Runtime:
        """Start everything; see `ready_services` for what may be wrong."""
        services = ready_services(settings)
        database = Database(services.database_url, pool_size=pool_size)
        doorbell = Doorbell(services.redis_url)
        runtime = cls(settings, services, database, doorbell, Relay(database, doorbell))
        runtime.relay.start()
        if with_worker:
            runtime.worker = start_worker(settings)
        return runtime

    def close(self) -> None:
        """Stop the worker and the relay, close the connections, detach from the services."""
        if self.worker is not None:
            stop_worker(self.worker)
        if self.listener is not None:
            self.listener.close()
        self.relay.close()
        self.doorbell.close()
        self.database.close()
        self.services.close()


def start_worker(settings: Settings) -> subprocess.Popen[bytes]:
    """Start a worker process that ends with this one."""
    environment = {**os.environ, "PROMPTCARDS_HOME": str(settings.home)}
    # Its own session: Ctrl-C in the terminal is for the server, which then stops the worker in good order.
    return subprocess.Popen(
        [sys.executable, "-m", "promptcard_ext.cli", "worker", "--parent", str(os.getpid())],
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def stop_worker(worker: subprocess.Popen[bytes], timeout_s: float = 15.0) -> None:
    """Let a worker finish what it writes; after ``timeout_s`` end it and its job by force."""
    worker.terminate()
    try:
        worker.wait(timeout_s)
    except subprocess.TimeoutExpired:
        log.warning(
            "The worker did not stop within %g s and is ended by force; its work will be taken up again.", timeout_s
        )
        worker.kill()
        worker.wait(5)
    if worker.returncode not in (0, -signal.SIGTERM, -signal.SIGKILL):
        log.warning("The worker ended with code %s.", worker.returncode)


def refuse_public_local_mode(ip: str) -> None:
    """Raise `SetupError` when everybody on the network would be the one local user."""
    if ip not in ("localhost", "127.0.0.1", "::1", "") and not ip.startswith("127."):
        raise SetupError(
            f"The server listens on '{ip}', where others can reach it; in local mode each of them would be you.",
            hint="Listen on localhost, or set c.PromptCards.identity_mode = 'local' if that is what you want.",
            code="local_mode_public",
        )
