"""The home on disk: what lies where, and how each piece is recognised as ours.

home/
  home.json        identity and placement (``Record``)
  services.lock    held while services start or stop
  clients/         one locked marker for each attached instance
  passwords.json   database passwords, 0600
  keys.json        secrets of the installation, 0600 (`server_ext.keys`)
  audit-heads.jsonl  the last entries of all audit trails, hour by hour (`server_ext.jobs.head_keeper`)
  journal/         results that wait for the database (`server_ext.jobs.journal`)
  postgres/        data, postgres.log, run/  (as root: owned by the service account, or in /var/lib)
  valkey/          data, valkey.log, run/
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from promptcard_ext.core.errors import SetupError
from server_ext.embedded.account import Account
from server_ext.embedded.binaries import SYSTEM_DATA
from server_ext.embedded.files import make_private, remove, write_private

MAX_SOCKET_PATH = 103 if sys.platform == "darwin" else 107
_SOCKETS_PREFIX = "pc-"
_OWN_ENTRIES = (
    "postgres", "valkey", "clients", "journal", "passwords.json", "keys.json", "audit-heads.jsonl", "home.json",
    "services.lock",
)  # fmt: skip


@dataclass
class Record:
    """What ``home.json`` keeps.

    Attributes:
        id: Names this home's data outside of it, so a fresh home never meets old data.
        ours: Whether the directory was empty when we took it, so that all in it is ours to remove.
        place: Where PostgreSQL's data is: ``home``, ``system`` (/var/lib), or empty when there is none yet.
        initialised: Whether the data was created; from then on its absence is an error, not a fresh start.
        postgres_sockets: Directory of PostgreSQL's socket.
        valkey_sockets: Directory of Valkey's socket.
    """

    id: str
    ours: bool
    place: str = ""
    initialised: bool = False
    postgres_sockets: str = ""
    valkey_sockets: str = ""


@dataclass(frozen=True)
class Home:
    """Paths of one home."""

    path: Path
    record: Record

    @property
    def clients(self) -> Path:
        return self.path / "clients"

    @property
    def passwords_file(self) -> Path:
        return self.path / "passwords.json"

    @property
    def postgres(self) -> Path:
        return SYSTEM_DATA / self.record.id if self.record.place == "system" else self.path / "postgres"

    @property
    def valkey(self) -> Path:
        return self.path / "valkey"

    @property
    def valkey_socket(self) -> Path:
        return Path(self.record.valkey_sockets) / "valkey.sock"

    def save(self) -> None:
        """Write ``home.json``."""
        write_private(self.path / "home.json", json.dumps(asdict(self.record), indent=1) + "\n")


def lock_file(path: Path) -> Path:
    """Return the file of the transition lock, which exists before the home's record does."""
    return path / "services.lock"


def make_home(path: Path) -> None:
    """Create the home directory when it is missing.

    Root's may be crossed, not listed: the service account must reach its data, which a mounted home keeps.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    make_private(path, mode=0o711 if os.geteuid() == 0 else 0o700)
    if not path.is_dir():
        raise NotADirectoryError(20, "it is not a directory", str(path))


def open_home(path: Path) -> Home:
    """Read the home's record, or begin one; call it under the transition lock."""
    home = find_home(path)
    if home is None:
        # The log of `demo` is there before its server is.
        ours = {entry.name for entry in path.iterdir()} <= {"services.lock", "logs"}
        home = Home(path, Record(id=secrets.token_hex(16), ours=ours))
        home.save()
    make_private(home.clients)
    return home


def find_home(path: Path) -> Home | None:
    """Read the home's record; None when there is no home yet.

    Raises:
        SetupError: ``home_unreadable``.
    """
    file = path / "home.json"
    try:
        return Home(path, Record(**json.loads(file.read_text(encoding="utf-8"))))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise SetupError(
            f"{file} is damaged: {error}.",
            hint="Restore it from a backup, or set PROMPTCARDS_HOME to a new directory.",
            code="home_unreadable",
        ) from error


def socket_directory(preferred: Path, recorded: str, name: str, account: Account | None) -> Path:
    """Return a private directory whose sockets' paths are short enough for the kernel."""
    if len(os.fsencode(preferred / name)) <= MAX_SOCKET_PATH:
        make_private(preferred, account)
        return preferred
    owner = account.uid if account else os.geteuid()
    if recorded and _is_private(Path(recorded)) and Path(recorded).stat().st_uid == owner:
        return Path(recorded)
    for base in dict.fromkeys((Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))):  # noqa: S108
        fits = len(os.fsencode(base / f"{_SOCKETS_PREFIX}12345678" / name)) <= MAX_SOCKET_PATH
        if fits and base.is_dir() and (account is None or account.can_enter(base)):
            made = Path(tempfile.mkdtemp(prefix=_SOCKETS_PREFIX, dir=base))
            if account:
                os.chown(made, account.uid, account.gid)
            return made
    raise SetupError(
        f"The path of a socket in {preferred} would be longer than {MAX_SOCKET_PATH} bytes.",
        hint="Set PROMPTCARDS_HOME, or TMPDIR, to a shorter path.",
        code="home_path_too_long",
    )


def _is_private(path: Path) -> bool:
    """Tell whether a recorded directory in the temp directory is still there, and nobody's link."""
    try:
        return path.lstat().st_mode == stat.S_IFDIR | 0o700
    except OSError:
        return False


def remove_files(home: Home) -> list[Path]:
    """Delete what we created for a home; return what is left in it, which is somebody else's."""
    for recorded in (home.record.postgres_sockets, home.record.valkey_sockets):
        if Path(recorded).name.startswith(_SOCKETS_PREFIX) and _is_private(Path(recorded)):
            remove(Path(recorded))
    if home.record.place == "system" and belongs_to(home.postgres) == home.path:
        remove(home.postgres)
    entries = list(home.path.iterdir()) if home.record.ours else [home.path / name for name in _OWN_ENTRIES]
    # The record and the lock go last: interrupted, the removal can be repeated.
    for entry in sorted(entries, key=lambda entry: entry.name in ("home.json", "services.lock")):
        remove(entry)
    left = sorted(home.path.iterdir())
    if home.record.ours and not left:
        _remove_directory(home.path)
    return left


def _remove_directory(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return  # a mount point, or somebody just put a file there


def belongs_to(data: Path) -> Path | None:
    """Return the home that a directory under /var/lib names as its own."""
    try:
        return Path((data / "home").read_text(encoding="utf-8").rstrip("\n"))
    except OSError:
        return None
