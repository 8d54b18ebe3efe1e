"""Attach to the services of a home: the first to come starts them, the last to go stops them."""

from __future__ import annotations

import atexit
import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from promptcard_ext.core.errors import PromptCardError, SetupError
from server_ext.embedded import clients, external, postgres, roles, valkey
from server_ext.embedded.files import explained
from server_ext.embedded.home import Home, find_home, lock_file, make_home, open_home
from server_ext.settings import Settings

_open: dict[int, Services] = {}


@dataclass(frozen=True)
class Services:
    """The URLs to work with, valid until ``close()``. Also a context manager.

    Attributes:
        database_url: For the application: owns nothing, cannot bypass row-level security.
        owner_database_url: For migrations; None when only an external ``database_url`` is set.
        backup_database_url: For backups: reads every row; None with an external database.
        redis_url: Queue, events, cache.
        home: The home whose services run for us; None when both are external.
    """

    database_url: str = field(repr=False)
    owner_database_url: str | None = field(repr=False)
    backup_database_url: str | None = field(repr=False)
    redis_url: str = field(repr=False)
    home: Path | None = None
    _marker: clients.Marker | None = field(default=None, repr=False)

    def close(self) -> None:
        """Detach; the last one out stops the services. Again, or in a forked child, it does nothing.

        Raises:
            SetupError: ``service_failed`` or ``services_busy``: a service did not stop.
        """
        if self._marker is None or self._marker.pid != os.getpid() or _open.pop(id(self), None) is None:
            return
        try:
            _detach(self._marker)
        finally:
            clients.release(self._marker)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def attach(settings: Settings) -> Services:
    """Make the database and the queue available; starts what is embedded and does not run yet.

    Raises:
        Unavailable: A URL that is set does not answer (``database_unreachable``, ``redis_unreachable``).
        SetupError: The home or the machine cannot be used; see the codes in the package's docstring.
    """
    check_external(settings)
    if settings.database_url and settings.redis_url:
        return Services(settings.database_url, settings.owner_database_url, None, settings.redis_url)
    path = settings.home.resolve()
    with explained(path):
        make_home(path)
        with clients.transition(lock_file(path)):
            home = open_home(path)
            clients.attached(home.clients, purge=True)
            services = _start(home, settings)
    _open[id(services)] = services
    return services


def _start(home: Home, settings: Settings) -> Services:
    marker = clients.register(home.clients)
    try:
        if not settings.redis_url:
            valkey.ensure(home)
        if not settings.database_url:
            postgres.ensure(home)
    except BaseException:
        clients.release(marker)
        stop_unused(home)
        raise
    redis_url = settings.redis_url or f"unix://{quote(str(home.valkey_socket))}?db=0"
    services = Services("", None, None, redis_url, home.path, marker)
    if settings.database_url:
        url, owner_url = settings.database_url, settings.owner_database_url
        return replace(services, database_url=url, owner_database_url=owner_url)
    return replace(
        services,
        database_url=roles.url(home, "pc_app"),
        owner_database_url=roles.url(home, "pc_owner"),
        backup_database_url=roles.url(home, "pc_backup"),
    )


def check_external(settings: Settings) -> None:
    """Try every URL that is set.

    Raises:
        Unavailable: It does not answer.
        SetupError: ``url_invalid`` or ``database_url_missing``.
    """
    if settings.owner_database_url and not settings.database_url:
        raise SetupError(
            "PROMPTCARDS_OWNER_DATABASE_URL is set, but PROMPTCARDS_DATABASE_URL is not.",
            hint="Set both to use your own server, or neither to use the embedded one.",
            code="database_url_missing",
        )
    if settings.database_url:
        external.check_postgres(settings.database_url, "PROMPTCARDS_DATABASE_URL")
    if settings.owner_database_url:
        external.check_postgres(settings.owner_database_url, "PROMPTCARDS_OWNER_DATABASE_URL")
    if settings.redis_url:
        external.check_redis(settings.redis_url, "PROMPTCARDS_REDIS_URL")


def stop_unused(home: Home) -> bool:
    """Stop both services unless somebody is attached; call it under the transition lock."""
    if clients.attached(home.clients, purge=True):
        return False
    try:
        valkey.stop(home)
    finally:
        postgres.stop(home)
    return True


def _detach(marker: clients.Marker) -> None:
    path = marker.path.parents[1]
    if not path.is_dir():
        return  # the home was deleted under us: nothing there to stop
    with explained(path), clients.transition(lock_file(path)):
        clients.release(marker)
        home = find_home(path)
        if home is not None:
            stop_unused(home)


def _close_all() -> None:
    """At the end of the process; a complaint must not hide how the process ended."""
    for services in list(_open.values()):
        try:
            services.close()
        except PromptCardError as error:
            sys.stderr.write(f"promptcards: {error}\n")


atexit.register(_close_all)
