"""The embedded PostgreSQL: make its data directory, start, look, stop."""

from __future__ import annotations

import secrets
import signal
import sys
from pathlib import Path

import psycopg

from promptcard_ext.core.errors import SetupError
from server_ext.embedded import roles
from server_ext.embedded.account import Account, existing_account, service_account
from server_ext.embedded.binaries import postgres_bin, version_of
from server_ext.embedded.files import failed, read_from, remove, rotate, size_of, write_private
from server_ext.embedded.home import Home, socket_directory
from server_ext.embedded.placement import place
from server_ext.embedded.process import (
    alive,
    command_of,
    ended_if_interrupted,
    exists,
    run,
    spawn,
    wait_until,
    working_in,
)

START_TIMEOUT_S = 300.0  # recovery after a crash may have much to replay
ORPHANS_TIMEOUT_S = 30.0
SOCKET_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 60
_SOCKET = f".s.PGSQL.{roles.PORT}"
_ORPHANS = "pre-existing shared memory block"

_SETTINGS = {
    "listen_addresses": "",
    "port": str(roles.PORT),
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
    "logging_collector": "off",
}


def pid_of(home: Home) -> int | None:
    """Return the process id of the living server of this home; a stale or reused id does not count."""
    pid = _noted_pid(home)
    command = command_of(pid) if pid else ""
    return pid if "postgres" in command and str(home.postgres / "data") in command else None


def _noted_pid(home: Home) -> int | None:
    try:
        return int((home.postgres / "data" / "postmaster.pid").read_bytes().split(b"\n")[0])
    except (OSError, ValueError):
        return None


def version(home: Home) -> str | None:
    """Return the version of the running server, None when there is none."""
    if not roles.is_ready(home, "pc_app", roles.DATABASE):
        return None
    with roles.connect(home, "pc_app") as connection:
        return str(connection.info.parameter_status("server_version"))


def ensure(home: Home) -> None:
    """Make the server answer: attach to it, wait for it, or start it.

    Raises:
        SetupError: The home or the machine cannot be used; see the codes in the package's docstring.
    """
    if roles.is_ready(home, "pc_app", roles.DATABASE):
        return
    account = service_account()
    place(home, account)
    programs = postgres_bin(account)
    if not _is_coming_up(home):
        stop(home)
        _check_data(home, version_of(programs / "postgres", account)[1])
        if not (home.postgres / "data").exists():
            _initialise(home, programs, account)
        _start(home, programs, account)
    if not home.record.initialised:
        home.record.initialised = True
        home.save()
    _prepare(home)


def _prepare(home: Home) -> None:
    try:
        roles.prepare(home)
    except psycopg.Error as error:
        log = home.postgres / "postgres.log"
        raise failed("Preparing the database", log, str(error), place=home.postgres) from error


def _is_coming_up(home: Home) -> bool:
    """Wait for a server that somebody started: one that lost its socket never answers, and is no use."""
    if pid_of(home) is None:
        return False
    socket = Path(home.record.postgres_sockets) / _SOCKET
    if not wait_until(lambda: socket.exists() or pid_of(home) is None, SOCKET_TIMEOUT_S):
        return False
    wait_until(lambda: roles.is_ready(home) or pid_of(home) is None, START_TIMEOUT_S)
    return roles.is_ready(home)


def _check_data(home: Home, major: str) -> None:
    data = home.postgres / "data"
    try:
        found = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        if not data.exists() or not any(data.iterdir()):
            return
        raise SetupError(
            f"The data directory {data} is not complete: it has files, but no PG_VERSION.",
            hint="Restore it from a backup; if it never held anything, delete it and start again.",
            code="home_half_initialised",
        ) from None
    if found != major:
        raise SetupError(
            f"The data in {data} is PostgreSQL {found}'s; this installation has PostgreSQL {major}.",
            hint=f"Make a backup with a release that has PostgreSQL {found} and restore it into a new home, "
            "or set PROMPTCARDS_HOME to another directory.",
            code="home_other_postgres",
        )


def _initialise(home: Home, programs: Path, account: Account | None) -> None:
    """Create the data directory beside its place and rename it there, so that half of one is never seen."""
    for leftover in home.postgres.glob("new-*"):
        remove(leftover)
    new = home.postgres / f"new-{secrets.token_hex(4)}"
    password_file = home.postgres / f"{new.name}.password"
    try:
        write_private(password_file, roles.passwords(home)["postgres"] + "\n", account)
        argv = _initdb(programs, new, password_file)
        done = run(argv, account=account, cwd=home.postgres)
        if done.returncode != 0:
            log = home.postgres / "initdb.log"
            error = failed("Creating the database files", log, done.stdout, place=home.postgres)
            if error.code != "disk_full":
                write_private(log, done.stdout, account)
            raise error
        new.rename(home.postgres / "data")
    finally:
        remove(password_file)
        remove(new)


def _initdb(programs: Path, data: Path, password_file: Path) -> list[object]:
    # Sorting is PostgreSQL's own everywhere; the C.UTF-8 text search asks for is the system's: Linux has it.
    ctype = "C.UTF-8" if sys.platform == "linux" else "C"
    return [
        *(programs / "initdb", "-D", data, "--username=postgres", f"--pwfile={password_file}"),
        *("--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions"),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", f"--lc-ctype={ctype}"),
    ]


def _start(home: Home, programs: Path, account: Account | None) -> None:
    data = home.postgres / "data"
    directory = socket_directory(home.postgres / "run", home.record.postgres_sockets, _SOCKET, account)
    home.record.postgres_sockets = str(directory)
    home.save()
    write_private(data / "pg_hba.conf", "local all all scram-sha-256\n", account)
    rotate(home.postgres / "postgres.log")
    said = ""

    def attempt() -> bool:
        nonlocal said
        said = _launch(home, programs, account)
        # Where we cannot see sessions of a killed server, PostgreSQL itself refuses until they have ended.
        return not said or _ORPHANS not in said

    wait_until(attempt, ORPHANS_TIMEOUT_S)
    if said:
        raise failed("Starting PostgreSQL", home.postgres / "postgres.log", said, place=home.postgres)


def _launch(home: Home, programs: Path, account: Account | None) -> str:
    """Start the server and wait until it answers; return what it said when it does not, or nothing."""
    _clear_stale(home)
    log = home.postgres / "postgres.log"
    before = size_of(log)
    argv: list[object] = [programs / "postgres", "-D", home.postgres / "data"]
    for name, value in {**_SETTINGS, "unix_socket_directories": _listed(home)}.items():
        argv += ["-c", f"{name}={value}"]
    pid = spawn(argv, log=log, account=account, cwd=home.postgres)
    with ended_if_interrupted(pid, signal.SIGINT):  # for PostgreSQL that is a fast, clean end
        wait_until(lambda: roles.is_ready(home) or not alive(pid), START_TIMEOUT_S)
    return "" if roles.is_ready(home) else read_from(log, before) or "(nothing)"


def _listed(home: Home) -> str:
    """Quote the socket directory: the setting is a list, in which a comma or a space would mean something."""
    return '"' + home.record.postgres_sockets.replace('"', '""') + '"'


def _clear_stale(home: Home) -> None:
    """Remove lock files whose process id is in use, but not by this server.

    It may have gone to another program (a restarted container starts counting again), or be a zombie that no
    init collects. PostgreSQL takes both for a running server and refuses to start; a free id it clears by
    itself. Either way the sessions of the killed server must have ended: they still write.
    """
    pid = _noted_pid(home)
    if pid is None or pid_of(home) is not None:
        return
    if wait_until(lambda: not working_in(home.postgres / "data"), ORPHANS_TIMEOUT_S) and exists(pid):
        remove(home.postgres / "data" / "postmaster.pid")
        remove(Path(home.record.postgres_sockets) / f"{_SOCKET}.lock")


def stop(home: Home) -> None:
    """Stop the server (fast: sessions are cut, everything committed is kept); nothing running is fine.

    Raises:
        SetupError: ``service_failed``: it did not stop in time.
    """
    if pid_of(home) is None:
        return
    account = existing_account()
    pg_ctl = postgres_bin(account) / "pg_ctl"
    argv = [pg_ctl, "stop", "-D", home.postgres / "data", "-m", "fast", "-w", "-t", STOP_TIMEOUT_S]
    done = run(argv, account=account, cwd=home.postgres)
    if pid_of(home) is not None:
        raise failed("Stopping PostgreSQL", home.postgres / "postgres.log", done.stdout, place=home.postgres)
