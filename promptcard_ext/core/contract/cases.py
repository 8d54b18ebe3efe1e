"""Test cases of a card, as the REST interface takes and gives them."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from promptcard_ext.core import wire
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.case import Case, CaseName, Priority, Threshold
from promptcard_ext.core.identity import digest

MAX_BULK = 1_000
_NO_ID = UUID(int=0)

Cursor = Annotated[str, Meta(max_length=2000)]
CaseUid = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
CaseState = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]
Change = Literal["added", "changed", "removed"]


class CaseQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which cases of a card to list.

    Attributes:
        priority: Only cases of one of these priorities.
        text: Only cases with this text in their name or in a variable, whatever its case.
        cursor: ``next`` of the page before.
        limit: Cases on a page, 1 to 1,000.
    """

    priority: list[Priority] = []
    text: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    cursor: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


class SavedCase(Struct, frozen=True):
    """A case as it is stored.

    Attributes:
        id: Its id.
        name: What it is called.
        variables: Values for the card's variables.
        expected_output: The answer that was expected; kept for people.
        assertions: What must hold of the answer.
        priority: A word of your own, such as ``high``; kept for people.
        threshold: Least score that passes; null wants all assertions to hold.
        metadata: Anything worth filtering by.
        position: Where it stands among the cases of its card.
        case_uid: Identity of the case: SHA-256 of its variables. Runs are joined on it.
    """

    id: UUID
    position: int
    name: str
    case_uid: str
    variables: dict[str, Any]
    expected_output: str | None
    assertions: list[dict[str, Any]]
    priority: str
    threshold: float | None
    metadata: dict[str, Any]

    @property
    def state(self) -> str:
        """Return what names its content in ``BulkCases.based_on``: SHA-256 of the canonical JSON of a list of it."""
        content = [
            self.name, self.variables, self.expected_output, self.assertions, self.priority, self.threshold,
            self.metadata,
        ]  # fmt: skip
        # As it comes over the wire, where half characters have no form.
        return digest(msgspec.json.decode(wire.encode(content)))


def as_sent(case: Case) -> Case:
    """Return a case as it arrives over the wire, where half characters have no form and all numbers their type."""
    return msgspec.json.decode(wire.encode(case), type=Case)


def state_of(case: Case) -> str:
    """Return the `SavedCase.state` that a case has once it is saved."""
    sent = as_sent(case)
    content = msgspec.to_builtins({name: getattr(sent, name) for name in Case.__struct_fields__})
    return SavedCase(id=_NO_ID, position=0, case_uid=sent.uid, **content).state


class CasePatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What of a case to change. Other variables make it another case, which has no results yet.

    Attributes:
        variables, assertions, name, expected_output, priority, metadata: As in a case.
        threshold: Null wants all assertions to hold.
    """

    variables: dict[str, Any] | UnsetType = UNSET
    assertions: tuple[Assertion, ...] | UnsetType = UNSET
    name: CaseName | UnsetType = UNSET
    expected_output: str | UnsetType | None = UNSET
    priority: Priority | UnsetType = UNSET
    threshold: Threshold | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class AllCases(Struct, frozen=True, forbid_unknown_fields=True):
    """All cases of a card, in their order.

    Attributes:
        cases: The cases.
    """

    cases: list[Case]


class CaseCount(Struct, frozen=True):
    """How many cases a card has now.

    Attributes:
        count: How many.
    """

    count: int


class BulkCases(Struct, frozen=True, forbid_unknown_fields=True):
    """Cases to save and cases to delete, at most 1,000 of each; all of it happens, or nothing.

    Attributes:
        save: Those with variables that a case has already replace it; the others come last.
        delete: Identities (``case_uid``) of cases; those that are not there do no harm.
        based_on: For identities among both, the state that the change is based on: SHA-256 of the canonical JSON (keys
            sorted, no spaces) of the list of name, variables, expected output, assertions, priority, threshold and
            metadata; empty for a case that must not be there. When one is another, nothing happens.
    """

    save: Annotated[list[Case], Meta(max_length=MAX_BULK)] = []
    delete: Annotated[list[CaseUid], Meta(max_length=MAX_BULK)] = []
    based_on: Annotated[dict[CaseUid, CaseState], Meta(max_length=2 * MAX_BULK)] = {}


class CaseNow(Struct, frozen=True):
    """A case that is not as a bulk change expects it.

    Attributes:
        case_uid: Identity of the case.
        case: As it is now; null when there is none.
    """

    case_uid: str
    case: SavedCase | None


class ImportQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How to take cases from a file.

    Attributes:
        format: What the file is.
        mode: ``replace`` makes them the only cases of the card, ``merge`` adds them to those it has.
        dry_run: Only say what would happen.
    """

    format: Literal["csv", "jsonl", "yaml", "xlsx"]
    mode: Literal["replace", "merge"] = "replace"
    dry_run: bool = False


class ExportQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """As what to export cases.

    Attributes:
        format: ``csv`` or ``jsonl`` (JSON Lines).
    """

    format: Literal["csv", "jsonl"] = "csv"


class CaseChange(Struct, frozen=True):
    """One case that a bulk change or an import touches.

    Attributes:
        change: What becomes of it.
        case_uid: Identity of the case.
        name: Of the case.
    """

    change: Change
    case_uid: str
    name: str


class CaseChanges(Struct, frozen=True):
    """What a bulk change or an import did, or would do.

    Attributes:
        added, changed, removed: How many cases.
        unchanged: Cases that were given and are just as they were.
        examples: The first 100 changes.
        dry_run: Whether nothing was done.
    """

    added: int
    changed: int
    removed: int
    unchanged: int
    examples: list[CaseChange]
    dry_run: bool = False
