"""Who may do what: the only place that says so. What is not listed is denied.

A right is what the role in the database allows, cut down by what the credential allows: its scopes and the one
workspace it is pinned to. Neither ever adds anything.
"""

from __future__ import annotations

from collections.abc import Iterable

from promptcard_ext.core.errors import CardError, Denied

ROLES = ("owner", "admin", "member", "viewer")

_FROM = {role: frozenset(ROLES[: ROLES.index(role) + 1]) for role in ROLES}

# The lowest role that may; everyone above may too.
ACTIONS = {
    "workspace:read": _FROM["viewer"],
    "workspace:update": _FROM["owner"],
    "workspace:transfer": _FROM["owner"],
    "workspace:leave": _FROM["viewer"],
    "user:read": _FROM["admin"],
    "user:create": _FROM["admin"],
    "user:update": _FROM["admin"],
    "user:delete": _FROM["owner"],
    "token:read": _FROM["viewer"],
    "token:create": _FROM["viewer"],
    "token:delete": _FROM["viewer"],
    "prompt:read": _FROM["viewer"],
    "prompt:create": _FROM["member"],
    "prompt:update": _FROM["member"],
    "prompt:delete": _FROM["admin"],
    "test:read": _FROM["viewer"],
    "test:create": _FROM["member"],
    "test:update": _FROM["admin"],
    "test:delete": _FROM["admin"],
    "test:execute": _FROM["member"],
    # Members stop what they may start; the runs of others too, because a team shares its budget.
    "test:cancel": _FROM["member"],
    "report:create": _FROM["member"],
    "report:read": _FROM["viewer"],
    "analytics:read": _FROM["viewer"],
    "audit:read": _FROM["admin"],
    "billing:read": _FROM["owner"],
    "billing:update": _FROM["owner"],
    "settings:read": _FROM["admin"],
    "settings:update": _FROM["owner"],
}

# Actions of no workspace, which a route declares in place of one of the above.
PUBLIC = "public"
"""Anybody, without any credential: logging in, and accepting an invitation."""
SIGNED_IN = "signed_in"
"""Whoever we know, about themselves only; tokens that are pinned or scoped are refused."""
ANY_CREDENTIAL = "any_credential"
"""Whoever we know, with any credential that is good: asking who one is."""
OUTSIDE_WORKSPACES = (PUBLIC, SIGNED_IN, ANY_CREDENTIAL)


def allows(role: str, action: str, scopes: frozenset[str] | None = None) -> bool:
    """Tell whether ``role`` may do ``action``, with a credential of ``scopes`` (None: of all).

    An unknown action is allowed to nobody.
    """
    return role in ACTIONS.get(action, frozenset()) and (scopes is None or action in scopes)


def require(role: str, action: str, scopes: frozenset[str] | None = None) -> None:
    """Raise `Denied` unless ``role`` may do ``action`` with a credential of ``scopes``."""
    if not allows(role, action):
        raise Denied(
            f"The role '{role}' may not do '{action}' in this workspace.",
            hint="Ask an owner or admin of the workspace.",
        )
    if not allows(role, action, scopes):
        raise Denied(
            f"This token may not do '{action}'.",
            hint="Make a token whose scopes include it.",
            code="scope_missing",
        )


def expand_scopes(wanted: Iterable[str]) -> frozenset[str]:
    """Return the actions that scopes stand for: actions, families such as ``prompt:*``, and roles such as ``viewer``.

    Raises:
        CardError: One of them stands for nothing (``scope_unknown``).

    Example:
        >>> sorted(expand_scopes(["report:*"]))
        ['report:create', 'report:read']
    """
    found: set[str] = set()
    for scope in wanted:
        family = scope.removesuffix("*")
        if scope in ROLES:
            named = {action for action in ACTIONS if allows(scope, action)}
        elif family != scope and family.endswith(":"):
            named = {action for action in ACTIONS if action.startswith(family)}
        else:
            named = {scope} & ACTIONS.keys()
        if not named:
            raise CardError(
                f"'{scope:.60}' is no scope.",
                hint=f"Scopes are roles ({', '.join(ROLES)}), families ('prompt:*') and actions ('prompt:read').",
                code="scope_unknown",
            )
        found |= named
    return frozenset(found)
