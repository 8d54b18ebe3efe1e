"""Accounts, their sessions, and logging in, over REST."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from promptcard_ext.core.contract.invitations import Email
from promptcard_ext.core.contract.workspaces import WorkspaceOut

Kind = Literal["human", "kernel", "job", "service"]
Via = Literal["local", "hub", "jwt", "token", "operator"]
# Longer ones are refused before anything that takes time; the limit of 1,024 bytes is the server's.
Password = Annotated[str, Meta(max_length=1024)]
MAX_JOB_S = 86_400


class LoginSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Who logs in.

    Attributes:
        email: However it is written: case and composition of characters do not matter.
        password: At most 1,024 bytes.
    """

    email: Email
    password: Password

    def __repr__(self) -> str:
        return "LoginSpec(…)"


class RefreshSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A refresh token to be exchanged for its successor.

    Attributes:
        refresh_token: The one that was got last. It is good once.
    """

    refresh_token: Annotated[str, Meta(max_length=200)]

    def __repr__(self) -> str:
        return "RefreshSpec(…)"


class LogoutSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A session to be ended.

    Attributes:
        refresh_token: One of that session, when its access token is no longer good; null: the credential shown.
    """

    refresh_token: Annotated[str, Meta(max_length=200)] | None = None

    def __repr__(self) -> str:
        return "LogoutSpec(…)"


class PasswordChange(Struct, frozen=True, forbid_unknown_fields=True):
    """A new password of one's own.

    Attributes:
        old: The one that counts now.
        new: 12 characters or more, at most 1,024 bytes; not one's e-mail or name.
    """

    old: Password
    new: Password

    def __repr__(self) -> str:
        return "PasswordChange(…)"


class ExchangeSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be got for a kernel or job; it never allows more, or longer, than what it is got with.

    Attributes:
        purpose: ``kernel`` for 15 minutes at most; ``notebook_job`` for 24 hours at most, and an hour unless said.
        workspace: Id or slug of the only workspace that it is to open; null: those of the credential.
        scopes: Actions, families (``prompt:*``) and roles that it is to allow; null: what the credential does.
        seconds: For how long; it may end earlier, and ``expires_in`` says when.
    """

    purpose: Literal["kernel", "notebook_job"]
    workspace: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    scopes: Annotated[list[Annotated[str, Meta(max_length=60)]], Meta(min_length=1, max_length=100)] | None = None
    seconds: Annotated[int, Meta(ge=1, le=MAX_JOB_S)] | None = None


class UserOut(Struct, frozen=True):
    """A user, as they see themselves.

    Attributes:
        id: Stays when name and e-mail change.
        name: What the user is called.
        email: With which the user logs in; null without a password.
    """

    id: UUID
    name: str
    email: str | None


class AccessToken(Struct, frozen=True):
    """A token to be sent as ``X-PromptCards-Token`` or ``Authorization: Bearer``.

    Attributes:
        access_token: The token itself.
        expires_in: Seconds for which it is good, unless its session ends.
        token_type: For ``Authorization``.
    """

    access_token: str
    expires_in: int
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105

    def __repr__(self) -> str:
        return f"AccessToken(…, expires_in={self.expires_in})"


class TokenPair(Struct, frozen=True):
    """What logging in and refreshing give.

    Attributes:
        access_token: To be sent as ``X-PromptCards-Token`` or ``Authorization: Bearer``.
        expires_in: Seconds for which it is good.
        refresh_token: What gets the next pair, once.
        refresh_expires_at: When the session ends, and one has to log in again.
        user: Who is logged in.
        token_type: For ``Authorization``.
    """

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_at: datetime
    user: UserOut
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105

    def __repr__(self) -> str:
        return f"TokenPair(…, user={self.user.id})"


class SessionOut(Struct, frozen=True):
    """A session that goes on.

    Attributes:
        id: For ending it.
        kind: ``human`` for a login; ``kernel`` and ``job`` for a token that was got in exchange.
        workspace: Id of the only workspace that it opens; null: all of one's own.
        scopes: The only actions that it allows; null: what the role does.
        user_agent: What its client called itself.
        created_at, expires_at: When it began, and when it ends at the latest.
        last_used_at: When it last got an access token.
        current: Whether it is the one that asks.
    """

    id: UUID
    kind: Kind
    workspace: UUID | None
    scopes: list[str] | None
    user_agent: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime
    current: bool


class SessionQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which of one's sessions to list, the latest first.

    Attributes:
        cursor: ``next`` of the page before.
        limit: Most sessions on a page.
    """

    cursor: Annotated[str, Meta(max_length=2000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class Me(Struct, frozen=True):
    """Who asks, and with what.

    Attributes:
        user: Whose credential it is.
        kind: ``human`` for a person; ``kernel``, ``job`` and ``service`` act for one.
        via: How we know: ``local`` and ``hub`` from Jupyter, ``jwt`` from an access token, ``token`` from an API token.
        scopes: The only actions that the credential allows; null: what the role does.
        workspace: Id of the only workspace that it opens; null: all of the user's.
        workspaces: Those that it opens, each with the role in it; the oldest 200.
    """

    user: UserOut
    kind: Kind
    via: Via
    scopes: list[str] | None
    workspace: UUID | None
    workspaces: list[WorkspaceOut]
