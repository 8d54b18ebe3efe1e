"""The server's part of the command line, a noun a file.

What a command needs is imported when it runs: ``--help`` is there at once.
"""

from __future__ import annotations

from typing import Any

from server_ext.cli import (
    audit,
    budget,
    credential,
    database,
    doctor,
    invitation,
    keys,
    member,
    openapi,
    queue,
    serve,
    services,
    token,
    user,
    worker,
    workspace,
)

FOR_OPERATORS = (user, workspace, member, invitation, token, credential, budget, audit, keys, queue, openapi)


def register(commands: Any) -> None:
    """Add the commands."""
    for module in (serve, worker, database, services, doctor, *FOR_OPERATORS):
        module.add(commands)
