"""Members by groups of a JupyterHub, which is the truth about them.

A group ``promptcards-<workspace>-<role>`` makes its users members of that workspace, which is made when the first of
them comes. Its id follows from its name: every server finds the same one, and none looks into others for it.

Memberships that were made by hand are left alone, whatever the groups say. All others come and go with the groups,
those of owners too: a workspace of the Hub can be without an owner, until its groups name one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import get_args
from uuid import UUID, uuid5

import sqlalchemy as sa

from promptcard_ext.core.contract.members import Role
from promptcard_ext.core.errors import SetupError, Unauthenticated
from server_ext.auth.actor import Actor
from server_ext.auth.permissions import ROLES
from server_ext.db.engine import Database
from server_ext.db.tables import memberships, users
from server_ext.services import members, membership
from server_ext.services.membership import HUB
from server_ext.services.scope import Scope
from server_ext.services.workspaces import PERSONAL, found

PATTERNS: dict[str, str] = {f"promptcards-*-{role}": role for role in ROLES}
"""What groups mean, besides what the installation says."""

_NAMESPACE = UUID("6f0c1c0e-3c0b-4f6e-9a57-5d1b3f0a7c42")
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_MAX_NAME = 255
_PAGE = 1000


def sync(
    database: Database, user_name: str, groups: Iterable[str], role_map: Mapping[str, str], *, admin: bool
) -> Actor:
    """Bring a user's memberships in line with the groups, and return the user as an actor.

    The account is the one of this name in the Hub, never one of the same e-mail address. On the first login it gets a
    workspace of its own. Any number of servers may do this at the same time.

    Args:
        role_map: As `roles_of` takes it, in addition to `PATTERNS`.
        admin: Whether the user administers the Hub, and so is an owner wherever the groups lead to: whoever can change
            the groups can be one anyway.

    Raises:
        Unauthenticated: The account was locked here, whatever the Hub says; or the name has more than 255 characters.
        SetupError: ``role_map`` makes no sense (``hub_role_map_invalid``).
    """
    if not 1 <= len(user_name) <= _MAX_NAME:
        raise Unauthenticated(f"Names of users have 1 to {_MAX_NAME} characters.")
    roles = roles_of(groups, {**PATTERNS, **role_map})
    wanted: dict[UUID, tuple[str, Role]] = {
        workspace_id_of(slug): (slug, "owner" if admin else role) for slug, role in roles.items()
    }
    actor = _account(database, user_name)
    known = _memberships(database, actor)
    personal = uuid5(_NAMESPACE, f"personal/{actor.user_id}")
    if personal not in known:
        _make_personal(database, actor, personal)
    for workspace_id, (slug, role) in wanted.items():
        before_role, source = known.get(workspace_id, (None, HUB))
        if source == HUB and before_role != role:
            _join(database, actor, workspace_id, slug, role)
    for workspace_id, (_, source) in known.items():
        if source == HUB and workspace_id not in wanted:
            _part(database, actor, workspace_id)
    return actor


def names(database: Database) -> list[str]:
    """Return the names in the Hub of all whom its groups have made members of something."""
    found: list[str] = []
    page: list[str] = [""]
    with database.transaction() as connection:
        while page:
            part = sa.func.pc.hub_members(page[-1], _PAGE).table_valued("subject")
            page = list(connection.execute(sa.select(part.c.subject)).scalars())
            found += page
    return found


def roles_of(groups: Iterable[str], patterns: Mapping[str, str]) -> dict[str, Role]:
    """Return the role that groups give in each workspace, by its slug; of several the highest.

    Args:
        patterns: For names of groups the role that they stand for. ``*`` in the name stands for the workspace's slug;
            without it, the workspace stands before the role, with a colon. Groups that lead to no slug mean nothing.

    Raises:
        SetupError: A pattern has no workspace, or a role that does not exist (``hub_role_map_invalid``).

    Example:
        >>> roles_of(["promptcards-nlp-member", "staff"], {**PATTERNS, "staff": "nlp:admin"})
        {'nlp': 'admin'}
    """
    found_roles: dict[str, Role] = {}
    rules = [_rule(pattern, meaning) for pattern, meaning in patterns.items()]
    for group in groups:
        for expression, fixed_slug, role in rules:
            match = expression.fullmatch(group)
            slug = fixed_slug or (match[1] if match else "")
            if match and _SLUG.fullmatch(slug):
                held = found_roles.get(slug, role)
                found_roles[slug] = min(held, role, key=ROLES.index)
    return found_roles


def workspace_id_of(slug: str) -> UUID:
    """Return the id of the workspace that groups call ``slug``; it keeps it when it is renamed."""
    return uuid5(_NAMESPACE, slug)


def _rule(pattern: str, meaning: str) -> tuple[re.Pattern[str], str, Role]:
    """Return how a pattern reads a group's name: its expression, the slug unless the name has it, and the role."""
    slug, _, name = meaning.rpartition(":")
    role = next((one for one in get_args(Role) if one == name), None)
    if role is None or (pattern.count("*") != 1 if not slug else "*" in pattern or not _SLUG.fullmatch(slug)):
        raise SetupError(
            f"'{pattern:.100}': '{meaning:.100}' in hub_role_map makes no sense.",
            hint="Write such as {'course-*-staff': 'admin'} or {'staff': 'my-workspace:admin'}.",
            code="hub_role_map_invalid",
        )
    return re.compile(re.escape(pattern).replace(r"\*", "(.+)")), slug, role


def _account(database: Database, user_name: str) -> Actor:
    identity = sa.func.pc.resolve_identity(HUB, user_name, user_name, type_=sa.Uuid)
    with database.transaction() as connection:
        return Actor(connection.execute(sa.select(identity)).scalar_one(), user_name, via="hub")


def _refuse_locked(connection: sa.Connection, actor: Actor) -> None:
    locked = sa.select(users.c.disabled_at).where(users.c.id == actor.user_id)
    if connection.execute(locked).scalar_one() is not None:
        raise Unauthenticated("This account is locked.", hint="Ask an operator of the server.")


def _memberships(database: Database, actor: Actor) -> dict[UUID, tuple[str, str]]:
    here = memberships.c
    mine = sa.select(here.workspace_id, here.role, here.source).where(here.user_id == actor.user_id)
    with database.transaction(user_id=actor.user_id) as connection:
        _refuse_locked(connection, actor)
        return {row.workspace_id: (row.role, row.source) for row in connection.execute(mine)}


def _make_personal(database: Database, actor: Actor, workspace_id: UUID) -> None:
    with database.transaction(workspace_id, actor.user_id) as connection:
        scope = _turn(database, connection, actor, workspace_id, "owner")
        # Whoever has given theirs away gets no second one.
        if not membership.lock(scope):
            found(scope, "Personal", PERSONAL)
            membership.enrol(scope, actor.user_id, "owner")


def _join(database: Database, actor: Actor, workspace_id: UUID, slug: str, role: Role) -> None:
    with database.transaction(workspace_id, actor.user_id) as connection:
        scope = _turn(database, connection, actor, workspace_id, role)
        if not membership.lock(scope):
            found(scope, slug, slug)
        if membership.enrol(scope, actor.user_id, role, HUB):
            return
        member = members.find(scope, str(actor.user_id))
        if member.source == HUB and member.role != role:
            membership.set_role(scope, member, role)


def _part(database: Database, actor: Actor, workspace_id: UUID) -> None:
    still_there = sa.select(memberships.c.user_id).where(
        memberships.c.workspace_id == workspace_id,
        memberships.c.user_id == actor.user_id,
        memberships.c.source == HUB,
    )
    with database.transaction(workspace_id, actor.user_id) as connection:
        scope = _turn(database, connection, actor, workspace_id, "viewer")
        membership.lock(scope)
        if connection.execute(still_there).first() is not None:
            membership.drop(scope, actor.user_id)


def _turn(database: Database, connection: sa.Connection, actor: Actor, workspace_id: UUID, role: Role) -> Scope:
    """Return the scope once no other sync is at work in this workspace, which may not be there yet."""
    turn = sa.func.hashtextextended(f"pc.hub:{workspace_id}", 0)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(turn)))
    return Scope(connection, workspace_id, actor, role, database)
