"""The system account PostgreSQL runs under when we are root, because it refuses to run as root."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptcard_ext.core.errors import SetupError

NAME = "promptcards"


@dataclass(frozen=True)
class Account:
    """A system account to run a program as."""

    uid: int
    gid: int

    def popen_arguments(self) -> dict[str, Any]:
        """Return the subprocess arguments that drop every right of root, supplementary groups included."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_enter(self, directory: Path) -> bool:
        """Tell whether the account can reach a directory: tried for real, so ACLs and mounts count too."""
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", 'cd -- "$1" 2>/dev/null', "sh", str(directory)],
                **self.popen_arguments(),
                cwd="/",
                env={},
                check=False,
                timeout=10,
            )
        except OSError as error:
            raise _failure(f"a program cannot be started as it ({error.strerror})") from error
        return done.returncode == 0


def popen_arguments(account: Account | None) -> dict[str, Any]:
    """Return the subprocess arguments to run as ``account``; None is whoever we are."""
    return account.popen_arguments() if account else {}


def existing_account() -> Account | None:
    """Return the account to reach a server that may run already; creates nothing."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)


def service_account() -> Account | None:
    """Return the account to run PostgreSQL as, created when missing; None when we are not root.

    Raises:
        SetupError: ``system_user_failed``.
    """
    if os.geteuid() != 0:
        return None
    account = existing_account() or _create()
    if account.uid == 0:
        raise _failure("the account of that name is root itself")
    return account


def _create() -> Account:
    command = ["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent"]
    command += ["--shell", "/usr/sbin/nologin", NAME]
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "PATH": path}
        )
        said = done.stderr.strip()
    except OSError as error:
        said = f"useradd: {error.strerror}"
    # Looked up again even when useradd failed: another process may have created the account just now.
    account = existing_account()
    if account is None:
        raise _failure(said)
    return account


def _failure(reason: str) -> SetupError:
    return SetupError(
        f"PostgreSQL cannot run as root, and the system user {NAME!r} cannot be used: {reason}.",
        hint=f"Create it (useradd --system {NAME}), start this as an ordinary user, "
        "or set PROMPTCARDS_DATABASE_URL to a server you run.",
        code="system_user_failed",
    )
