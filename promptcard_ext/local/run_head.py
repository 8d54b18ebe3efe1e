"""What a run on disk says about itself, and finding it."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from promptcard_ext.core.card import Card
from promptcard_ext.core.errors import CardError, FileError, NotFound
from promptcard_ext.core.results import Counts
from promptcard_ext.core.shown import html_of
from promptcard_ext.local import records

FORMAT = 1
_MAX_BYTES = 50_000_000
_ID = re.compile(r"\d{8}-\d{6}-[a-z0-9-]{1,40}-[0-9a-f]{4}")


class RunHead(Struct, frozen=True, forbid_unknown_fields=True):
    """What ``run.json`` says.

    Attributes:
        format: Version of the format.
        cases_sha256: Hash of ``cases.jsonl``.
        options: How it was run: whatever whoever started it needs to go on, as JSON.
        started: When it began, with time zone.
        status: ``running``, ``completed``, ``cancelled`` or ``failed``. One that says ``running`` and that nobody holds
            was killed.
        counts: Totals at its end; None before that.
    """

    format: int
    id: str
    name: str
    cards: tuple[Card, ...]
    models: tuple[str, ...]
    cases_sha256: str
    repeats: int
    options: dict[str, Any]
    started: datetime
    status: str
    counts: Counts | None

    def _repr_html_(self) -> str | None:
        return html_of(self)


class _Version(Struct):
    format: int


_decode_version, _decode = records.decoder(_Version), records.decoder(RunHead)


def read_head(path: Path) -> RunHead:
    """Return what the ``run.json`` of a run says.

    Raises:
        FileError: It cannot be read (``run_invalid``), or is of a newer version (``run_newer``).
    """
    for name in ("run.json", "cases.jsonl", "results.jsonl"):
        if (path / name).is_symlink() or ((path / name).exists() and not (path / name).is_file()):
            raise invalid(path, f"{name} is not a file")
    try:
        if (path / "run.json").stat().st_size > _MAX_BYTES:
            raise invalid(path, f"run.json is larger than {_MAX_BYTES:,} bytes")
        text = (path / "run.json").read_bytes()
    except OSError as error:
        raise invalid(path, f"run.json: {error.strerror or error}") from None
    try:
        found = _decode_version(text).format
        if found > FORMAT:
            raise FileError(
                f"The run in {path} was made by a newer version of promptcards.",
                hint="Update promptcards.",
                code="run_newer",
            )
        head = _decode(text)
    except (ValueError, CardError) as error:
        raise invalid(path, f"run.json: {error!s:.300}") from None
    if head.id != path.name:
        raise invalid(path, f"it says that it is run {head.id!r:.80}")
    return head


def run_paths(base: Path) -> list[Path]:
    """Return the folders of all runs, latest first."""
    if not base.is_dir():
        return []
    named = (path for path in base.iterdir() if _ID.fullmatch(path.name))
    return sorted((path for path in named if path.is_dir() and not path.is_symlink()), reverse=True)


def find_run(run_id: str, base: Path) -> Path:
    """Return the folder of a run; the beginning of its id is enough when no other begins so.

    Raises:
        NotFound: There is none, or more than one (``run_not_found``).
    """
    found = [path for path in run_paths(base) if run_id and path.name.startswith(run_id)]
    exact = [path for path in found if path.name == run_id]
    if len(exact or found) != 1:
        problem = f"{len(found)} runs begin with" if found else "There is no run"
        raise NotFound(
            f"{problem} '{run_id:.80}' in {base}.", hint="'jupyter promptcards runs' lists them.", code="run_not_found"
        )
    return (exact or found)[0]


def new_id(name: str, started: datetime) -> str:
    """Return an id that can be read, and that sorts by time."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "run"
    return f"{started.astimezone(UTC):%Y%m%d-%H%M%S}-{slug}-{secrets.token_hex(2)}"


def invalid(path: Path, problem: str) -> FileError:
    """Return the error for a folder that is not a run as it should be."""
    return FileError(
        f"The run in {path} cannot be used: {problem}.",
        hint="It is left as it is; start a new run, or put the folder back from a copy.",
        code="run_invalid",
    )
