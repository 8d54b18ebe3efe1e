"""Bringing a database to the schema of this program, and telling whether it is there. Only a backup leads back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert

from promptcard_ext.core.errors import SetupError
from promptcard_ext.core.pricing import Price, shipped_prices
from server_ext.db.engine import make_engine
from server_ext.db.errors import translated
from server_ext.db.tables import price_book

OWNER, APP, BACKUP = "pc_owner", "pc_app", "pc_backup"

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_166_002_018_427_001  # any number; the same in every server, so that they wait for each other


class MigrationState(Struct, frozen=True):
    """Which schema a database has, and which one this program needs."""

    current: str | None
    head: str


def head() -> str:
    """Return the revision that this program needs."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def current(url: str) -> str | None:
    """Return the revision of the database, or None when it is empty."""
    with _connection(url) as connection:
        return _current(connection)


def check(url: str) -> MigrationState:
    """Return the state of a database that this program can work with; any role may ask.

    Raises:
        SetupError: It is older (``schema_outdated``) or newer (``schema_newer``) than the program.
        Unavailable: It does not answer.
    """
    state = MigrationState(current(url), head())
    if state.current == state.head:
        return state
    if state.current is None or state.current in _known():
        has = "has no tables yet" if state.current is None else f"is at revision {state.current}"
        raise SetupError(
            f"The database {has}; this version needs {state.head}.",
            hint="Run 'jupyter promptcards db upgrade'. Make a backup first if it holds data.",
            code="schema_outdated",
        )
    raise _newer(state)


def upgrade(owner_url: str) -> MigrationState:
    """Bring the database to this program's schema and price list, as its owner; doing it twice changes nothing.

    All of it is one transaction, under a lock: of two servers that start at once, one migrates and the other waits.

    Raises:
        SetupError: The role is not ``pc_owner`` (``wrong_owner``), a role is missing (``roles_missing``), or the
            database is newer than the program (``schema_newer``).
        Unavailable: It does not answer.
    """
    with _connection(owner_url, statement_timeout_s=0) as connection:
        _check_roles(connection)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        # From here on: rather give up than make everybody queue behind a lock that we wait for.
        connection.exec_driver_sql("set local lock_timeout = '60s'")
        found = _current(connection)
        if found is not None and found not in _known():
            raise _newer(MigrationState(found, head()))
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _add_shipped_prices(connection)
        return MigrationState(_current(connection), head())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _newer(state: MigrationState) -> SetupError:
    return SetupError(
        f"The database is at revision {state.current}, which this version (up to {state.head}) does not know.",
        hint="Update promptcards, then run 'jupyter promptcards db upgrade'; or restore a backup from before.",
        code="schema_newer",
    )


def _current(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _check_roles(connection: sa.Connection) -> None:
    role = connection.scalar(sa.text("select current_user"))
    if role != OWNER:
        raise SetupError(
            f"Migrations run as role {OWNER}, but the owner URL logs in as {role}.",
            hint=f"Let PROMPTCARDS_OWNER_DATABASE_URL name {OWNER}.",
            code="wrong_owner",
        )
    there = set(connection.scalars(sa.text("select rolname from pg_roles")))
    missing = [name for name in (APP, BACKUP) if name not in there]
    if missing:
        raise SetupError(
            f"The database server has no role {' and no role '.join(missing)}.",
            hint=f"As a superuser: create role {APP} login; create role {BACKUP} login bypassrls;",
            code="roles_missing",
        )


def _add_shipped_prices(connection: sa.Connection) -> None:
    """Add the prices of the package that the price book lacks; a row that is there stays as it is."""
    rows = [_row(price) for price in shipped_prices() if fits(price)]
    if rows:
        connection.execute(insert(price_book).on_conflict_do_nothing(), rows)


def fits(price: Price) -> bool:
    """Tell whether the table can hold a price whole; half of one would be a wrong one."""
    return not price.tiers and not price.per_call and price.cache_write_per_mtok is None and "@" not in price.provider


def _row(price: Price) -> dict[str, Any]:
    names = [column.name for column in price_book.columns if column.name in price.__struct_fields__]
    row = {"id": price.id, **{name: getattr(price, name) for name in names}}
    if price.output_per_mtok is None:
        row["output_per_mtok"] = 0  # The column wants a number, and what is never written costs nothing.
    return row


@contextmanager
def _connection(url: str, statement_timeout_s: float = 30) -> Iterator[sa.Connection]:
    engine = make_engine(url, pool_size=1, statement_timeout_s=statement_timeout_s)
    try:
        with translated(), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
