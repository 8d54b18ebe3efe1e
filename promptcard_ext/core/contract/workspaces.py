"""Workspaces, over REST."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from promptcard_ext.core.contract.line import Line
from promptcard_ext.core.contract.members import Role

# In Python '$' also fits before a line break at the end.
Slug = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$(?!\n)")]


class WorkspaceSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A workspace to be made.

    Attributes:
        name: 1 to 255 characters in one line.
    """

    name: Line


class WorkspacePatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What of a workspace is to change.

    Attributes:
        name: For people.
        slug: For addresses: lower-case letters, digits, ``.``, ``_`` and ``-``, and not the form of an id.
    """

    name: Line | UnsetType = UNSET
    slug: Slug | UnsetType = UNSET


class WorkspaceOut(Struct, frozen=True):
    """A workspace, as somebody who belongs to it sees it.

    Attributes:
        id: Stays when the slug changes.
        name: For people.
        slug: For addresses; two of one's workspaces may have the same, and then the older one is meant.
        role: The role in it of whoever asks.
        created_at, updated_at: When it was made, and when name or slug last changed.
    """

    id: UUID
    name: str
    slug: str
    role: Role
    created_at: datetime
    updated_at: datetime


class WorkspaceQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which workspaces to list: one's own, oldest first.

    Attributes:
        cursor: ``next`` of the page before.
        limit: Most workspaces on a page.
    """

    cursor: Annotated[str, Meta(max_length=2000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class TransferSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to be an owner in place of whoever asks.

    Attributes:
        user: Id of another member.
    """

    user: UUID
