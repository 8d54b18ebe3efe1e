"""Who may do what: the only place that says so. What is not listed is denied."""

from __future__ import annotations

from promptcard_ext.core.errors import Denied

ROLES = ("owner", "admin", "member", "viewer")

_FROM = {role: frozenset(ROLES[: ROLES.index(role) + 1]) for role in ROLES}

# The lowest role that may; everyone above may too.
ACTIONS = {
    "workspace:read": _FROM["viewer"],
    "workspace:update": _FROM["owner"],
    "prompt:read": _FROM["viewer"],
    "prompt:create": _FROM["member"],
    "prompt:update": _FROM["member"],
    "prompt:delete": _FROM["admin"],
    "test:read": _FROM["viewer"],
    "test:create": _FROM["member"],
    "test:update": _FROM["admin"],
    "test:execute": _FROM["member"],
    # Members stop what they may start; the runs of others too, because a team shares its budget.
    "test:cancel": _FROM["member"],
    "report:create": _FROM["member"],
    "report:read": _FROM["viewer"],
}


def allows(role: str, action: str) -> bool:
    """Tell whether ``role`` may do ``action``; an unknown action is allowed to nobody."""
    return role in ACTIONS.get(action, frozenset())


def require(role: str, action: str) -> None:
    """Raise `Denied` unless ``role`` may do ``action``."""
    if not allows(role, action):
        raise Denied(
            f"The role '{role}' may not do '{action}' in this workspace.",
            hint="Ask an owner or admin of the workspace.",
        )
