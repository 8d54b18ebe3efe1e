"""Where a card version or a run came from: the notebook, its cell, the packages, the commit."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", max_length=64)]
Commit = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}(?:[0-9a-f]{24})?\Z", max_length=64)]


class Provenance(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where something was made, as whoever made it says. Every part may be missing, and none is checked.

    Attributes:
        notebook: Path of the notebook; inside of a repository as seen from its root.
        cell_id: Id of the cell in the notebook.
        cell_hash: SHA-256 of the cell's text.
        environment_hash: SHA-256 of the sorted names and versions of the installed packages.
        git_commit: What was checked out.
        git_dirty: Whether files differed from that; new files that nobody has added do not count.
    """

    notebook: Annotated[str, Meta(max_length=1000)] | None = None
    cell_id: Annotated[str, Meta(max_length=100)] | None = None
    cell_hash: Digest | None = None
    environment_hash: Digest | None = None
    git_commit: Commit | None = None
    git_dirty: bool | None = None
