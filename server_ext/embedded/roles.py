"""Passwords, roles and the database: what every start makes sure of."""

from __future__ import annotations

import json
import secrets
from typing import LiteralString
from urllib.parse import quote

import psycopg
from psycopg import sql

from promptcard_ext.core.errors import SetupError
from server_ext.embedded.files import write_private
from server_ext.embedded.home import Home

DATABASE = "promptcards"
PORT = 5432  # names the socket file; nothing listens on TCP

# The application's role owns nothing and cannot bypass row security; the backup must see every row.
_ROLES: dict[str, LiteralString] = {
    "pc_owner": "NOSUPERUSER NOBYPASSRLS",
    "pc_app": "NOSUPERUSER NOBYPASSRLS",
    "pc_backup": "NOSUPERUSER BYPASSRLS",
}


def passwords(home: Home) -> dict[str, str]:
    """Return the passwords of all roles, made on first use.

    Raises:
        SetupError: ``home_passwords_lost``: the data is there, the file is not.
    """
    try:
        return dict(json.loads(home.passwords_file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        if home.record.initialised:
            raise _lost(home, "is missing") from None
    except ValueError as error:
        raise _lost(home, f"is damaged ({error})") from error
    made = {name: secrets.token_urlsafe(24) for name in ("postgres", *_ROLES)}
    write_private(home.passwords_file, json.dumps(made, indent=1) + "\n")
    return made


def _lost(home: Home, what: str) -> SetupError:
    return SetupError(
        f"The file of the database passwords, {home.passwords_file}, {what}, so the data cannot be opened.",
        hint="Restore it from a backup, or set PROMPTCARDS_HOME to a new directory.",
        code="home_passwords_lost",
    )


def url(home: Home, role: str) -> str:
    """Return the SQLAlchemy URL of a role. The port is spelled out: PGPORT must not redirect it."""
    password = quote(passwords(home)[role], safe="")
    directory = quote(home.record.postgres_sockets, safe="")
    return f"postgresql+psycopg://{role}:{password}@/{DATABASE}?host={directory}&port={PORT}"


def connect(home: Home, role: str, database: str = DATABASE) -> psycopg.Connection:
    """Connect over the socket as a role, in autocommit.

    Raises:
        psycopg.OperationalError: Nobody answers, or the server is not ready.
        SetupError: ``home_passwords_lost``: it answers and refuses the password.
    """
    try:
        return psycopg.connect(
            host=home.record.postgres_sockets,
            port=PORT,
            user=role,
            password=passwords(home)[role],
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )
    except psycopg.OperationalError as error:
        # Only this role's password cannot be set anew: the others are, by it, at each start.
        if role == "postgres" and "password authentication failed" in str(error):
            raise _lost(home, f"does not hold the password of {role}") from error
        raise


def is_ready(home: Home, role: str = "postgres", database: str = "postgres") -> bool:
    """Tell whether a role can log in."""
    if not home.record.postgres_sockets:
        return False
    try:
        connect(home, role, database).close()
    except psycopg.OperationalError:
        return False
    return True


def prepare(home: Home) -> None:
    """Make sure of the roles, their passwords, the database and its rights; all may be there already."""
    with connect(home, "postgres", "postgres") as server:
        for role, rights in _ROLES.items():
            _ensure_role(server, role, rights, passwords(home)[role])
        # A backup reads every table, tables yet to come included.
        server.execute("GRANT pg_read_all_data TO pc_backup")
        _ensure_database(server)
    with connect(home, "postgres") as database:
        database.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")


def _ensure_role(server: psycopg.Connection, role: str, rights: LiteralString, password: str) -> None:
    name = sql.Identifier(role)
    if not server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
        server.execute(sql.SQL("CREATE ROLE {}").format(name))
    # Hashed here: the password itself must not reach the server's log.
    hashed = server.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    statement = "ALTER ROLE {} LOGIN NOCREATEDB NOCREATEROLE NOREPLICATION " + rights + " PASSWORD {}"
    server.execute(sql.SQL(statement).format(name, sql.Literal(hashed)))


def _ensure_database(server: psycopg.Connection) -> None:
    name = sql.Identifier(DATABASE)
    if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
        server.execute(sql.SQL("CREATE DATABASE {} OWNER pc_owner").format(name))
    server.execute(sql.SQL("ALTER DATABASE {} OWNER TO pc_owner").format(name))
    server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    server.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO pc_app, pc_backup").format(name))
