"""Running programs: to their end, or as a daemon that outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from promptcard_ext.core.errors import SetupError
from server_ext.embedded.account import Account, popen_arguments

POLL_S = 0.01
INTERRUPTED_TIMEOUT_S = 10.0
PROC = Path("/proc")
# Nothing of the caller's environment: PG*, LD_PRELOAD or LANG must not change how a service behaves.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
# The shell leaves the program to init, so it is never a zombie child of ours, and prints its process id.
_DAEMON = 'exec </dev/null; log=$1; shift; "$@" >>"$log" 2>&1 & echo $!'


def run(
    argv: Sequence[object], *, account: Account | None, cwd: Path, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, standard error joined to the output; never raises for its exit code.

    Raises:
        SetupError: ``service_failed``: it did not end in time.
    """
    try:
        return subprocess.run(
            [str(part) for part in argv],
            **popen_arguments(account),
            cwd=cwd,
            env=_ENVIRONMENT,
            umask=0o077,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
            start_new_session=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(
            f"{argv[0]} did not end within {timeout:.0f} seconds and was stopped.",
            hint="Look at how busy this machine and its disk are, and try again.",
            code="service_failed",
        ) from error


def spawn(argv: Sequence[object], *, log: Path, account: Account | None, cwd: Path) -> int:
    """Start a daemon in a session of its own (Ctrl-C in the terminal does not reach it); return its id."""
    command = ["/bin/sh", "-c", _DAEMON, "sh", log, *argv]
    # In a thread, where no signal interrupts: a daemon whose id we never learned could not be ended.
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(run, command, account=account, cwd=cwd, timeout=10)
        try:
            return int(started.result().stdout)
        except (KeyboardInterrupt, SystemExit):
            with suppress(ProcessLookupError):
                os.kill(int(started.result().stdout), signal.SIGTERM)
            raise


@contextmanager
def ended_if_interrupted(pid: int, number: signal.Signals) -> Iterator[None]:
    """Send a daemon that was just started ``number`` when an exception (Ctrl-C, SIGTERM) comes before it is ready.

    It has written no file yet by which `stop` would find it.
    """
    try:
        yield
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        wait_until(lambda: not alive(pid), INTERRUPTED_TIMEOUT_S)
        raise


def command_of(pid: int) -> str:
    """Return the command line of a process; empty when it is gone or a zombie."""
    if PROC.is_dir():
        try:
            raw = (PROC / str(pid) / "cmdline").read_bytes()
        except OSError:
            return ""
        return raw.replace(b"\0", b" ").decode("utf-8", "surrogateescape").strip()
    listing = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
    done = subprocess.run(listing, capture_output=True, text=True, check=False)
    return "" if "<defunct>" in done.stdout else done.stdout.strip()


def alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not. Its command line cannot tell: exec empties it briefly."""
    if not PROC.is_dir():
        return bool(command_of(pid))
    try:
        state = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in (b"Z", b"X")


def exists(pid: int) -> bool:
    """Tell whether a process id is in use, by a zombie too."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def working_in(directory: Path) -> list[int]:
    """Return the living processes with this working directory; none where there is no /proc."""
    listed = [int(entry.name) for entry in PROC.glob("[0-9]*")]
    return [pid for pid in listed if works_in(pid, directory) and alive(pid)]


def works_in(pid: int, directory: Path) -> bool:
    """Tell whether a process has this working directory; without /proc we take its word for it."""
    try:
        return not PROC.is_dir() or (PROC / str(pid) / "cwd").samefile(directory)
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Poll until the condition holds; False when it does not in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
