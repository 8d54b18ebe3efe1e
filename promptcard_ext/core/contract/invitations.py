"""Invitations into a workspace, over REST."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from promptcard_ext.core.contract.line import Line
from promptcard_ext.core.contract.members import Role

Email = Annotated[
    str,
    Meta(
        max_length=255,
        pattern=r"^[^@\s\u0000-\u001f\ud800-\udfff\ufdd0]{1,64}@[^@\s\u0000-\u001f\ud800-\udfff\ufdd0]{1,190}$(?!\n)",
    ),
]
MAX_DAYS = 30


class InvitationSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to invite.

    Attributes:
        email: Whose account it is to be, if accepting makes one. Nothing is sent there: hand the token over yourself.
        role: At most one's own.
        expires_in_days: 1 to 30.
    """

    email: Email
    role: Role = "member"
    expires_in_days: Annotated[int, Meta(ge=1, le=MAX_DAYS)] = 7


class Invitation(Struct, frozen=True):
    """An invitation that is open: neither accepted nor revoked, though perhaps expired.

    Attributes:
        id: For revoking it.
        email, role: As it was made.
        created_by: Id of the user who invited; null for an operator of the server.
        created_at: When.
        expires_at: Until when it can be accepted.
        expired: Whether that is over.
    """

    id: UUID
    email: str
    role: Role
    created_by: UUID | None
    created_at: datetime
    expires_at: datetime
    expired: bool


class NewInvitation(Struct, frozen=True):
    """An invitation that was just made.

    Attributes:
        invitation: As lists will show it.
        token: What accepts it. This is the only time that it is shown.
    """

    invitation: Invitation
    token: str

    def __repr__(self) -> str:
        return f"NewInvitation({self.invitation!r})"


class InvitationQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which invitations to list, newest first.

    Attributes:
        cursor: ``next`` of the page before.
        limit: Most invitations on a page.
    """

    cursor: Annotated[str, Meta(max_length=2000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class Joining(Struct, frozen=True, forbid_unknown_fields=True):
    """An invitation that is accepted by whoever asks.

    Attributes:
        token: The invitation's.
    """

    token: Annotated[str, Meta(max_length=200)]

    def __repr__(self) -> str:
        return "Joining(…)"


class Acceptance(Struct, frozen=True, forbid_unknown_fields=True):
    """How an invitation is accepted.

    Attributes:
        token: The invitation's.
        name: What a new account is called; default: what stands before the ``@``.
        password: Of a new account. Whoever is logged in leaves it out, and joins as who they are.
    """

    token: Annotated[str, Meta(max_length=200)]
    name: Line | None = None
    password: Annotated[str, Meta(max_length=1024)] | None = None

    def __repr__(self) -> str:
        return "Acceptance(…)"
