"""Accounts: made once, changed by who knows the password, disabled at once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.contract.accounts import ExchangeSpec, SessionQuery, TokenPair
from promptcard_ext.core.errors import (
    CardError,
    Conflict,
    Denied,
    NotFound,
    PromptCardError,
    RateLimited,
    Unauthenticated,
)
from server_ext.auth import tokens
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.db.tables import audit_log, users
from server_ext.services import accounts, exchanges, identities, logins, sessions
from server_ext.services.scope import find_right
from tests.support import Tenant, new_tenant

PASSWORD = "correct horse battery"
NEW = "staple of another kind"
NewAccount = Callable[[], str]


@pytest.fixture
def email(database: Database) -> str:
    """The address of a fresh account."""
    address = f"Ada.{uuid.uuid4().hex[:12]}@Example.com"
    accounts.create_user(database, "Ada", address, PASSWORD)
    return address


def actor_of(database: Database, pair: TokenPair) -> Actor:
    return sessions.check_session(database, tokens.verify(database.keys, pair.access_token))


def code_of(use: Callable[[], object]) -> str:
    with pytest.raises(PromptCardError) as caught:
        use()
    return caught.value.code


def trail(tenant: Tenant) -> list[tuple[str, uuid.UUID | None]]:
    with tenant.scope() as scope:
        rows = scope.connection.execute(
            sa.select(audit_log.c.action, audit_log.c.actor_id)
            .where(audit_log.c.workspace_id == tenant.id)
            .order_by(audit_log.c.seq)
        )
        return [(row.action, row.actor_id) for row in rows][2:]  # not that the workspace was made


# -- making them -----------------------------------------------------------------------------------------------------


def test_an_account_logs_in_however_its_address_is_written(database: Database) -> None:
    name = uuid.uuid4().hex[:12]
    made = accounts.create_user(database, " Zoë ", f" Zo\u00eb.{name}@Example.COM ", PASSWORD)
    pair = logins.login(database, f"ZOE\u0308.{name.upper()}@example.com", PASSWORD)
    assert pair.user.id == made.user_id
    assert (pair.user.name, pair.user.email) == ("Zoë", f"Zoë.{name}@Example.COM")


def test_an_address_has_one_account(database: Database, email: str) -> None:
    assert code_of(lambda: accounts.create_user(database, "Eve", email.upper(), NEW)) == "account_exists"
    assert logins.login(database, email, PASSWORD).user.name == "Ada"


def test_of_two_who_make_the_same_account_at_once_one_is_told_so(database: Database) -> None:
    address, outcomes, start = f"{uuid.uuid4().hex}@example.com", [], threading.Barrier(2)

    def make(password: str) -> None:
        start.wait(30)
        try:
            accounts.create_user(database, "Ada", address, password)
            outcomes.append(password)
        except Conflict as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=make, args=(password,)) for password in (PASSWORD, NEW)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("account_exists") == 1
    (winner,) = set(outcomes) - {"account_exists"}
    assert logins.login(database, address, winner)


@pytest.mark.parametrize(
    ("name", "address", "password", "code"),
    [
        ("Ada", "ada", PASSWORD, "email_invalid"),
        ("Ada", "ada@", PASSWORD, "email_invalid"),
        ("Ada", "a b@example.com", PASSWORD, "email_invalid"),
        ("Ada", "ada@example.com\x00", PASSWORD, "email_invalid"),
        ("Ada", "ada\ud800@example.com", PASSWORD, "email_invalid"),
        ("Ada", "ß" * 64 + "@example.com", PASSWORD, "email_invalid"),
        ("Ada", "x@" + "e" * 300, PASSWORD, "email_invalid"),
        ("", "ada@example.com", PASSWORD, "user_invalid"),
        ("a\nb", "ada@example.com", PASSWORD, "user_invalid"),
        ("a" * 256, "ada@example.com", PASSWORD, "user_invalid"),
        ("Ada", "ada@example.com", "short", "password_refused"),
        ("Ada", "ada.lovelace@example.com", "ADA.lovelace", "password_refused"),
    ],
)
def test_an_account_that_would_be_none_is_not_made(
    database: Database, name: str, address: str, password: str, code: str
) -> None:
    assert code_of(lambda: accounts.create_user(database, name, address, password)) == code


@given(st.emails() | st.text(min_size=1, max_size=30).map(lambda text: f"{text}@example.com"))
def test_the_form_of_an_address_is_its_own_form(address: str) -> None:
    try:
        form = identities.subject_of(address)
    except CardError:
        return
    assert identities.subject_of(form) == form
    assert identities.subject_of(f"  {address} ") == form


# -- changing the password -------------------------------------------------------------------------------------------


def test_a_new_password_ends_all_other_sessions_and_replaces_the_token(database: Database, email: str) -> None:
    mine, other = logins.login(database, email, PASSWORD), logins.login(database, email, PASSWORD)
    me = actor_of(database, mine)
    kernel = exchanges.exchange(database, me, ExchangeSpec("kernel"))
    fresh = accounts.change_password(database, me, PASSWORD, NEW)
    assert fresh is not None
    assert (
        sessions.check_session(database, tokens.verify(database.keys, fresh.access_token)).session_id == me.session_id
    )
    for ended in (mine.access_token, other.access_token, kernel.access_token):
        claims = tokens.verify(database.keys, ended)
        assert code_of(lambda: sessions.check_session(database, claims)) == "session_ended"  # noqa: B023
    assert code_of(lambda: logins.refresh(database, other.refresh_token)) == "session_ended"
    assert actor_of(database, logins.refresh(database, mine.refresh_token)).session_id == me.session_id
    assert code_of(lambda: logins.login(database, email, PASSWORD)) == "login_failed"
    assert logins.login(database, email, NEW)


def test_only_who_knows_the_password_changes_it(database: Database, email: str) -> None:
    me = actor_of(database, logins.login(database, email, PASSWORD))
    assert code_of(lambda: accounts.change_password(database, me, NEW, NEW)) == "password_wrong"
    assert code_of(lambda: accounts.change_password(database, me, PASSWORD, "short")) == "password_refused"
    assert code_of(lambda: accounts.change_password(database, me, PASSWORD, email)) == "password_refused"
    assert actor_of(database, logins.login(database, email, PASSWORD))


def test_the_password_cannot_be_guessed_where_it_is_changed(database: Database, email: str) -> None:
    me = actor_of(database, logins.login(database, email, PASSWORD))
    codes = [code_of(lambda: accounts.change_password(database, me, "my guess is this", NEW)) for _ in range(6)]
    assert codes == ["password_wrong"] * 5 + ["login_throttled"]
    with pytest.raises(RateLimited):
        logins.login(database, email, PASSWORD)


def test_programs_change_no_password(database: Database, email: str) -> None:
    me = actor_of(database, logins.login(database, email, PASSWORD))
    for kind in ("kernel", "job", "service"):
        with pytest.raises(Denied):
            accounts.change_password(database, Actor(me.user_id, me.name, kind=kind), PASSWORD, NEW)


def test_who_has_no_password_changes_none(database: Database, me: Actor) -> None:
    assert code_of(lambda: accounts.change_password(database, me, PASSWORD, NEW)) == "password_missing"


# -- what operators do -----------------------------------------------------------------------------------------------


def test_an_operator_sets_a_password_which_ends_every_session_and_every_wait(database: Database, email: str) -> None:
    pair = logins.login(database, email, PASSWORD)
    for _ in range(5):
        assert code_of(lambda: logins.login(database, email, "my guess is this")) == "login_failed"
    assert code_of(lambda: logins.login(database, email, PASSWORD)) == "login_throttled"
    accounts.set_password(database, email, NEW)
    assert code_of(lambda: actor_of(database, pair)) == "session_ended"
    assert code_of(lambda: logins.refresh(database, pair.refresh_token)) == "session_ended"
    assert logins.login(database, email, NEW)


def test_a_disabled_user_is_out_at_once_and_looks_like_nobody(database: Database, email: str) -> None:
    pair = logins.login(database, email, PASSWORD)
    me = actor_of(database, pair)
    accounts.disable(database, email)
    assert accounts.find_account(database, email).disabled
    assert code_of(lambda: actor_of(database, pair)) == "session_ended"
    assert code_of(lambda: logins.refresh(database, pair.refresh_token)) == "session_ended"
    assert code_of(lambda: logins.login(database, email, PASSWORD)) == "login_failed"
    assert code_of(lambda: exchanges.exchange(database, Actor(me.user_id, ""), ExchangeSpec("kernel"))) == (
        "session_ended"
    )
    accounts.enable(database, str(me.user_id))
    assert code_of(lambda: actor_of(database, pair)) == "session_ended"
    assert logins.login(database, email, PASSWORD)


def test_a_disabled_user_has_no_rights_whoever_let_them_in(database: Database, email: str) -> None:
    by_hub = Actor(accounts.find_account(database, email).id, "Ada", via="hub")
    tenant = new_tenant(database, by_hub)
    accounts.disable(database, email)
    with pytest.raises(NotFound):
        find_right(database, by_hub, str(tenant.id))
    accounts.enable(database, email)
    assert find_right(database, by_hub, str(tenant.id)).role == "owner"


def test_to_disable_twice_keeps_the_first_time(database: Database, email: str) -> None:
    account = accounts.find_account(database, email)

    def since() -> object:
        with database.transaction(user_id=account.id) as connection:
            return connection.execute(sa.select(users.c.disabled_at)).scalar_one()

    accounts.disable(database, email)
    first = since()
    accounts.disable(database, email)
    assert first is not None
    assert since() == first


@pytest.mark.parametrize("user", ["nobody@example.com", "nobody", "01a221cb-64a7-7809-a3b1-40f88ba97be0", ""])
def test_operators_are_told_when_there_is_no_such_user(database: Database, user: str) -> None:
    for use in (accounts.find_account, accounts.disable, accounts.enable):
        with pytest.raises(NotFound):
            use(database, user)
    with pytest.raises(NotFound):
        accounts.set_password(database, user, NEW)


def test_a_user_without_an_address_gets_no_password(database: Database, me: Actor) -> None:
    with pytest.raises(NotFound):
        accounts.set_password(database, str(me.user_id), NEW)


def test_one_sees_oneself(database: Database, email: str, me: Actor) -> None:
    user = accounts.describe(database, actor_of(database, logins.login(database, email, PASSWORD)))
    assert (user.name, user.email) == ("Ada", email)
    assert accounts.describe(database, me).email is None


# -- the trail -------------------------------------------------------------------------------------------------------


def test_every_workspace_of_a_user_hears_of_it(database: Database, email: str, stranger: Tenant) -> None:
    someone = Actor(accounts.find_account(database, email).id, "Ada")
    tenants = [new_tenant(database, someone) for _ in range(3)]
    pair = logins.login(database, email, PASSWORD)
    me = actor_of(database, pair)
    accounts.change_password(database, me, PASSWORD, NEW)
    second = logins.refresh(database, pair.refresh_token)
    logins.refresh(database, second.refresh_token)
    assert code_of(lambda: logins.refresh(database, pair.refresh_token)) == "refresh_replayed"
    third = actor_of(database, logins.login(database, email, NEW))
    fourth = actor_of(database, logins.login(database, email, NEW))
    sessions.revoke(database, third, str(fourth.session_id))
    sessions.logout(database, third)
    sessions.revoke_all(database, someone)  # there is none left
    accounts.set_password(database, email, PASSWORD)
    accounts.disable(database, email)
    accounts.enable(database, email)
    user = someone.user_id
    expected = [
        ("session.started", user), ("password.changed", user), ("session.replayed", user), ("session.started", user),
        ("session.started", user), ("session.revoked", user), ("session.logged_out", user), ("password.set", None),
        ("user.disabled", None), ("user.enabled", None),
    ]  # fmt: skip
    for tenant in tenants:
        assert trail(tenant) == expected
    assert trail(stranger) == []


def test_after_everything_a_list_of_sessions_is_of_the_user_only(database: Database, email: str, me: Actor) -> None:
    logins.login(database, email, PASSWORD)
    mine = {session.id for session in sessions.list_mine(database, me, SessionQuery(limit=200)).items}
    theirs = actor_of(database, logins.login(database, email, PASSWORD))
    assert theirs.session_id not in mine
    with pytest.raises(NotFound):
        sessions.revoke(database, me, str(theirs.session_id))
    assert sessions.list_mine(database, theirs).items[0].current
    with pytest.raises(Unauthenticated):
        sessions.check_session(database, tokens.verify(database.keys, tokens.issue(
            database.keys, me.user_id, theirs.session_id or uuid.uuid4(), 0)))  # fmt: skip
