"""What operators' commands work with: the configured database, the keys, and any workspace."""

from __future__ import annotations

import getpass
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.errors import SetupError
from server_ext.settings import Settings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from server_ext.db.engine import Database
    from server_ext.embedded import Services
    from server_ext.services.directory import Directory
    from server_ext.services.scope import Scope

T = TypeVar("T")
PAGE = 200


@dataclass(frozen=True)
class Operator:
    """Somebody at the server's own command line.

    Attributes:
        services: Where database and Redis are.
        database: In the application's role, like everything.
        directory: What can be found across workspaces.
    """

    settings: Settings
    services: Services
    database: Database
    directory: Directory

    def scope(self, workspace: str, user: str | None = None) -> AbstractContextManager[Scope]:
        """Return a workspace to work in, with an owner's role.

        Args:
            workspace: Id, or a slug if the owner's URL is known.
            user: Id or e-mail address of the member in whose name; default: the first owner.
        """
        from server_ext.services import accounts, operators

        user_id = None if user is None else accounts.find_account(self.database, user).id
        return operators.operator_scope(self.database, self.directory.workspace(workspace), user_id)


@contextmanager
def operator() -> Iterator[Operator]:
    """Yield an operator; starts the embedded services when nothing runs, and stops them again.

    Raises:
        SetupError, Unavailable: See `server_ext.runtime.ready_services`.
    """
    from server_ext.db.engine import Database
    from server_ext.keys import load_ring
    from server_ext.observe import request
    from server_ext.runtime import ready_services
    from server_ext.services.directory import Directory

    settings = Settings.from_environment()
    # The audit trail says who was logged in where, in place of an address.
    request.begin(f"cli-{secrets.token_hex(8)}", f"{getpass.getuser()}@{socket.gethostname()}")
    with (
        ready_services(settings) as services,
        Database(services.database_url, pool_size=2, keys=load_ring(settings.keys_path)) as database,
        Directory(services.owner_database_url) as directory,
    ):
        yield Operator(settings, services, database, directory)


def everything(page: Callable[[str | None], Page[T]]) -> list[T]:
    """Return the entries of all pages of a list.

    Args:
        page: Returns the page behind a cursor.
    """
    found: list[T] = []
    cursor: str | None = None
    while True:
        one = page(cursor)
        found += one.items
        if (cursor := one.next) is None:
            return found


def read_secret(what: str) -> str:
    """Return a secret that somebody types, or the first line of standard input: never an argument, which all can see.

    Args:
        what: What the prompt asks for.

    Raises:
        SetupError: Nothing was given, or the two times differ (``secret_not_given``).
    """
    if sys.stdin.isatty():
        secret = getpass.getpass(f"{what}: ")
        if getpass.getpass(f"{what}, again: ") != secret:
            raise SetupError("The two are not the same.", code="secret_not_given")
    else:
        secret = sys.stdin.readline().rstrip("\r\n")
    if not secret:
        raise SetupError(
            f"No {what.lower()} was given.", hint="Type it, or send it to standard input.", code="secret_not_given"
        )
    return secret


def converted(value: dict[str, Any], kind: type[T]) -> T:
    """Return arguments as the structure that a use case takes, checked as REST checks them.

    Raises:
        CardError: One does not fit (``argument_invalid``).
    """
    import msgspec

    from promptcard_ext.core.errors import CardError

    try:
        return msgspec.convert({name: one for name, one in value.items() if one is not None}, kind)
    except msgspec.ValidationError as error:
        raise CardError(f"An argument does not fit: {error}.", code="argument_invalid") from None
