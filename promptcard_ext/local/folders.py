"""Where library mode keeps its files, and files that only their owner can read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from promptcard_ext.core.errors import FileError


def runs_folder() -> Path:
    """Return where runs are kept: ``runs`` in ``PROMPTCARDS_HOME``, by default in the user's data directory."""
    import platformdirs

    home = os.environ.get("PROMPTCARDS_HOME") or platformdirs.user_data_path("promptcards", appauthor=False)
    return Path(home).expanduser().absolute() / "runs"


def prompts_folder() -> Path:
    """Return where fetched prompts are kept: ``prompts`` beside the runs."""
    return runs_folder().with_name("prompts")


def cache_path() -> Path:
    """Return where answers are stored: ``PROMPTCARDS_CACHE``, by default a file in the user's cache directory."""
    import platformdirs

    chosen = os.environ.get("PROMPTCARDS_CACHE")
    default = platformdirs.user_cache_path("promptcards", appauthor=False) / "generations.db"
    return Path(chosen or default).expanduser().absolute()


def make_private(folder: Path) -> None:
    """Create a folder, and its parents, for this user only; one that is there stays as it is."""
    if not folder.is_dir():
        make_private(folder.parent)
        with suppress(FileExistsError):  # another process was quicker
            folder.mkdir(mode=0o700)


def open_private(path: Path) -> int:
    """Open a file to read and write, created for this user only; return its descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that, whatever dies meanwhile, either the old or the new content is there, whole."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def explained(path: Path, *, code: str) -> Iterator[None]:
    """Turn an `OSError` into a `FileError` that names the path.

    Raises:
        FileError: The system refused; with this ``code``.
    """
    try:
        yield
    except OSError as error:
        raise FileError(
            f"{path} cannot be used: {error.strerror or error}.", hint="Check path, permissions and space.", code=code
        ) from error
