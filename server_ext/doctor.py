"""``jupyter promptcards doctor``: what is here, what is wrong, what to do about it."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from promptcard_ext.core.errors import PromptCardError
from promptcard_ext.providers import reachable_models
from server_ext import embedded
from server_ext.db import catalog, migrate
from server_ext.db.engine import Database
from server_ext.jobs.queue import Doorbell
from server_ext.settings import Settings

PACKAGES = (
    "promptcards",
    "jupyterlab",
    "jupyter-server",
    "ipykernel",
    "anywidget",
    "sqlalchemy",
    "psycopg",
    "rq",
    "redis",
)


class Line(NamedTuple):
    """One thing that was looked at.

    Attributes:
        state: ``ok``, ``warning`` (works, but look) or ``wrong``.
        advice: What to do; empty when nothing is.
    """

    state: str
    subject: str
    finding: str
    advice: str = ""


def examine(settings: Settings) -> Iterator[Line]:
    """Look at everything, most basic things first."""
    yield Line("ok", "Python", f"{platform.python_version()} at {sys.executable}")
    yield Line("ok", "versions", ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    yield _guarded("extension", _extension)
    yield _guarded("home", lambda: _home(settings))
    try:
        services = embedded.attach(settings)
    except PromptCardError as error:
        yield Line("wrong", "services", error.message, error.hint)
    else:
        with services:
            yield _services(settings)
            yield from _database(services)
            yield _guarded("queue", lambda: _queue(services))
    yield from _providers()


def _guarded(subject: str, look: Callable[[], Line]) -> Line:
    try:
        return look()
    except PromptCardError as error:
        return Line("wrong", subject, error.message, error.hint)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _extension() -> Line:
    from jupyter_core.paths import jupyter_config_path
    from jupyter_server.config_manager import BaseJSONConfigManager

    for folder in jupyter_config_path():
        found = BaseJSONConfigManager(config_dir=folder).get("jupyter_server_config")
        enabled = found.get("ServerApp", {}).get("jpserver_extensions", {}).get("server_ext")
        if enabled is not None:
            if enabled:
                return Line("ok", "extension", "enabled in Jupyter Server")
            return Line("wrong", "extension", f"switched off in {folder}", "jupyter server extension enable server_ext")
    return Line("wrong", "extension", "not enabled in Jupyter Server", "jupyter server extension enable server_ext")


def _home(settings: Settings) -> Line:
    place = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = shutil.disk_usage(place).free / 1e9
    state, advice = ("warning", "Free some space.") if free < 1 else ("ok", "")
    return Line(state, "home", f"{settings.home}, {free:.1f} GB free", advice)


def _services(settings: Settings) -> Line:
    status = embedded.status(settings)
    found = [
        f"{name} {'elsewhere' if one.external else one.version} answers"
        for name, one in (("PostgreSQL", status.postgres), ("Valkey", status.valkey))
    ]
    return Line("ok", "services", ", ".join(found))


def _database(services: embedded.Services) -> Iterator[Line]:
    def migrations() -> Line:
        if services.owner_database_url is not None and services.home is not None:
            migrate.upgrade(services.owner_database_url)
        return Line("ok", "schema", f"revision {migrate.check(services.database_url).current}")

    schema = _guarded("schema", migrations)
    yield schema
    if schema.state != "ok":
        return
    with Database(services.database_url, pool_size=1) as database:
        yield _guarded("role", lambda: _role(database))
        with database.transaction() as connection:
            findings = catalog.check_tenancy(connection)
        for finding in findings:
            advice = "Report this: a table does not keep workspaces apart."
            yield Line("wrong", "tenancy", f"{finding.subject}: {finding.message}", advice)
        if not findings:
            yield Line("ok", "tenancy", "row-level security is enabled and forced on every table of a workspace")


def _role(database: Database) -> Line:
    with database.transaction() as connection:
        catalog.check_role(connection)
    return Line("ok", "role", "the application owns nothing and cannot bypass row-level security")


def _queue(services: embedded.Services) -> Line:
    doorbell = Doorbell(services.redis_url)
    try:
        waiting = doorbell.waiting()
    finally:
        doorbell.close()
    return Line("ok", "queue", f"{waiting} waiting")


def _providers() -> Iterator[Line]:
    for provider, found in asyncio.run(reachable_models()).items():
        if isinstance(found, PromptCardError):
            yield Line("warning", provider, found.message, found.hint)
        else:
            shown = ", ".join(found[:4]) + (" …" if len(found) > 4 else "")
            yield Line("ok", provider, f"{len(found)} models: {shown}")


def show(lines: Iterator[Line]) -> int:
    """Print the lines as they come; return 1 when something is wrong."""
    marks = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "wrong": "[red]✗[/]"}
    console = Console()
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(width=1)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    wrong = 0
    with console.status("Looking …"):
        for line in lines:
            wrong += line.state == "wrong"
            advice = f"\n[dim]→ {escape(line.advice)}[/]" if line.advice else ""
            table.add_row(marks[line.state], escape(line.subject), escape(line.finding) + advice)
    console.print(table)
    return 1 if wrong else 0
