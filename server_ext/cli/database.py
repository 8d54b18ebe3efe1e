"""``jupyter promptcards db``."""

from __future__ import annotations

import argparse
from typing import Any

from promptcard_ext.core.errors import SetupError
from server_ext.settings import Settings


def add(commands: Any) -> None:
    """Add the command."""
    database = commands.add_parser("db", help="the database's schema")
    database.add_argument("action", choices=["upgrade", "check"])
    database.set_defaults(command=_db)


def _db(arguments: argparse.Namespace) -> int:
    from server_ext import embedded
    from server_ext.db import migrate

    with embedded.attach(Settings.from_environment()) as services:
        if arguments.action == "check":
            state = migrate.check(services.database_url)
            print(f"The database is at revision {state.current}, as it should be.")
            return 0
        if services.owner_database_url is None:
            raise SetupError(
                "Migrations need the owner's URL.", hint="Set PROMPTCARDS_OWNER_DATABASE_URL.", code="owner_url_missing"
            )
        state = migrate.upgrade(services.owner_database_url)
        print(f"The database is at revision {state.current}.")
    return 0
