"""What a table of cases can do, for layers below the one that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from promptcard_ext.core.case import Case

if TYPE_CHECKING:
    import pandas as pd


class CaseEditor(Protocol):
    """Cases of a card while they are edited; shows itself in a notebook."""

    @property
    def cases(self) -> list[Case]:
        """Return the cases as they stand in the table."""

    def add(self, cases: Iterable[Case | Mapping[str, Any]]) -> int:
        """Add cases and return how many are new; those with variables that a row has replace it."""

    def add_frame(self, frame: pd.DataFrame) -> int:
        """Add the cases in a data frame; return how many are new."""

    def undo(self) -> None:
        """Take the last step back."""

    def redo(self) -> None:
        """Take the step again that was taken back last."""

    def save(self) -> str:
        """Save what was changed, wait for it, and return what came of it."""

    def close(self) -> None:
        """Remove it from the front end; what was not saved is lost."""
