"""API tokens open one workspace, for what they were made for, until their day."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import msgspec
import psycopg
import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.api_tokens import ApiTokenQuery, ApiTokenSpec, NewApiToken, Purpose
from promptcard_ext.core.contract.members import Role
from promptcard_ext.core.errors import CardError, Denied, NotFound, Unauthenticated
from server_ext.auth.actor import Actor
from server_ext.auth.opaque import new_token
from server_ext.auth.permissions import ROLES, expand_scopes
from server_ext.db.engine import Database
from server_ext.db.tables import api_tokens as table
from server_ext.db.tables import audit_log, memberships
from server_ext.embedded import Services
from server_ext.services import api_tokens, changes
from server_ext.services.changes import Change
from server_ext.services.scope import Scope, open_scope
from tests.conftest import NewActor
from tests.services.roles import may, refusal
from tests.support import Tenant, new_tenant

SPEC = ApiTokenSpec("mine")
USE_CASES: dict[str, tuple[Role, Callable[[Scope, str], Any]]] = {
    "make one": ("viewer", lambda scope, token: api_tokens.create(scope, SPEC)),
    "list one's own": ("viewer", lambda scope, token: api_tokens.list_tokens(scope, ApiTokenQuery())),
    "list everybody's": ("admin", lambda scope, token: api_tokens.list_tokens(scope, ApiTokenQuery(everybody=True))),
}


def make(tenant: Tenant, actor: Actor | None = None, spec: ApiTokenSpec = SPEC) -> NewApiToken:
    with open_scope(tenant.database, actor or tenant.actor, str(tenant.id)) as scope:
        return api_tokens.create(scope, spec)


@contextmanager
def as_token(tenant: Tenant, text: str) -> Iterator[Scope]:
    with open_scope(tenant.database, api_tokens.authenticate(tenant.database, text), str(tenant.id)) as scope:
        yield scope


def code_of(database: Database, text: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        api_tokens.authenticate(database, text)
    return refused.value.code


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("what", USE_CASES)
def test_a_role_may_do_what_is_its_own_and_no_more(tenant: Tenant, new_actor: NewActor, role: Role, what: str) -> None:
    lowest, use_case = USE_CASES[what]
    allowed = may(tenant, new_actor(tenant, role), lambda scope: use_case(scope, ""))
    assert allowed == (ROLES.index(role) <= ROLES.index(lowest))


@pytest.mark.parametrize("role", ROLES)
def test_anothers_token_is_revoked_by_owners_and_admins_and_hidden_from_the_rest(
    tenant: Tenant, new_actor: NewActor, role: Role
) -> None:
    made = make(tenant)
    with open_scope(tenant.database, new_actor(tenant, role), str(tenant.id)) as scope:
        if role in ("owner", "admin"):
            api_tokens.revoke(scope, str(made.api_token.id))
        else:
            with pytest.raises(NotFound):
                api_tokens.revoke(scope, str(made.api_token.id))
    assert (made.api_token.id in {one.id for one in listed(tenant)}) == (role not in ("owner", "admin"))


def listed(tenant: Tenant, actor: Actor | None = None, **query: Any) -> list[Any]:
    with open_scope(tenant.database, actor or tenant.actor, str(tenant.id)) as scope:
        return api_tokens.list_tokens(scope, ApiTokenQuery(**query)).items


@pytest.mark.parametrize(
    ("purpose", "kind"), [("api", "human"), ("service", "service"), ("kernel", "kernel"), ("job", "job")]
)
def test_a_token_acts_for_its_maker_in_its_workspace(tenant: Tenant, purpose: Purpose, kind: str) -> None:
    made = make(tenant, spec=ApiTokenSpec("mine", purpose))
    actor = api_tokens.authenticate(tenant.database, made.token)
    assert actor == Actor(
        tenant.actor.user_id, "Ada", kind=kind, via="token", workspace_id=tenant.id, token_id=made.api_token.id
    )  # type: ignore[arg-type]


def test_a_token_is_shown_once_and_its_secret_kept_nowhere(tenant: Tenant) -> None:
    made = make(tenant)
    assert made.token.startswith("pct_")
    assert made.api_token.preview == f"pct_…{made.token[-4:]}"
    secret = base64.urlsafe_b64decode(made.token[4:] + "==")[32:]
    with tenant.database.transaction(tenant.id) as connection:
        rows = [str(connection.execute(sa.select(one)).all()) for one in (table, audit_log)]
    assert not any(made.token[-40:] in text or secret.hex() in text or repr(secret) in text for text in rows)
    assert made.token not in repr(made)
    assert made.token not in repr(listed(tenant))


def forms(text: str) -> dict[str, str]:
    raw = base64.urlsafe_b64decode(text[4:] + "==")
    spell = lambda changed: "pct_" + base64.urlsafe_b64encode(changed).rstrip(b"=").decode()  # noqa: E731
    return {
        "empty": "",
        "prefix only": "pct_",
        "other prefix": "pci_" + text[4:],
        "upper case": text.upper(),
        "cut": text[:-1],
        "longer": text + "A",
        "padded": text + "==",
        "line break": text + "\n",
        "blank": " " + text,
        "another spelling of the same bits": text[:-1] + chr(ord(text[-1]) + 1),
        "other alphabet": "pct_" + base64.b64encode(b"\xfb\xff" * 32).rstrip(b"=").decode(),
        "not ascii": text[:-1] + "é",
        "nul": text[:40] + "\x00" + text[41:],
        "surrogate": text[:-1] + "\ud800",
        "full-width": "pct_" + "\uff21" * 86,
        "huge": "pct_" + "A" * 1_000_000,
        "other secret": spell(raw[:-1] + bytes([raw[-1] ^ 1])),
        "zero secret": spell(raw[:32] + bytes(32)),
        "other token": spell(raw[:16] + uuid.uuid4().bytes + raw[32:]),
        "other workspace": spell(uuid.uuid4().bytes + raw[16:]),
    }


@pytest.mark.parametrize("form", forms("pct_" + "A" * 86))
def test_what_was_not_handed_out_is_refused(tenant: Tenant, form: str) -> None:
    made = make(tenant)
    assert code_of(tenant.database, forms(made.token)[form]) == "token_invalid"
    assert api_tokens.authenticate(tenant.database, made.token)


def test_a_token_moved_to_a_workspace_of_the_same_user_is_refused(tenant: Tenant, stranger: Tenant) -> None:
    raw = base64.urlsafe_b64decode(make(tenant).token[4:] + "==")
    moved = "pct_" + base64.urlsafe_b64encode(stranger.id.bytes + raw[16:]).rstrip(b"=").decode()
    assert code_of(tenant.database, moved) == "token_invalid"


def test_revoked_looks_like_never_made(tenant: Tenant) -> None:
    made = make(tenant)
    with tenant.scope() as scope:
        api_tokens.revoke(scope, str(made.api_token.id))
    with pytest.raises(Unauthenticated) as revoked:
        api_tokens.authenticate(tenant.database, made.token)
    with pytest.raises(Unauthenticated) as unknown:
        api_tokens.authenticate(tenant.database, forms(made.token)["other token"])
    assert revoked.value.to_dict() == unknown.value.to_dict()
    with pytest.raises(NotFound), tenant.scope() as scope:
        api_tokens.revoke(scope, str(made.api_token.id))


def test_a_token_ends_on_its_day(tenant: Tenant) -> None:
    made = make(tenant, spec=ApiTokenSpec("mine", expires_in_days=1)).api_token
    assert made.expires_at - made.created_at == timedelta(days=1)
    old = expired(tenant)
    assert code_of(tenant.database, old) == "token_expired"
    assert code_of(tenant.database, forms(old)["other secret"]) == "token_invalid"
    assert sorted(one.expired for one in listed(tenant)) == [False, True]


def expired(tenant: Tenant) -> str:
    token = new_token(tenant.id, uuid.uuid4())
    row = {"workspace_id": tenant.id, "id": token.id, "user_id": tenant.actor.user_id, "secret_hash": token.hash}
    row |= {"name": "old", "purpose": "api", "last_four": "abcd", "expires_at": sa.func.now() - timedelta(seconds=1)}
    with tenant.database.transaction(tenant.id) as connection:
        connection.execute(sa.insert(table).values(**row))
    return token.text("pct_")


def test_a_token_of_somebody_who_is_out_is_refused(tenant: Tenant, new_actor: NewActor) -> None:
    other = new_actor(tenant)
    made = make(tenant, other)
    with tenant.database.transaction(tenant.id) as connection:
        connection.execute(sa.delete(memberships).where(memberships.c.user_id == other.user_id))
    assert code_of(tenant.database, made.token) == "token_invalid"


def test_a_token_of_a_locked_account_is_refused(tenant: Tenant, new_actor: NewActor) -> None:
    other = new_actor(tenant)
    made = make(tenant, other)
    with tenant.database.transaction(user_id=other.user_id) as connection:
        connection.execute(sa.text("update users set disabled_at = now()"))
    assert code_of(tenant.database, made.token) == "token_invalid"


def test_a_use_is_noted_once_a_minute(tenant: Tenant) -> None:
    made = make(tenant)
    assert listed(tenant)[0].last_used_at is None
    api_tokens.authenticate(tenant.database, made.token)
    first = listed(tenant)[0].last_used_at
    api_tokens.authenticate(tenant.database, made.token)
    assert listed(tenant)[0].last_used_at == first
    with tenant.database.transaction(tenant.id) as connection:
        connection.execute(sa.update(table).values(last_used_at=sa.func.now() - timedelta(seconds=61)))
    api_tokens.authenticate(tenant.database, made.token)
    assert listed(tenant)[0].last_used_at > first


def test_a_token_does_what_its_scopes_and_the_role_allow(tenant: Tenant, new_actor: NewActor) -> None:
    viewer = new_actor(tenant, "viewer")
    spec = ApiTokenSpec("mine", scopes=["prompt:*", "workspace:read"])
    for actor, writes in ((tenant.actor, True), (viewer, False)):
        with as_token(tenant, make(tenant, actor, spec).token) as scope:
            scope.require("prompt:read")
            with pytest.raises(Denied):
                scope.require("test:read")
            if writes:
                scope.require("prompt:update")
            else:
                with pytest.raises(Denied):
                    scope.require("prompt:update")


def test_a_token_opens_no_other_workspace(tenant: Tenant, database: Database) -> None:
    another = new_tenant(database, tenant.actor)
    actor = api_tokens.authenticate(database, make(tenant).token)
    with pytest.raises(NotFound), open_scope(database, actor, str(another.id)):
        pass


def test_a_token_makes_no_token_that_may_more(tenant: Tenant) -> None:
    wide = ["token:*", "prompt:read"]
    first = make(tenant, spec=ApiTokenSpec("first", scopes=wide))
    with as_token(tenant, first.token) as scope:
        for scopes in (["prompt:*"], ["owner"], ["token:create", "audit:read"]):
            with pytest.raises(Denied) as refused:
                api_tokens.create(scope, ApiTokenSpec("second", scopes=scopes))
            assert refused.value.code == "scope_missing"
        same = api_tokens.create(scope, ApiTokenSpec("second"))
        less = api_tokens.create(scope, ApiTokenSpec("third", scopes=["prompt:read"]))
    assert same.api_token.scopes == sorted(expand_scopes(wide))
    assert less.api_token.scopes == ["prompt:read"]


def test_a_token_makes_no_token_that_lasts_longer(tenant: Tenant) -> None:
    first = make(tenant, spec=ApiTokenSpec("first", expires_in_days=2))
    with as_token(tenant, first.token) as scope:
        longer = api_tokens.create(scope, ApiTokenSpec("second", expires_in_days=300))
        shorter = api_tokens.create(scope, ApiTokenSpec("third", expires_in_days=1))
    assert longer.api_token.expires_at == first.api_token.expires_at
    assert shorter.api_token.expires_at < first.api_token.expires_at


@pytest.mark.parametrize("purpose", ["kernel", "job"])
def test_kernels_and_jobs_make_no_tokens(tenant: Tenant, purpose: Purpose) -> None:
    made = make(tenant, spec=ApiTokenSpec("mine", purpose))
    with pytest.raises(Denied), as_token(tenant, made.token) as scope:
        api_tokens.create(scope, SPEC)


def test_a_scope_that_does_not_exist_is_refused(tenant: Tenant) -> None:
    with pytest.raises(CardError) as refused:
        make(tenant, spec=ApiTokenSpec("mine", scopes=["prompt:burn"]))
    assert refused.value.code == "scope_unknown"


def test_everybody_lists_their_own_and_admins_those_of_all(tenant: Tenant, new_actor: NewActor) -> None:
    viewer, admin = new_actor(tenant, "viewer"), new_actor(tenant, "admin")
    ids = [make(tenant, actor).api_token.id for actor in (tenant.actor, viewer, admin)]
    assert [one.id for one in listed(tenant, viewer)] == [ids[1]]
    assert [one.id for one in listed(tenant, admin)] == [ids[2]]
    assert [one.id for one in listed(tenant, admin, everybody=True)] == ids[::-1]


def test_pages_hold_all_tokens_once(tenant: Tenant) -> None:
    made = [make(tenant).api_token.id for _ in range(5)]
    found: list[uuid.UUID] = []
    cursor = None
    with tenant.scope() as scope:
        while True:
            page = api_tokens.list_tokens(scope, ApiTokenQuery(cursor=cursor, limit=2))
            found += [one.id for one in page.items]
            cursor = page.next
            if cursor is None:
                break
    assert found == made[::-1]


def test_tokens_of_others_and_no_tokens_look_the_same(tenant: Tenant, stranger: Tenant) -> None:
    references = (str(make(stranger).api_token.id), str(uuid.uuid4()), "mine")
    answers = [refusal(tenant, api_tokens.revoke, reference) for reference in references]
    assert answers[0]["code"] == "not_found"
    assert answers[0] == answers[1] == answers[2]


def test_a_revoked_token_is_news(tenant: Tenant, services: Services) -> None:
    made = make(tenant)
    listener = psycopg.connect(services.database_url.replace("+psycopg", ""), autocommit=True)
    with listener:
        listener.execute(f"listen {changes.CHANNEL}")
        with tenant.scope() as scope:
            api_tokens.revoke(scope, str(made.api_token.id))
        heard = [msgspec.json.decode(one.payload, type=Change) for one in listener.notifies(timeout=5, stop_after=1)]
    assert heard == [Change(tenant.id, "session", str(made.api_token.id))]
