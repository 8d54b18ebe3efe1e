"""Where a version or a run is made: this notebook, its cell, the installed packages, the commit.

Finding that out must never break a save and hardly delay one: every part that is not at hand is left out.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import structs

from promptcard_ext.core.contract.provenance import Provenance

GIT_TIMEOUT_S = 0.5
# What git said is good for so long, and longer where it takes long: it is never asked for more than 1 % of the time.
GIT_AGE_S = 2.0
GIT_SHARE = 100

_log = logging.getLogger(__name__)


def here() -> Provenance | None:
    """Return where the running code stands, or None where ``PROMPTCARDS_PROVENANCE=off``.

    The first call may take half a second in a large repository, later ones a few milliseconds.
    """
    if os.environ.get("PROMPTCARDS_PROVENANCE", "").lower() in ("off", "0", "no"):
        return None
    try:
        return _here()
    except Exception:  # noqa: BLE001  It reads what it does not own (headers, folders, git); a save must not fail by it.
        _log.debug("The origin could not be found", exc_info=True)
        return None


def staying() -> Callable[[], Provenance | None]:
    """Return what says where something was made that somebody asks of an output of the running cell, later.

    The cell is the one that runs now; packages and commit are those of the moment in which it is called.
    """
    try:
        request = _request()
    except Exception:  # noqa: BLE001  As `here`.
        request = {}

    def then() -> Provenance | None:
        now = here()
        return now and structs.replace(now, cell_id=_cell_id(request), cell_hash=_cell_hash(request))

    return then


def _here() -> Provenance:
    request = _request()
    path = notebook_path()
    commit = _git.state(path.parent if path is not None else Path.cwd())
    return Provenance(
        notebook=None if path is None else _shown(path, commit.root)[-1000:],
        cell_id=_cell_id(request),
        cell_hash=_cell_hash(request),
        environment_hash=environment_hash(),
        git_commit=commit.commit,
        git_dirty=commit.dirty,
    )


# -- the notebook and its cell ---------------------------------------------------------------------------------------


def _shell() -> Any:
    return sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None


def _request() -> dict[str, Any]:
    """Return the request to execute that is being carried out; empty outside of a kernel."""
    kernel = getattr(_shell(), "kernel", None)
    parent = kernel.get_parent("shell") if kernel is not None else None
    is_cell = isinstance(parent, dict) and parent.get("header", {}).get("msg_type") == "execute_request"
    return dict(parent) if parent is not None and is_cell else {}


def _cell_id(request: dict[str, Any]) -> str | None:
    # What JupyterLab, Notebook and VS Code send; nbclient and papermill do not.
    found = request.get("metadata", {}).get("cellId")
    return found[:100] if isinstance(found, str) and found else None


def _cell_hash(request: dict[str, Any]) -> str | None:
    code = request.get("content", {}).get("code")
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest() if isinstance(code, str) else None


def notebook_path() -> Path | None:
    """Return the path of this kernel's notebook, as the server that started it or the editor says."""
    shell = _shell()
    told = getattr(shell, "user_ns", {}).get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    path = Path(told) if isinstance(told, str) and told.endswith(".ipynb") else None
    return path if path is None or path.is_absolute() else Path.cwd() / path


def _shown(path: Path, root: Path | None) -> str:
    """Return a path as seen from the repository or from home: others need not know how this machine is laid out."""
    if root is not None and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else path.as_posix()


# -- the packages ----------------------------------------------------------------------------------------------------


def environment_hash() -> str:
    """Return the SHA-256 of the sorted names and versions of the installed packages."""
    return hashlib.sha256("\n".join(installed()).encode("utf-8", "replace")).hexdigest()


def installed() -> list[str]:
    """Return the installed packages, sorted: ``name==version``.

    The names of the folders that describe them say it; to open them all would take a hundred times as long.
    """
    found: dict[str, str] = {}
    for place in dict.fromkeys(sys.path):
        try:
            entries = [*Path(place or ".").iterdir()]
        except OSError:
            continue
        for entry in entries:
            stem, _, kind = entry.name.rpartition(".")
            name, dash, version = stem.partition("-")
            if kind in ("dist-info", "egg-info") and dash:
                # The first on the path is the one that is imported.
                found.setdefault(name.lower().replace("_", "-"), version)
    return sorted(f"{name}=={version}" for name, version in found.items())


# -- the commit ------------------------------------------------------------------------------------------------------


class _State(NamedTuple):
    commit: str | None = None
    dirty: bool | None = None
    root: Path | None = None


class _Git:
    """What git says of a folder, asked for so seldom that nobody notices."""

    def __init__(self) -> None:
        # Guards the rest; held while git is asked, so that two threads do not ask at once.
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[float, _State]] = {}

    def state(self, folder: Path) -> _State:
        """Return commit and whether files differ from it; nothing where git is missing, too slow, or refuses."""
        with self._lock:
            now = time.monotonic()
            good_until, state = self._known.get(folder, (0.0, _State()))
            if now >= good_until:
                state = _ask(folder)
                took = time.monotonic() - now
                self._known = {folder: (now + took + max(GIT_AGE_S, GIT_SHARE * took), state)}
            return state


_git = _Git()

# A folder may come from anybody: nothing that its settings name is started, nothing is fetched, nobody is asked.
_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "submodule.recurse=false")
_QUIET = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS": "",
    "LC_ALL": "C",
}


def _ask(folder: Path) -> _State:
    root = next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)
    if root is None:
        return _State()
    words = ("status", "--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules=all")
    try:
        done = subprocess.run(
            ["git", *_SAFE, "-C", str(root), *words],
            env={**os.environ, **_QUIET},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return _State()
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    oid = next((line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")), "")
    is_commit = len(oid) in (40, 64) and all(digit in "0123456789abcdef" for digit in oid)
    return _State(oid if is_commit else None, any(not line.startswith("#") for line in lines), root)
