"""Who may change who belongs to a workspace."""

from __future__ import annotations

import itertools
import random
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.api_tokens import ApiTokenSpec
from promptcard_ext.core.contract.invitations import InvitationQuery, InvitationSpec
from promptcard_ext.core.contract.members import MemberQuery, Role
from promptcard_ext.core.errors import Conflict, Denied, NotFound, PromptCardError
from server_ext.auth.actor import Actor
from server_ext.auth.permissions import ROLES
from server_ext.db.tables import audit_log, memberships
from server_ext.services import api_tokens, invitations, members, workspaces
from server_ext.services.precondition import etag_of, if_match
from server_ext.services.scope import Scope, open_scope
from tests.conftest import NewActor
from tests.services.roles import may, refusal
from tests.support import Tenant

USE_CASES: dict[str, tuple[Role, Callable[[Scope, str], Any]]] = {
    "list members": ("viewer", lambda scope, user: members.list_members(scope, MemberQuery())),
    "read a member": ("viewer", lambda scope, user: members.get(scope, user)),
    "change a role": ("admin", lambda scope, user: members.change_role(scope, user, "member")),
    "remove a member": ("owner", lambda scope, user: members.remove(scope, user)),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("what", USE_CASES)
def test_a_role_may_do_what_is_its_own_and_no_more(tenant: Tenant, new_actor: NewActor, role: Role, what: str) -> None:
    actor, other = new_actor(tenant, role), new_actor(tenant, "viewer")
    lowest, use_case = USE_CASES[what]
    allowed = may(tenant, actor, lambda scope: use_case(scope, str(other.user_id)))
    assert allowed == (ROLES.index(role) <= ROLES.index(lowest))


@pytest.mark.parametrize(("before", "after"), [*itertools.permutations(ROLES, 2)])
@pytest.mark.parametrize("role", ROLES)
def test_nobody_gives_or_takes_more_than_they_have(
    tenant: Tenant, new_actor: NewActor, role: Role, before: Role, after: Role
) -> None:
    actor, other = new_actor(tenant, role), new_actor(tenant, before)
    allowed = may(tenant, actor, lambda scope: members.change_role(scope, str(other.user_id), after))
    assert allowed == (role == "owner" or (role == "admin" and "owner" not in (before, after)))


def test_a_change_of_role_holds_and_is_in_the_trail(tenant: Tenant, new_actor: NewActor) -> None:
    other = new_actor(tenant, "viewer")
    with tenant.scope() as scope:
        assert members.change_role(scope, str(other.user_id), "admin").role == "admin"
    assert ("member.role_changed", str(other.user_id), {"before": "viewer", "after": "admin", "source": "local"}) in (
        trail(tenant)
    )
    assert may(tenant, other, lambda scope: scope.require("user:create"))


def trail(tenant: Tenant) -> list[tuple[str, str, Any]]:
    query = sa.select(audit_log.c.action, audit_log.c.object_id, audit_log.c.detail).order_by(audit_log.c.seq)
    with tenant.scope() as scope:
        return [tuple(row) for row in scope.connection.execute(query)]


def test_a_change_needs_the_state_that_it_is_based_on(tenant: Tenant, new_actor: NewActor) -> None:
    other = str(new_actor(tenant, "viewer").user_id)
    with tenant.scope() as scope:
        seen = etag_of(members.get(scope, other))
        members.change_role(scope, other, "member", if_match(f'"{seen}"'))
        with pytest.raises(Conflict) as refused:
            members.change_role(scope, other, "admin", if_match(f'"{seen}"'))
    assert refused.value.code == "etag_mismatch"
    assert refused.value.current.role == "member"


def test_addresses_are_shown_to_those_who_may_read_users(tenant: Tenant, new_actor: NewActor) -> None:
    other = new_actor(tenant, "member")
    with tenant.database.transaction(user_id=other.user_id) as connection:
        connection.execute(sa.text("update users set email = 'grace@example.com'"))
    for role in ROLES:
        with open_scope(tenant.database, new_actor(tenant, role), str(tenant.id)) as scope:
            shown = members.get(scope, str(other.user_id)).email
            listed = {one.email for one in members.list_members(scope, MemberQuery()).items} - {None}
        assert (shown, listed) == (
            ("grace@example.com", {"grace@example.com"}) if role in ("owner", "admin") else (None, set())
        )


def test_pages_hold_all_members_once(tenant: Tenant, new_actor: NewActor) -> None:
    expected = {tenant.actor.user_id} | {new_actor(tenant).user_id for _ in range(6)}
    found: list[uuid.UUID] = []
    cursor = None
    with tenant.scope() as scope:
        while True:
            page = members.list_members(scope, MemberQuery(cursor, 3))
            found += [member.id for member in page.items]
            cursor = page.next
            if cursor is None:
                break
    assert len(found) == 7
    assert set(found) == expected


@pytest.mark.parametrize("use_case", [use_case for _, use_case in USE_CASES.values()][1:])
def test_strangers_and_nobody_look_the_same(
    tenant: Tenant, stranger: Tenant, use_case: Callable[[Scope, str], Any]
) -> None:
    references = (str(stranger.actor.user_id), str(uuid.uuid4()), "nobody")
    answers = [refusal(tenant, use_case, reference) for reference in references]
    assert answers[0]["code"] == "not_found"
    assert answers[0] == answers[1] == answers[2]


def test_the_last_owner_stays(tenant: Tenant, new_actor: NewActor) -> None:
    me = str(tenant.actor.user_id)
    new_actor(tenant, "admin")
    for attempt in (lambda scope: members.change_role(scope, me, "admin"), lambda scope: members.remove(scope, me)):
        with pytest.raises(Conflict) as refused, tenant.scope() as scope:
            attempt(scope)
        assert refused.value.code == "last_owner"
    other = new_actor(tenant, "owner")
    with tenant.scope() as scope:
        members.change_role(scope, me, "admin")
    with pytest.raises(Conflict), open_scope(tenant.database, other, str(tenant.id)) as scope:
        members.change_role(scope, str(other.user_id), "member")


ENDS: dict[str, Callable[[Scope, str], Any]] = {
    "demote": lambda scope, user: members.change_role(scope, user, "admin"),
    "remove": members.remove,
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("turn", range(4))
def test_of_owners_who_end_each_other_at_once_one_remains(
    tenant: Tenant, new_actor: NewActor, end: str, turn: int
) -> None:
    owners = [new_actor(tenant, "owner"), new_actor(tenant, "owner")]
    with tenant.scope() as scope:
        members.change_role(scope, str(tenant.actor.user_id), "member")
    gate = threading.Barrier(2)

    def work(mine: int) -> str:
        # Both have their rights read before either changes anything.
        with open_scope(tenant.database, owners[mine], str(tenant.id)) as scope:
            gate.wait()
            try:
                ENDS[end](scope, str(owners[1 - mine].user_id))
            except (Denied, NotFound, Conflict) as error:
                return error.code
        return "done"

    with ThreadPoolExecutor(2) as pool:
        ends = sorted(pool.map(work, range(2)))
    assert ends == (["denied", "done"] if end == "demote" else ["done", "not_found"])
    assert roles(tenant).count("owner") == 1


def roles(tenant: Tenant) -> list[str]:
    with tenant.database.transaction(tenant.id) as connection:
        return list(connection.execute(sa.select(memberships.c.role)).scalars())


def test_whoever_was_demoted_meanwhile_may_do_no_more_than_before(tenant: Tenant, new_actor: NewActor) -> None:
    admin, other = new_actor(tenant, "admin"), new_actor(tenant, "viewer")
    with open_scope(tenant.database, admin, str(tenant.id)) as scope:
        with tenant.scope() as mine:
            members.change_role(mine, str(admin.user_id), "member")
        with pytest.raises(Denied):
            members.change_role(scope, str(other.user_id), "admin")


def test_tokens_end_with_the_membership(tenant: Tenant, new_actor: NewActor) -> None:
    other = new_actor(tenant, "member")
    with open_scope(tenant.database, other, str(tenant.id)) as scope:
        made = api_tokens.create(scope, ApiTokenSpec("mine"))
    assert api_tokens.authenticate(tenant.database, made.token).user_id == other.user_id
    with tenant.scope() as scope:
        members.remove(scope, str(other.user_id))
    with tenant.database.transaction(tenant.id) as connection:
        connection.execute(sa.insert(memberships).values(workspace_id=tenant.id, user_id=other.user_id, role="member"))
    with pytest.raises(PromptCardError) as refused:
        api_tokens.authenticate(tenant.database, made.token)
    assert refused.value.code == "token_invalid"


@pytest.mark.parametrize("end", [*ENDS, "promote"])
def test_what_the_hub_says_is_changed_in_the_hub(tenant: Tenant, new_actor: NewActor, end: str) -> None:
    other = new_actor(tenant, "member")
    with tenant.database.transaction(tenant.id) as connection:
        synced = sa.update(memberships).where(memberships.c.user_id == other.user_id).values(source="hub")
        connection.execute(synced)
    with pytest.raises(Conflict) as refused, tenant.scope() as scope:
        {**ENDS, "promote": lambda scope, user: members.change_role(scope, user, "owner")}[end](
            scope, str(other.user_id)
        )
    assert refused.value.code == "member_synced"


def test_an_operator_acts_without_belonging(tenant: Tenant, new_actor: NewActor) -> None:
    other = new_actor(tenant, "viewer")
    operator = Actor(uuid.uuid4(), "root", via="operator")
    with tenant.database.transaction(tenant.id) as connection:
        scope = Scope(connection, tenant.id, operator, "owner", tenant.database)
        members.change_role(scope, str(other.user_id), "owner")
    assert roles(tenant).count("owner") == 2


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_at_once_nothing_breaks_and_an_owner_remains(
    tenant: Tenant, new_actor: NewActor, seed: int
) -> None:
    people = [new_actor(tenant, role) for role in ("owner", "owner", "admin", "member")]
    with tenant.scope() as scope:
        members.change_role(scope, str(tenant.actor.user_id), "viewer")
    gate = threading.Barrier(6)

    def work(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        gate.wait()
        for _ in range(12):
            actor, other = chance.sample(people, 2)
            with suppress(Denied, NotFound, Conflict):  # all else, such as a deadlock, is a fault
                attempt(tenant, chance, actor, str(other.user_id))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert "owner" in roles(tenant)


def attempt(tenant: Tenant, chance: random.Random, actor: Actor, other: str) -> None:
    """Do one thing of many, among them things that take what others take, in another order."""
    what = chance.choice(["role", "role", "remove", "leave", "transfer", "invite", "revoke", "token"])
    if what == "invite":
        with open_scope(tenant.database, actor, str(tenant.id)) as scope:
            made = invitations.create(scope, InvitationSpec("a@example.com", chance.choice(ROLES)))
        invitations.accept(tenant.database, made.token, Actor(uuid.UUID(other), "Grace"))
        return
    with open_scope(tenant.database, actor, str(tenant.id)) as scope:
        if what == "role":
            members.change_role(scope, other, chance.choice(ROLES))
        elif what == "remove":
            members.remove(scope, other)
        elif what == "leave":
            workspaces.leave(scope)
        elif what == "transfer":
            workspaces.transfer(scope, other)
        elif what == "token":
            api_tokens.revoke(scope, str(api_tokens.create(scope, ApiTokenSpec("mine")).api_token.id))
        else:
            invitations.create(scope, InvitationSpec("a@example.com", "viewer"))
            for one in invitations.list_invitations(scope, InvitationQuery()).items:
                invitations.revoke(scope, str(one.id))
