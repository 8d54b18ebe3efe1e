"""Judging the stored answers of a run again, over REST."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.results import Outcome, Verdict

MAX_ITEMS = 10_000
Assertions = Annotated[list[Assertion], Meta(max_length=100)]


class CaseAssertions(Struct, frozen=True, forbid_unknown_fields=True):
    """Other assertions for one case of a run.

    Attributes:
        case: Its name or ``case_uid``.
        assertions: What must hold.
        threshold: Least score that passes; null wants all of them to hold.
    """

    case: Annotated[str, Meta(max_length=255)]
    assertions: Assertions
    threshold: Annotated[float, Meta(ge=0, le=1)] | None = None


class RegradeSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What to judge the answers by; with neither ``assertions`` nor ``by_case``, by what the card's cases say now.

    Attributes:
        assertions: For all cases.
        by_case: Case by case; the other cases keep what the run has.
        cases: Names or ``case_uid`` of the cases to look at; empty takes all. At most 10,000 items are judged at once.
        skip_unknown: Leave out cases of which the run has no result, instead of refusing.
    """

    assertions: Assertions | None = None
    by_case: Annotated[list[CaseAssertions], Meta(max_length=MAX_ITEMS)] | None = None
    cases: Annotated[list[str], Meta(max_length=MAX_ITEMS)] = []
    skip_unknown: bool = False


class Rejudged(Struct, frozen=True):
    """An item, judged again.

    Attributes:
        ordinal: Place in the plan of the run.
        outcome, reason, message, score: As in results.
        verdicts: What each assertion says now.
    """

    ordinal: int
    outcome: Outcome
    reason: str | None
    message: str
    score: float | None
    verdicts: tuple[Verdict, ...]


class Move(Struct, frozen=True):
    """How many went from one outcome to another.

    Attributes:
        before, after: The outcomes; the same twice for those that stayed.
        count: How many.
    """

    before: Outcome
    after: Outcome
    count: int


class ItemFlipOut(Struct, frozen=True):
    """An item whose outcome is another now.

    Attributes:
        label: Of the card version.
        model, case, case_uid, repeat: Which item.
        before, after: The outcomes.
        reason_before, reason_after: Stable codes; null for a pass.
    """

    label: str
    model: str
    case: str
    case_uid: str
    repeat: int
    before: Outcome
    after: Outcome
    reason_before: str | None
    reason_after: str | None


class AssertionFlipOut(Struct, frozen=True):
    """An assertion that says something else now.

    Attributes:
        label, model, case, case_uid, repeat: Which item.
        path: Place of the assertion, ``1.0`` for the first inside of the second.
        type, metric: Which assertion.
        uid_before, uid_after: Its identities; they differ when it was changed.
        before, after, reason_before, reason_after: Outcomes and their reasons.
    """

    label: str
    model: str
    case: str
    case_uid: str
    repeat: int
    path: str
    type: str
    metric: str | None
    uid_before: str
    uid_after: str
    before: Outcome
    after: Outcome
    reason_before: str | None
    reason_after: str | None


class TypeMoves(Struct, frozen=True):
    """All assertions of one kind.

    Attributes:
        type: The kind.
        moves: From which outcome to which.
        added, removed: Verdicts that only one side has.
        changed: Compared verdicts whose assertion is another.
    """

    type: str
    moves: list[Move]
    added: int
    removed: int
    changed: int


class FlipsOut(Struct, frozen=True):
    """Old against new verdicts.

    Attributes:
        text: In one line.
        compared: Items that were compared.
        moves: Items by outcome before and after.
        items: Items whose outcome is another now.
        assertions: Assertions that say something else now.
        types: The same by kind of assertion.
    """

    text: str
    compared: int
    moves: list[Move]
    items: list[ItemFlipOut]
    assertions: list[AssertionFlipOut]
    types: list[TypeMoves]


class Regraded(Struct, frozen=True):
    """What came of it. Nothing was called and nothing that is stored was changed.

    Attributes:
        run_id: The run.
        judged: Items that were judged again.
        without_answer: Items that have no answer to judge; they keep their outcome and are not in ``results``.
        unjudged: Verdicts that would need a call to a judge or an embedding model, and are unscored here
            (``not_recorded``). An assertion that is unchanged keeps what its judge said.
        flips: The differences.
        results: The new verdicts, in the order of the plan.
    """

    run_id: UUID
    judged: int
    without_answer: int
    unjudged: int
    flips: FlipsOut
    results: list[Rejudged]
