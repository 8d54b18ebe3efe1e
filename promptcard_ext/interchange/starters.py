"""The starter cards that come with the package."""

from __future__ import annotations

from pathlib import Path

from promptcard_ext.core.errors import NotFound
from promptcard_ext.interchange.card_file import CardFile, load_card_file


def shipped(folder: str) -> Path:
    """Return a folder of shipped files (``templates/cards``, ``notebooks``), installed or in a checkout.

    Raises:
        NotFound: It is in neither place: the installation is broken.
    """
    package = Path(__file__).resolve().parent.parent
    for root in (package, package.parent):
        if (root / folder).is_dir():
            return root / folder
    raise NotFound(f"The folder '{folder}' of this installation is missing.", hint="Install promptcards again.")


def starter_cards() -> dict[str, CardFile]:
    """Return the starter cards by name: support triage, invoice extraction, meeting summary."""
    files = [load_card_file(path) for path in sorted(shipped("templates/cards").glob("*.yaml"))]
    return {file.name: file for file in files}
