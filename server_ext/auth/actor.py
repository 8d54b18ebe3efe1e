"""Who acts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID


@dataclass(frozen=True)
class Actor:
    """A user, and the way we know that it is this user.

    Attributes:
        kind: ``human`` for a person; ``kernel``, ``job`` and ``service`` act for one.
        via: How the identity was established.
    """

    user_id: UUID
    name: str
    kind: Literal["human", "kernel", "job", "service"] = "human"
    via: Literal["local", "hub", "jwt"] = "local"
