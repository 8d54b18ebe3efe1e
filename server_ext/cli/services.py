"""``jupyter promptcards services``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from server_ext.settings import Settings

if TYPE_CHECKING:
    from server_ext import embedded


def add(commands: Any) -> None:
    """Add the command."""
    services = commands.add_parser("services", help="the embedded PostgreSQL and Valkey")
    services.add_argument(
        "action", choices=["status", "stop", "remove"], help="'remove' deletes the home and all its data"
    )
    services.add_argument("--yes", action="store_true", help="do not ask before deleting")
    services.set_defaults(command=_services)


def _services(arguments: argparse.Namespace) -> int:
    from server_ext import embedded

    settings = Settings.from_environment()
    if arguments.action == "stop":
        embedded.stop_all(settings)
        print("Stopped.")
    elif arguments.action == "remove":
        if not arguments.yes and not _confirmed(f"Delete {settings.home} and all its data? [y/N] "):
            return 1
        left = embedded.remove_home(settings)
        print(f"Removed {settings.home}." if not left else f"Removed what is ours; left in {settings.home}:")
        for path in left:
            print(f"  {path.name}")
    else:
        for line in _status_lines(embedded.status(settings)):
            print(line)
    return 0


def _confirmed(question: str) -> bool:
    try:
        return input(question).strip().lower() == "y"
    except EOFError:
        print("Nobody is there to answer; --yes deletes without asking.")
        return False


def _status_lines(status: embedded.ServicesStatus) -> list[str]:
    lines = [f"home        {status.home}", f"attached    {status.attached} processes"]
    for name, one in (("PostgreSQL", status.postgres), ("Valkey", status.valkey)):
        state = "external" if one.external else f"running, process {one.pid}" if one.running else "stopped"
        lines.append(f"{name:<11} {one.version or ''} {state}{': ' + one.problem if one.problem else ''}")
        lines += [f"{'':<11} {what} {path}" for what, path in (("data", one.data), ("log", one.log)) if path]
    return lines
