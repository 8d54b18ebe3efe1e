"""Prompts that were fetched from a server, kept for when it is away."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from promptcard_ext.core.contract.cards import RegisteredCard
from promptcard_ext.core.errors import PromptCardError
from promptcard_ext.core.identity import digest
from promptcard_ext.local.folders import explained, make_private, prompts_folder, replace_file

Place = tuple[str, ...]
"""What tells kept prompts apart: server, workspace, owner of the credential, name, label or version."""


class KeptPrompt(Struct, frozen=True):
    """A prompt as it was fetched.

    Attributes:
        fetched_at: When, in seconds since 1970.
    """

    place: Place
    prompt: RegisteredCard
    fetched_at: float


class PromptFiles:
    """A folder with a file for each prompt, for this user only.

    Args:
        folder: Made when something is saved; by default `folders.prompts_folder`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or prompts_folder()

    def load(self, place: Place) -> KeptPrompt | None:
        """Return what was kept; None when there is nothing, or it is damaged."""
        try:
            kept = msgspec.json.decode(self._path(place).read_bytes(), type=KeptPrompt)
        except (OSError, ValueError, PromptCardError):  # an error of ours: the card is none any more
            return None
        whole = kept.place == place and kept.prompt.card.content_hash == kept.prompt.content_hash
        return kept if whole else None

    def save(self, kept: KeptPrompt) -> None:
        """Keep a prompt in place of what was kept before.

        Raises:
            FileError: It cannot be written (``prompts_unwritable``).
        """
        with explained(self._folder, code="prompts_unwritable"):
            make_private(self._folder)
            replace_file(self._path(kept.place), msgspec.json.encode(kept))

    def drop(self, place: Place) -> None:
        """Keep nothing of a prompt."""
        with suppress(OSError):
            self._path(place).unlink(missing_ok=True)

    def _path(self, place: Place) -> Path:
        return self._folder / f"{digest(list(place))[:40]}.json"
