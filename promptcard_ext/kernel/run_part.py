"""A part of a run: one card version or one model of several."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptcard_ext.core.results import ItemResult

if TYPE_CHECKING:
    from promptcard_ext.kernel.handle import RunHandle


@dataclass(frozen=True)
class RunPart:
    """Those results of a run that are of one card version, of one model, or both; made by `RunHandle.of`.

    Attributes:
        version: Number of the card version.
        label: Such as ``greet@3``, for versions that have no number.
        model: Reference of the model.
    """

    run: RunHandle
    version: int | None = None
    label: str | None = None
    model: str | None = None

    @property
    def name(self) -> str:
        """The name of the run, and what is chosen of it."""
        version = None if self.version is None else f"version {self.version}"
        return " · ".join(filter(None, [self.run.name, version, self.label, self.model]))

    def results(self) -> Iterator[ItemResult]:
        """Yield the results so far, in the order of the plan."""
        return (result for result in self.run.log.iter_plan() if self._has(result))

    def _has(self, result: ItemResult) -> bool:
        wanted = ((self.version, result.version), (self.label, result.label), (self.model, result.model))
        return all(value is None or value == found for value, found in wanted)

    def __repr__(self) -> str:
        return f"<RunPart {self.name!r}>"
