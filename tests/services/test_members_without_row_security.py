"""Members, invitations and tokens of others stay out of reach when PostgreSQL's wall is gone and only ours stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.api_tokens import ApiTokenQuery, ApiTokenSpec
from promptcard_ext.core.contract.invitations import InvitationQuery, InvitationSpec
from promptcard_ext.core.contract.members import MemberQuery
from promptcard_ext.core.contract.workspaces import WorkspacePatch
from promptcard_ext.core.errors import NotFound
from server_ext.db.engine import make_engine
from server_ext.db.tables import api_tokens as token_table
from server_ext.db.tables import invitations as invitation_table
from server_ext.db.tables import memberships
from server_ext.db.tables import workspaces as workspace_table
from server_ext.embedded import Services, roles
from server_ext.embedded.home import find_home
from server_ext.services import api_tokens, invitations, members, workspaces
from server_ext.services.scope import Scope
from tests.conftest import NewActor
from tests.support import Tenant

OpenScope = Callable[[Tenant], Any]


@pytest.fixture
def unwalled(services: Services) -> Iterator[OpenScope]:
    """A function that opens a scope as a superuser, whom no policy stops; undone at the end."""
    engine = make_engine(roles.url(find_home(services.home), "postgres"))

    @contextmanager
    def open_scope(tenant: Tenant) -> Iterator[Scope]:
        with engine.connect() as connection, connection.begin() as transaction:
            yield Scope(connection, tenant.id, tenant.actor, "owner", tenant.database)
            transaction.rollback()

    yield open_scope
    engine.dispose()


@pytest.fixture
def theirs(stranger: Tenant, new_actor: NewActor) -> dict[str, str]:
    """Ids of what a stranger's workspace has."""
    member = new_actor(stranger, "viewer")
    with stranger.scope() as scope:
        token = api_tokens.create(scope, ApiTokenSpec("theirs"))
        invitation = invitations.create(scope, InvitationSpec("a@example.com"))
    return {
        "member": str(member.user_id),
        "token": str(token.api_token.id),
        "invitation": str(invitation.invitation.id),
    }


def everything(scope: Scope) -> list[list[Any]]:
    tables = (memberships, token_table, invitation_table, workspace_table)
    return [scope.connection.execute(sa.select(table).order_by(*table.primary_key)).all() for table in tables]


def test_the_wall_is_gone(tenant: Tenant, stranger: Tenant, unwalled: OpenScope) -> None:
    with unwalled(tenant) as scope:
        here = set(scope.connection.execute(sa.select(memberships.c.workspace_id)).scalars())
    assert {tenant.id, stranger.id} <= here


def test_lists_hold_ones_own(tenant: Tenant, theirs: dict[str, str], unwalled: OpenScope) -> None:
    with unwalled(tenant) as scope:
        assert [one.id for one in members.list_members(scope, MemberQuery()).items] == [tenant.actor.user_id]
        assert invitations.list_invitations(scope, InvitationQuery()).items == []
        assert api_tokens.list_tokens(scope, ApiTokenQuery(everybody=True)).items == []
        assert workspaces.get(scope).id == tenant.id


@pytest.mark.parametrize(
    ("what", "use_case"),
    [
        ("member", members.get),
        ("member", lambda scope, user: members.change_role(scope, user, "admin")),
        ("member", members.remove),
        ("member", workspaces.transfer),
        ("token", api_tokens.revoke),
        ("invitation", invitations.revoke),
    ],
)
def test_what_is_anothers_is_not_found_and_stays(
    tenant: Tenant, theirs: dict[str, str], unwalled: OpenScope, what: str, use_case: Callable[[Scope, str], Any]
) -> None:
    with unwalled(tenant) as scope:
        before = everything(scope)
        with pytest.raises(NotFound):
            use_case(scope, theirs[what])
        assert everything(scope) == before


def test_changes_of_ones_own_touch_nothing_of_others(
    tenant: Tenant, stranger: Tenant, new_actor: NewActor, unwalled: OpenScope
) -> None:
    both = new_actor(tenant, "admin")
    with stranger.database.transaction(stranger.id) as connection:
        row = {"workspace_id": stranger.id, "user_id": both.user_id, "role": "owner"}
        connection.execute(sa.insert(memberships).values(**row))
    with unwalled(stranger) as scope:
        foreign = [[row for row in rows if stranger.id in row] for rows in everything(scope)]
    with unwalled(tenant) as scope:
        workspaces.update(scope, WorkspacePatch(name="Mine", slug="mine"))
        members.change_role(scope, str(both.user_id), "owner")
        members.remove(scope, str(both.user_id))
        assert [[row for row in rows if stranger.id in row] for rows in everything(scope)] == foreign
