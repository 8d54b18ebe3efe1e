"""A case while it is edited: it may hold cells that do not fit yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cases import SavedCase
from promptcard_ext.core.identity import digest

QUARANTINED = "quarantined"
"""The tag of a case whose verdicts are not to decide anything for now."""


class Wrong(NamedTuple):
    """What somebody wrote into a cell that cannot take it, and why it cannot."""

    text: str
    problem: str


class Draft(Struct, frozen=True, dict=True):
    """A case as it stands in the table.

    Args:
        tags: ``metadata["tags"]`` of the case, apart from the rest of its metadata.
        wrong: Cells that do not fit, by id of their column; such a case cannot be saved.
    """

    variables: dict[str, Any] = {}
    assertions: tuple[Assertion, ...] = ()
    name: str = ""
    expected_output: str | None = None
    priority: str = "medium"
    threshold: float | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    wrong: dict[str, Wrong] = {}

    @classmethod
    def of(cls, case: Case | SavedCase) -> Draft:
        """Return the draft of a case that fits."""
        metadata = dict(case.metadata)
        tags: Any = metadata.get("tags")
        if _are_tags(tags):
            del metadata["tags"]
        else:
            tags = ()
        return cls(
            case.variables, _assertions(case.assertions), case.name, case.expected_output, case.priority,
            case.threshold, tuple(tags), metadata,
        )  # fmt: skip

    @cached_property
    def uid(self) -> str:
        """Identity of the case, as `Case.uid` has it."""
        return digest(self.variables)

    def differs(self, other: Draft) -> bool:
        """Tell whether anything is another; 1 is another value than 1.0, as it is for the identity of a case."""
        return self is not other and (self != other or self.uid != other.uid)

    def case(self) -> Case:
        """Return the case.

        Raises:
            CardError: It is none, for example because its name is too long.
        """
        tags = {"tags": list(self.tags)} if self.tags else {}
        return Case(
            self.variables, self.assertions, self.name, self.expected_output, self.priority, self.threshold,
            {**self.metadata, **tags},
        )  # fmt: skip


def _are_tags(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(tag, str) for tag in value)


def _assertions(given: Sequence[Assertion | Mapping[str, Any]]) -> tuple[Assertion, ...]:
    return tuple(one if isinstance(one, Assertion) else msgspec.convert(one, Assertion) for one in given)
