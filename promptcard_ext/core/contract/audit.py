"""The audit trail of a workspace, over REST."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

Problem = Literal["gap", "chain", "hash", "seal", "unsealed", "key_unknown", "head", "cut"]
MAX_CHECKED = 20_000


class AuditEntry(Struct, frozen=True):
    """Something that somebody did or was refused.

    Attributes:
        seq: Its number; the first entry of a workspace has 1, and none is left out.
        at: When, to the microsecond.
        actor: Id of the user; null for the server's operator, who is no user, and for the system.
        actor_kind: ``human``, or ``kernel``, ``job``, ``service`` acting for the user.
        actor_role: The role that it was done in; null in entries from before it was noted, as the next three.
        via: How the actor was known: ``local``, ``hub``, ``jwt``, ``token``, ``operator``.
        address: Where the request came from, as far as the server could tell.
        request_id: As in the answer's header and in the log.
        action: What was done, ``noun.verb``.
        object_type, object_id: To what.
        detail: What else is worth knowing; never a prompt, an answer or a secret.
        hash: Of the entry and the one before, as hexadecimal digits.
        sealed: Whether it has a seal that only the server can make.
    """

    seq: int
    at: datetime
    actor: UUID | None
    actor_kind: str
    actor_role: str | None
    via: str | None
    address: str | None
    request_id: str | None
    action: str
    object_type: str | None
    object_id: str | None
    detail: dict[str, Any]
    hash: str
    sealed: bool


class AuditQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which entries to list, the latest first.

    Attributes:
        action: One action.
        actor: Id of a user.
        object_type, object_id: What it was done to.
        since, until: From this time on, and before that one.
        cursor: ``next`` of the page before.
        limit: Most entries on a page.
    """

    action: Annotated[str, Meta(max_length=100)] | None = None
    actor: UUID | None = None
    object_type: Annotated[str, Meta(max_length=100)] | None = None
    object_id: Annotated[str, Meta(max_length=255)] | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = None
    until: Annotated[datetime, Meta(tz=True)] | None = None
    cursor: Annotated[str, Meta(max_length=2000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class AuditHead(Struct, frozen=True):
    """The last entry of a trail. Kept elsewhere, it shows later whether the trail was cut or written anew.

    Attributes:
        workspace: Id of the workspace.
        seq: Number of the entry.
        at: Its time.
        hash: Its hash, as hexadecimal digits.
        key_id: Id of the key that sealed it; null without a seal.
        mac: Its seal, as hexadecimal digits; null without one.
    """

    workspace: UUID
    seq: int
    at: datetime
    hash: str
    key_id: str | None
    mac: str | None


class AuditCheckQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of the trail to check.

    Attributes:
        after: Number of the last entry that was checked before; ``checked_to`` of the answer before.
        limit: Most entries to look at.
    """

    after: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_CHECKED)] = MAX_CHECKED


class AuditProblem(Struct, frozen=True):
    """The first place where a trail is not as it was written.

    Attributes:
        seq: Number of the entry.
        kind: ``gap`` a number is missing or out of order, ``chain`` it does not follow the one before, ``hash`` its
            content was changed, ``seal`` its seal was not made by this server for this content and place, ``unsealed``
            it has no seal though one before it has, ``key_unknown`` its key is not in the ring, ``head`` it is not the
            entry that was here when the head was copied, ``cut`` entries up to this number are gone.
        message: The same as a sentence.
    """

    seq: int
    kind: Problem
    message: str


class AuditCheck(Struct, frozen=True):
    """What a check of a trail found.

    Attributes:
        workspace: Id of the workspace.
        checked: How many entries were looked at.
        checked_to: Number of the last of them.
        complete: Whether there are none behind it.
        unsealed_to: Number up to which entries have no seal, being from before seals; 0 when all have one. Their hashes
            were checked, and the first seal covers them.
        heads: How many copied heads were compared.
        problem: The first problem, or null.
    """

    workspace: UUID
    checked: int
    checked_to: int
    complete: bool
    unsealed_to: int
    heads: int
    problem: AuditProblem | None = None
