"""What is cached, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple
from uuid import UUID

FamilyName = Literal["metrics", "session", "analytics", "cards", "config", "perms"]
LOCAL_TTL_S = 60.0
RECHECK_S = 5.0
MAX_STALE_S = 300.0


@dataclass(frozen=True)
class Family:
    """How values of one kind are kept.

    Attributes:
        prefix: What their keys in Redis begin with, after installation and workspace.
        ttl_s: Seconds in Redis; 0: they are never there.
        local_ttl_s: Seconds in the memory of a process.
        max_stale_s: Seconds since its last reading for which a value stands in while the database cannot be asked.
        by_workspace: Whether the same key means something else in another workspace.
    """

    prefix: str
    ttl_s: int
    local_ttl_s: float = LOCAL_TTL_S
    max_stale_s: float = 0.0
    by_workspace: bool = True


FAMILIES: dict[FamilyName, Family] = {
    "metrics": Family("metrics:realtime:", 300),
    # Not in Redis: whoever can read that must not find sessions there.
    "session": Family("session:", 0, local_ttl_s=RECHECK_S, by_workspace=False),
    "analytics": Family("analytics:", 3600),
    "cards": Family("cards:", 3600, max_stale_s=MAX_STALE_S),
    "config": Family("config:", 86400, max_stale_s=MAX_STALE_S),
    "perms": Family("perms:", 86400, local_ttl_s=RECHECK_S, by_workspace=False),
}


class Name(NamedTuple):
    """The exact name of a cached value."""

    family: FamilyName
    workspace_id: UUID | None
    key: str


def name_of(family: FamilyName, workspace_id: UUID | None, key: str) -> Name:
    """Return the name of a value; families of users leave the workspace out."""
    return Name(family, workspace_id if FAMILIES[family].by_workspace else None, key)
