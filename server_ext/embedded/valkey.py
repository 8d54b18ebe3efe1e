"""The embedded Valkey: start, look, stop. Its few commands go over a plain socket."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path

from promptcard_ext.core.errors import SetupError
from server_ext.embedded.binaries import valkey_server
from server_ext.embedded.files import failed, make_private, read_from, rotate, size_of, write_private
from server_ext.embedded.home import Home, socket_directory
from server_ext.embedded.process import alive, command_of, ended_if_interrupted, spawn, wait_until, works_in

START_TIMEOUT_S = 120.0  # a long append-only file is read before the first answer
STOP_TIMEOUT_S = 60.0

_CONFIGURATION = """\
port 0
unixsocket {socket}
unixsocketperm 700
dir {directory}
pidfile {pidfile}
daemonize no
appendonly yes
appendfsync everysec
save ""
"""


def ask(home: Home, command: str, timeout: float = 5.0) -> str | None:
    """Send one command; return the first line, or the body, of the reply, None when nobody answers."""
    try:
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as reply:
            connection.settimeout(timeout)
            connection.connect(str(home.valkey_socket))
            connection.sendall(command.encode() + b"\r\n")
            line = reply.readline().decode().rstrip("\r\n")
            return reply.read(int(line[1:])).decode() if line.startswith("$") else line or None
    except OSError:
        return None


def version(home: Home) -> str | None:
    """Return the version of the running server, None when there is none."""
    info = ask(home, "INFO server") or ""
    return next((line[15:] for line in info.splitlines() if line.startswith("valkey_version:")), None)


def is_ready(home: Home) -> bool:
    """Tell whether the server answers; while it still reads its data it does not."""
    return bool(home.record.valkey_sockets) and ask(home, "PING") == "+PONG"


def pid_of(home: Home) -> int | None:
    """Return the process id of the living server of this home; a stale or reused id does not count."""
    try:
        pid = int((home.valkey / "valkey.pid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return pid if "valkey-server" in command_of(pid) and works_in(pid, home.valkey) else None


def ensure(home: Home) -> None:
    """Make the server answer: attach to it, wait for it, or start it.

    Raises:
        SetupError: ``service_failed``, ``disk_full`` or ``service_missing``.
    """
    if is_ready(home):
        return
    pid = pid_of(home)
    if pid is not None:
        # It reads its data; or its socket was swept away, and then nobody can reach it any more.
        if ask(home, "PING") is not None and wait_until(lambda: is_ready(home), START_TIMEOUT_S):
            return
        stop(home)
    _start(home)


def _start(home: Home) -> None:
    make_private(home.valkey)
    directory = socket_directory(home.valkey / "run", home.record.valkey_sockets, "valkey.sock", None)
    home.record.valkey_sockets = str(directory)
    home.save()
    write_private(home.valkey / "valkey.conf", _configuration(home))
    log = home.valkey / "valkey.log"
    rotate(log)
    before = size_of(log)
    argv = [valkey_server(), home.valkey / "valkey.conf"]
    pid = spawn(argv, log=log, account=None, cwd=home.valkey)
    with ended_if_interrupted(pid, signal.SIGTERM):
        wait_until(lambda: is_ready(home) or not alive(pid), START_TIMEOUT_S)
    if not is_ready(home):
        raise failed("Starting Valkey", log, read_from(log, before), place=home.valkey)
    _check_writes(home, log)


def _check_writes(home: Home, log: Path) -> None:
    """Append something at once: on a full disk Valkey starts well and then refuses, or dies of, writes."""
    # The first may still be answered: that its line could not be written shows at the second.
    answers = [ask(home, "SET promptcards:start 1 PX 1") for _ in range(2)]
    if answers != ["+OK", "+OK"]:
        before = size_of(log) - 4000
        said = read_from(log, max(before, 0))
        stop(home)
        raise failed("Starting Valkey", log, f"{said}\n{answers[-1] or ''}", place=home.valkey)


def _configuration(home: Home) -> str:
    return _CONFIGURATION.format(
        socket=_quoted(home.valkey_socket),
        directory=_quoted(home.valkey),
        pidfile=_quoted(home.valkey / "valkey.pid"),
    )


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def stop(home: Home) -> None:
    """Stop the server with its data saved; nothing running is fine.

    Raises:
        SetupError: ``service_failed``: it did not stop in time.
    """
    pid = pid_of(home)
    reply = ask(home, "SHUTDOWN", STOP_TIMEOUT_S) if home.record.valkey_sockets else None
    if reply is not None:
        # Refused: with a full disk, say. The data cannot be saved any better by staying up.
        ask(home, "SHUTDOWN FORCE", STOP_TIMEOUT_S)
    if pid is None:
        return
    if alive(pid) and not home.valkey_socket.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)  # its socket was swept away; this saves the data too
    if not wait_until(lambda: not alive(pid), STOP_TIMEOUT_S):
        raise SetupError(
            f"Valkey (process {pid}) of the home {home.path} did not stop in {STOP_TIMEOUT_S:.0f} seconds.",
            hint=f"Its log: {home.valkey / 'valkey.log'}.",
            code="service_failed",
        )
