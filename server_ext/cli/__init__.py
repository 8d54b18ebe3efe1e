"""The server's part of the command line, a noun a file.

What a command needs is imported when it runs: ``--help`` is there at once.
"""

from __future__ import annotations

from typing import Any

from server_ext.cli import database, doctor, serve, services, worker


def register(commands: Any) -> None:
    """Add the commands."""
    for module in (serve, worker, database, services, doctor):
        module.add(commands)
