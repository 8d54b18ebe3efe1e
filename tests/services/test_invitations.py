"""An invitation makes one member, once, until its day."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.invitations import InvitationQuery, InvitationSpec, NewInvitation
from promptcard_ext.core.contract.members import Role
from promptcard_ext.core.errors import CardError, Conflict, Denied, NotFound, PromptCardError, Unauthenticated
from server_ext.auth.actor import Actor
from server_ext.auth.opaque import new_token
from server_ext.auth.permissions import ROLES
from server_ext.db.engine import Database
from server_ext.db.tables import audit_log, memberships, users
from server_ext.db.tables import invitations as table
from server_ext.services import accounts, invitations, members, workspaces
from server_ext.services.operators import operator_scope
from server_ext.services.scope import Scope, open_scope
from tests.conftest import NewActor
from tests.services.roles import may, refusal
from tests.support import Tenant

PASSWORD = "correct horse battery staple"
USE_CASES: dict[str, tuple[Role, Callable[[Scope], Any]]] = {
    "list": ("admin", lambda scope: invitations.list_invitations(scope, InvitationQuery())),
    "invite": ("admin", lambda scope: invitations.create(scope, InvitationSpec("a@example.com"))),
}


def address() -> str:
    return f"grace-{uuid.uuid4().hex[:10]}@example.com"


def invite(tenant: Tenant, role: Role = "member", actor: Actor | None = None, email: str = "") -> NewInvitation:
    with open_scope(tenant.database, actor or tenant.actor, str(tenant.id)) as scope:
        return invitations.create(scope, InvitationSpec(email or address(), role))


def open_now(tenant: Tenant) -> list[uuid.UUID]:
    with tenant.scope() as scope:
        return [one.id for one in invitations.list_invitations(scope, InvitationQuery()).items]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("what", USE_CASES)
def test_a_role_may_do_what_is_its_own_and_no_more(tenant: Tenant, new_actor: NewActor, role: Role, what: str) -> None:
    lowest, use_case = USE_CASES[what]
    assert may(tenant, new_actor(tenant, role), use_case) == (ROLES.index(role) <= ROLES.index(lowest))


@pytest.mark.parametrize("role", ROLES)
def test_who_may_invite_may_take_back(tenant: Tenant, new_actor: NewActor, role: Role) -> None:
    made = str(invite(tenant).invitation.id)
    allowed = may(tenant, new_actor(tenant, role), lambda scope: invitations.revoke(scope, made))
    assert allowed == (role in ("owner", "admin"))


@pytest.mark.parametrize(("role", "into"), [*itertools.product(("owner", "admin"), ROLES)])
def test_nobody_invites_above_themselves(tenant: Tenant, new_actor: NewActor, role: Role, into: Role) -> None:
    actor = new_actor(tenant, role)
    allowed = may(tenant, actor, lambda scope: invitations.create(scope, InvitationSpec("a@example.com", into)))
    assert allowed == (ROLES.index(into) >= ROLES.index(role))


def test_whoever_is_known_becomes_a_member(tenant: Tenant, new_actor: NewActor) -> None:
    made, guest = invite(tenant, "admin"), new_actor()
    shown = invitations.accept(tenant.database, made.token, guest)
    assert (shown.id, shown.role) == (tenant.id, "admin")
    with open_scope(tenant.database, guest, str(tenant.id)) as scope:
        assert members.get(scope, str(guest.user_id)).source == "local"
    assert open_now(tenant) == []
    assert actions(tenant)[-3:] == ["invitation.created", "member.added", "invitation.accepted"]


def actions(tenant: Tenant) -> list[str]:
    query = sa.select(audit_log.c.action).where(audit_log.c.workspace_id == tenant.id).order_by(audit_log.c.seq)
    with tenant.database.transaction(tenant.id) as connection:
        return list(connection.execute(query).scalars())


def test_somebody_new_gets_an_account(tenant: Tenant) -> None:
    email = address()
    made = invite(tenant, "viewer", email=email)
    shown = invitations.accept(tenant.database, made.token, None, "Grace", PASSWORD)
    assert shown.role == "viewer"
    with tenant.scope() as scope:
        found = {(one.name, one.email, one.role) for one in members.list_members(scope, members.MemberQuery()).items}
    assert ("Grace", email, "viewer") in found


def test_without_a_name_the_account_is_called_after_the_address(tenant: Tenant) -> None:
    email = address()
    invitations.accept(tenant.database, invite(tenant, email=email).token, None, None, PASSWORD)
    with tenant.scope() as scope:
        names = {one.name for one in members.list_members(scope, members.MemberQuery()).items}
    assert email.partition("@")[0] in names


def test_whoever_has_an_account_logs_in_first(tenant: Tenant) -> None:
    email = address()
    accounts.create_user(tenant.database, "Grace", email, PASSWORD)
    made = invite(tenant, email=email)
    with pytest.raises(Conflict) as refused:
        invitations.accept(tenant.database, made.token, None, "Eve", PASSWORD)
    assert refused.value.code == "account_exists"
    assert open_now(tenant) == [made.invitation.id]


def test_somebody_unknown_needs_a_password(tenant: Tenant) -> None:
    made = invite(tenant)
    for password in (None, ""):
        with pytest.raises(Unauthenticated):
            invitations.accept(tenant.database, made.token, None, "Grace", password)
    with pytest.raises(CardError) as refused:
        invitations.accept(tenant.database, made.token, None, "Grace", "short")
    assert refused.value.code == "password_refused"
    assert open_now(tenant) == [made.invitation.id]


def expired(tenant: Tenant) -> str:
    token = new_token(tenant.id, uuid.uuid4())
    row = {"workspace_id": tenant.id, "id": token.id, "secret_hash": token.hash, "created_by": tenant.actor.user_id}
    row |= {"email": address(), "role": "member", "expires_at": sa.func.now() - timedelta(seconds=1)}
    with tenant.database.transaction(tenant.id) as connection:
        connection.execute(sa.insert(table).values(**row))
    return token.text("pci_")


def used(tenant: Tenant, new_actor: NewActor) -> str:
    token = invite(tenant).token
    invitations.accept(tenant.database, token, new_actor())
    return token


def revoked(tenant: Tenant) -> str:
    made = invite(tenant)
    with tenant.scope() as scope:
        invitations.revoke(scope, str(made.invitation.id))
    return made.token


def forged(text: str) -> list[str]:
    raw = base64.urlsafe_b64decode(text[4:] + "==")
    changed = [
        raw[:-1] + bytes([raw[-1] ^ 1]),
        raw[:32] + bytes(32),
        raw[:16] + uuid.uuid4().bytes + raw[32:],
        uuid.uuid4().bytes + raw[16:],
        raw[:-1],
        raw + b"x",
    ]
    spelled = ["pci_" + base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in changed]
    return [*spelled, "pct_" + text[4:], text[4:], text + "=", text + "\n", "", "pci_", "é", "\ud800", "A" * 100_000]


def test_used_expired_revoked_and_forged_all_look_the_same(tenant: Tenant, new_actor: NewActor) -> None:
    bad = [used(tenant, new_actor), expired(tenant), revoked(tenant), *forged(invite(tenant).token)]
    answers = set()
    for text, known in itertools.product(bad, (True, False)):
        actor = new_actor() if known else None
        with pytest.raises(NotFound) as refused:
            invitations.accept(tenant.database, text, actor, "Grace", PASSWORD)
        answers.add(tuple(refused.value.to_dict().items()))
    assert len(answers) == 1


def test_a_bad_token_makes_no_account(tenant: Tenant, database: Database) -> None:
    email = address()
    made = invite(tenant, email=email)
    with tenant.scope() as scope:
        invitations.revoke(scope, str(made.invitation.id))
    with pytest.raises(NotFound):
        invitations.accept(database, made.token, None, "Grace", PASSWORD)
    with pytest.raises(NotFound):
        accounts.find_account(database, email)


def test_of_many_who_accept_at_once_one_gets_in(tenant: Tenant, new_actor: NewActor) -> None:
    token = invite(tenant).token
    guests = [new_actor() for _ in range(6)]
    gate = threading.Barrier(6)

    def accept(guest: Actor) -> bool:
        gate.wait()
        try:
            invitations.accept(tenant.database, token, guest)
        except NotFound:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(accept, guests)) == 1
    with tenant.scope() as scope:
        assert len(members.list_members(scope, members.MemberQuery()).items) == 2


def test_a_member_stays_what_they_are_and_the_invitation_open(tenant: Tenant, new_actor: NewActor) -> None:
    made, member = invite(tenant, "owner"), new_actor(tenant, "viewer")
    with pytest.raises(Conflict) as refused:
        invitations.accept(tenant.database, made.token, member)
    assert refused.value.code == "already_member"
    with tenant.scope() as scope:
        assert members.get(scope, str(member.user_id)).role == "viewer"
    assert open_now(tenant) == [made.invitation.id]


@pytest.mark.parametrize("cut", [{"workspace_id": uuid.uuid4()}, {"scopes": frozenset(ROLES)}])
def test_a_credential_of_less_than_all_accepts_nothing(
    tenant: Tenant, new_actor: NewActor, cut: dict[str, Any]
) -> None:
    guest = dataclasses.replace(new_actor(), **cut)
    with pytest.raises(Denied) as refused:
        invitations.accept(tenant.database, invite(tenant).token, guest)
    assert refused.value.code == "scope_missing"


END = {
    "demoted to admin": ("admin", {"owner"}),
    "demoted to member": ("member", set(ROLES)),
    "removed": (None, set(ROLES)),
}


@pytest.mark.parametrize("end", END)
def test_invitations_do_not_outlive_the_right_to_make_them(tenant: Tenant, new_actor: NewActor, end: str) -> None:
    inviter = new_actor(tenant, "owner")
    made = {role: invite(tenant, role, inviter) for role in ROLES}
    mine = invite(tenant, "owner")
    role, gone = END[end]
    with tenant.scope() as scope:
        if role is None:
            members.remove(scope, str(inviter.user_id))
        else:
            members.change_role(scope, str(inviter.user_id), role)  # type: ignore[arg-type]
    assert set(open_now(tenant)) == {mine.invitation.id} | {
        one.invitation.id for role, one in made.items() if role not in gone
    }


def test_a_workspace_has_a_hundred_open_invitations_at_most(tenant: Tenant) -> None:
    expired(tenant)
    with tenant.scope() as scope:
        for _ in range(invitations.MAX_OPEN):
            made = invitations.create(scope, InvitationSpec("a@example.com"))
        with pytest.raises(CardError) as refused:
            invitations.create(scope, InvitationSpec("a@example.com"))
        assert refused.value.code == "too_many_invitations"
        invitations.revoke(scope, str(made.invitation.id))
        invitations.create(scope, InvitationSpec("a@example.com"))


def test_invitations_at_once_stay_below_the_most(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        for _ in range(invitations.MAX_OPEN - 2):
            invitations.create(scope, InvitationSpec("a@example.com"))
    gate = threading.Barrier(6)

    def one_more(_number: int) -> bool:
        gate.wait()
        try:
            invite(tenant)
        except PromptCardError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(one_more, range(6))) == 2


def test_a_token_is_shown_once_and_its_secret_kept_nowhere(tenant: Tenant) -> None:
    made = invite(tenant)
    secret = base64.urlsafe_b64decode(made.token[4:] + "==")[32:]
    with tenant.database.transaction(tenant.id) as connection:
        rows = [str(connection.execute(sa.select(one)).all()) for one in (table, audit_log)]
    assert not any(made.token[-40:] in text or secret.hex() in text or repr(secret) in text for text in rows)
    assert made.token not in repr(made)


def test_pages_hold_all_invitations_once(tenant: Tenant) -> None:
    made = [invite(tenant).invitation.id for _ in range(5)]
    found: list[uuid.UUID] = []
    cursor = None
    with tenant.scope() as scope:
        while True:
            page = invitations.list_invitations(scope, InvitationQuery(cursor, 2))
            found += [one.id for one in page.items]
            cursor = page.next
            if cursor is None:
                break
    assert found == made[::-1]


def test_invitations_of_others_and_none_look_the_same(tenant: Tenant, stranger: Tenant) -> None:
    references = (str(invite(stranger).invitation.id), str(uuid.uuid4()), "mine")
    answers = [refusal(tenant, invitations.revoke, reference) for reference in references]
    assert answers[0]["code"] == "not_found"
    assert answers[0] == answers[1] == answers[2]


def test_an_operator_invites_into_a_workspace_without_owners(tenant: Tenant, new_actor: NewActor) -> None:
    with operator_scope(tenant.database, tenant.id) as scope:
        made = invitations.create(scope, InvitationSpec("a@example.com", "owner"))
    assert made.invitation.created_by is None
    with tenant.database.transaction(tenant.id) as connection:
        connection.execute(sa.delete(memberships))
    heir = new_actor()
    assert invitations.accept(tenant.database, made.token, heir).role == "owner"
    with tenant.database.transaction(tenant.id) as connection:  # for what comes after the test
        row = {"workspace_id": tenant.id, "user_id": tenant.actor.user_id, "role": "owner"}
        connection.execute(sa.insert(memberships).values(**row))
        assert connection.execute(sa.select(sa.func.count()).select_from(users)).scalar_one() == 2
    assert workspaces.list_mine(tenant.database, heir).items[0].id == tenant.id
