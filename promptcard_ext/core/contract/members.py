"""Who belongs to a workspace, over REST."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

Role = Literal["owner", "admin", "member", "viewer"]


class Member(Struct, frozen=True):
    """Somebody who belongs to a workspace.

    Attributes:
        id: Of the user.
        name: What the user is called.
        email: The user's address; null unless whoever asks may do ``user:read``.
        role: What the user may do here.
        source: ``hub`` when a group of the Hub says so, and then only groups change it; else ``local``.
        since: Since when.
    """

    id: UUID
    name: str
    email: str | None
    role: Role
    source: str
    since: datetime


class MemberPatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What of a membership is to change.

    Attributes:
        role: The new role; nobody gives more than they have.
    """

    role: Role


class MemberQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which members to list, those who came first first.

    Attributes:
        cursor: ``next`` of the page before.
        limit: Most members on a page.
    """

    cursor: Annotated[str, Meta(max_length=2000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
