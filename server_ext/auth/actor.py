"""Who acts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

Kind = Literal["human", "kernel", "job", "service"]
Via = Literal["local", "hub", "jwt", "token", "operator"]


@dataclass(frozen=True)
class Actor:
    """A user, and the way we know that it is this user.

    Attributes:
        kind: ``human`` for a person; ``kernel``, ``job`` and ``service`` act for one.
        via: How the identity was established; ``operator`` is somebody at the server's own command line.
        scopes: The only actions that the credential allows; None allows what the role does.
        workspace_id: The only workspace that the credential opens; None opens all of the user's.
        session_id: The session that a JWT belongs to, if any.
        token_id: The API token that was shown, if any.
    """

    user_id: UUID
    name: str
    kind: Kind = "human"
    via: Via = "local"
    scopes: frozenset[str] | None = None
    workspace_id: UUID | None = None
    session_id: UUID | None = None
    token_id: UUID | None = None
