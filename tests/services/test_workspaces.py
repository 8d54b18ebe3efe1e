"""Workspaces are made, renamed, handed over and left."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.members import Role
from promptcard_ext.core.contract.workspaces import WorkspacePatch, WorkspaceQuery
from promptcard_ext.core.errors import CardError, Conflict, Denied, NotFound
from server_ext.auth.actor import Actor
from server_ext.auth.permissions import ROLES
from server_ext.db.engine import Database
from server_ext.db.tables import audit_log, memberships
from server_ext.services import members, workspaces
from server_ext.services.precondition import etag_of, if_match
from server_ext.services.scope import Scope, open_scope
from tests.conftest import NewActor
from tests.services.roles import may, refusal
from tests.support import Tenant

USE_CASES: dict[str, tuple[Role, Callable[[Scope, str], Any]]] = {
    "read": ("viewer", lambda scope, user: workspaces.get(scope)),
    "rename": ("owner", lambda scope, user: workspaces.update(scope, WorkspacePatch(name="Other"))),
    "transfer": ("owner", workspaces.transfer),
    "leave": ("viewer", lambda scope, user: workspaces.leave(scope)),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("what", USE_CASES)
def test_a_role_may_do_what_is_its_own_and_no_more(tenant: Tenant, new_actor: NewActor, role: Role, what: str) -> None:
    actor, other = new_actor(tenant, role), new_actor(tenant, "viewer")
    lowest, use_case = USE_CASES[what]
    allowed = may(tenant, actor, lambda scope: use_case(scope, str(other.user_id)))
    assert allowed == (ROLES.index(role) <= ROLES.index(lowest))


def test_workspaces_of_mine_come_in_pages_oldest_first(database: Database, new_actor: NewActor) -> None:
    actor = new_actor()
    made = [workspaces.create(database, actor, f"Number {n}").id for n in range(5)]
    found: list[uuid.UUID] = []
    cursor = None
    while True:
        page = workspaces.list_mine(database, actor, WorkspaceQuery(cursor, 2))
        found += [one.id for one in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert found == made
    assert {one.role for one in workspaces.list_mine(database, actor).items} == {"owner"}


def test_a_credential_of_one_workspace_lists_only_that(database: Database, tenant: Tenant) -> None:
    workspaces.create(database, tenant.actor, "Another")
    pinned = dataclasses.replace(tenant.actor, workspace_id=tenant.id, scopes=frozenset({"prompt:read"}))
    assert [one.id for one in workspaces.list_mine(database, pinned).items] == [tenant.id]


@pytest.mark.parametrize("cut", [{"workspace_id": uuid.uuid4()}, {"scopes": frozenset({"workspace:read"})}])
def test_a_credential_of_less_than_all_makes_no_workspace(
    database: Database, new_actor: NewActor, cut: dict[str, Any]
) -> None:
    actor = dataclasses.replace(new_actor(), **cut)
    with pytest.raises(Denied) as refused:
        workspaces.create(database, actor, "Mine")
    assert refused.value.code == "scope_missing"


@pytest.mark.parametrize("name", ["", "  ", "a" * 256, "two\nlines", "\x00" * 200, "\ud800", "a\x7f"])
def test_a_name_is_one_line(database: Database, tenant: Tenant, name: str) -> None:
    with pytest.raises(CardError) as refused:
        workspaces.create(database, tenant.actor, name)
    assert refused.value.code == "workspace_invalid"
    with pytest.raises(CardError) as refused, tenant.scope() as scope:
        workspaces.update(scope, WorkspacePatch(name=name))
    assert refused.value.code == "workspace_invalid"


@pytest.mark.parametrize("name", ["Søren & Co. 🙂", "a" * 255, "' or 1=1 --", "<b>x</b>", "שלום"])
def test_a_name_comes_back_as_it_was(database: Database, tenant: Tenant, name: str) -> None:
    assert workspaces.create(database, tenant.actor, name).name == name
    with tenant.scope() as scope:
        assert workspaces.update(scope, WorkspacePatch(name=name)).name == name


def test_a_workspace_is_found_by_its_new_slug(tenant: Tenant) -> None:
    slug = f"new-{uuid.uuid4().hex[:8]}"
    with tenant.scope() as scope:
        changed = workspaces.update(scope, WorkspacePatch(slug=slug))
    assert changed.updated_at > changed.created_at
    with open_scope(tenant.database, tenant.actor, slug) as scope:
        assert scope.workspace_id == tenant.id
    with pytest.raises(NotFound), open_scope(tenant.database, tenant.actor, tenant.slug):
        pass


def test_a_slug_that_looks_like_an_id_is_refused(tenant: Tenant) -> None:
    with pytest.raises(CardError) as refused, tenant.scope() as scope:
        workspaces.update(scope, WorkspacePatch(slug=uuid.uuid4().hex))
    assert refused.value.code == "workspace_invalid"


def test_a_change_needs_the_state_that_it_is_based_on(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        seen = if_match(etag_of(workspaces.get(scope)))
        workspaces.update(scope, WorkspacePatch(name="First"), seen)
    with pytest.raises(Conflict) as refused, tenant.scope() as scope:
        workspaces.update(scope, WorkspacePatch(name="Second"), seen)
    assert refused.value.current.name == "First"


def test_a_change_to_what_is_already_there_leaves_no_trace(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        before = workspaces.get(scope)
        assert workspaces.update(scope, WorkspacePatch(name=before.name, slug=before.slug)) == before
    assert "workspace.updated" not in actions(tenant)


def actions(tenant: Tenant) -> list[str]:
    query = sa.select(audit_log.c.action).where(audit_log.c.workspace_id == tenant.id).order_by(audit_log.c.seq)
    with tenant.database.transaction(tenant.id) as connection:
        return list(connection.execute(query).scalars())


def test_an_owner_hands_the_workspace_over_and_is_an_admin_from_then_on(tenant: Tenant, new_actor: NewActor) -> None:
    heir = new_actor(tenant, "viewer")
    with tenant.scope() as scope:
        assert workspaces.transfer(scope, str(heir.user_id)).role == "admin"
    assert roles(tenant) == {tenant.actor.user_id: "admin", heir.user_id: "owner"}
    assert actions(tenant)[-1] == "workspace.transferred"
    with pytest.raises(Denied), tenant.scope() as scope:
        workspaces.transfer(scope, str(heir.user_id))


def roles(tenant: Tenant) -> dict[uuid.UUID, str]:
    query = sa.select(memberships.c.user_id, memberships.c.role).where(memberships.c.workspace_id == tenant.id)
    with tenant.database.transaction(tenant.id) as connection:
        return {row.user_id: row.role for row in connection.execute(query)}


def test_a_workspace_is_not_handed_to_oneself(tenant: Tenant) -> None:
    with pytest.raises(CardError) as refused, tenant.scope() as scope:
        workspaces.transfer(scope, str(tenant.actor.user_id))
    assert refused.value.code == "workspace_invalid"


def test_strangers_and_nobody_look_the_same_as_heirs(tenant: Tenant, stranger: Tenant) -> None:
    references = (str(stranger.actor.user_id), str(uuid.uuid4()), "nobody")
    answers = [refusal(tenant, workspaces.transfer, reference) for reference in references]
    assert answers[0]["code"] == "not_found"
    assert answers[0] == answers[1] == answers[2]


def test_whoever_leaves_finds_nothing_any_more(tenant: Tenant, new_actor: NewActor) -> None:
    other = new_actor(tenant, "member")
    with open_scope(tenant.database, other, str(tenant.id)) as scope:
        workspaces.leave(scope)
    with pytest.raises(NotFound), open_scope(tenant.database, other, str(tenant.id)):
        pass
    assert actions(tenant)[-1] == "member.removed"


def test_the_last_owner_cannot_leave(tenant: Tenant, new_actor: NewActor) -> None:
    new_actor(tenant, "admin")
    with pytest.raises(Conflict) as refused, tenant.scope() as scope:
        workspaces.leave(scope)
    assert refused.value.code == "last_owner"
    other = new_actor(tenant, "owner")
    with open_scope(tenant.database, other, str(tenant.id)) as scope:
        workspaces.leave(scope)
    with tenant.scope() as scope:
        assert [one.role for one in members.list_members(scope, members.MemberQuery()).items] == ["owner", "admin"]


def test_an_actor_without_a_membership_changes_nothing(tenant: Tenant, new_actor: NewActor) -> None:
    gone = Actor(new_actor().user_id, "Grace")
    with tenant.database.transaction(tenant.id, gone.user_id) as connection:
        stale = Scope(connection, tenant.id, gone, "owner", tenant.database)
        for attempt in (
            lambda: workspaces.update(stale, WorkspacePatch(name="Mine")),
            lambda: workspaces.transfer(stale, str(tenant.actor.user_id)),
            lambda: workspaces.leave(stale),
        ):
            with pytest.raises(NotFound):
                attempt()
