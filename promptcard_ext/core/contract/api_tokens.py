"""API tokens, over REST: credentials of programs, of one workspace each."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from promptcard_ext.core.contract.line import Line

Purpose = Literal["api", "service", "kernel", "job"]
MAX_DAYS = 366


class ApiTokenSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be made.

    Attributes:
        name: What it is for, so that one knows later which to revoke.
        purpose: Who will show it: ``api`` a person's own script, ``service`` a server, ``kernel`` and ``job`` these.
        scopes: Actions, families (``prompt:*``) and roles that it is to allow; null allows what its maker's role and
            credential do.
        expires_in_days: 1 to 366.
    """

    name: Line
    purpose: Purpose = "api"
    scopes: Annotated[list[Annotated[str, Meta(max_length=60)]], Meta(min_length=1, max_length=100)] | None = None
    expires_in_days: Annotated[int, Meta(ge=1, le=MAX_DAYS)] = 90


class ApiToken(Struct, frozen=True):
    """A token that was not revoked, though it may have expired. Never with its secret.

    Attributes:
        id: For revoking it.
        user: Id of the user for whom it acts.
        name, purpose: As it was made.
        scopes: The only actions that it allows; null: what the user's role does.
        preview: Its first and last four characters.
        created_at, expires_at: When it was made, and until when it counts.
        last_used_at: When it was last shown, to the minute; null: never.
        expired: Whether it counts no more.
    """

    id: UUID
    user: UUID
    name: str
    purpose: Purpose
    scopes: list[str] | None
    preview: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    expired: bool


class NewApiToken(Struct, frozen=True):
    """A token that was just made.

    Attributes:
        api_token: As lists will show it.
        token: The token itself. This is the only time that it is shown.
    """

    api_token: ApiToken
    token: str

    def __repr__(self) -> str:
        return f"NewApiToken({self.api_token!r})"


class ApiTokenQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which tokens to list, newest first.

    Attributes:
        everybody: Those of all members, for whoever may do ``user:read``; else one's own.
        cursor: ``next`` of the page before.
        limit: Most tokens on a page.
    """

    everybody: bool = False
    cursor: Annotated[str, Meta(max_length=2000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
