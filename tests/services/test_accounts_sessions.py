"""Sessions, and tokens that are got in exchange: narrower than what they are got with, and ended with it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.accounts import AccessToken, ExchangeSpec, SessionQuery, TokenPair
from promptcard_ext.core.contract.api_tokens import ApiTokenSpec
from promptcard_ext.core.errors import PromptCardError
from server_ext.auth import tokens
from server_ext.auth.actor import Actor
from server_ext.auth.permissions import expand_scopes
from server_ext.cache import Cache, Shared
from server_ext.db.engine import Database
from server_ext.db.tables import api_tokens as token_table
from server_ext.db.tables import sessions as table
from server_ext.embedded import Services
from server_ext.news import News
from server_ext.redis_line import RedisLine
from server_ext.services import accounts, api_tokens, exchanges, logins, sessions
from server_ext.services.changes import Change
from server_ext.services.scope import find_right
from tests.support import Tenant, new_tenant, wait_for

PASSWORD = "correct horse battery"
KERNEL = ExchangeSpec("kernel")
JOB = ExchangeSpec("notebook_job")


@pytest.fixture
def email(database: Database) -> str:
    """The address of a fresh account."""
    address = f"{uuid.uuid4().hex}@example.com"
    accounts.create_user(database, "Ada", address, PASSWORD)
    return address


@pytest.fixture
def person(database: Database, email: str) -> Actor:
    """Somebody who is logged in."""
    return actor_of(database, logins.login(database, email, PASSWORD, user_agent="browser"))


@pytest.fixture
def home(database: Database, person: Actor) -> Tenant:
    """A workspace of that person."""
    return new_tenant(database, Actor(person.user_id, person.name))


def actor_of(database: Database, made: TokenPair | AccessToken) -> Actor:
    return sessions.check_session(database, tokens.verify(database.keys, made.access_token))


def code_of(use: Callable[[], object]) -> str:
    with pytest.raises(PromptCardError) as caught:
        use()
    return caught.value.code


def seconds_of(database: Database, made: AccessToken) -> int:
    claims = tokens.verify(database.keys, made.access_token)
    assert claims.expires_at - claims.issued_at == made.expires_in
    return made.expires_in


def api_token(tenant: Tenant, **fields: Any) -> str:
    with tenant.scope() as scope:
        return api_tokens.create(scope, ApiTokenSpec("mine", **fields)).token


# -- exchange --------------------------------------------------------------------------------------------------------


def test_a_kernel_acts_for_its_user(database: Database, person: Actor, home: Tenant) -> None:
    kernel = actor_of(database, exchanges.exchange(database, person, KERNEL))
    assert (kernel.user_id, kernel.name, kernel.kind, kernel.via) == (person.user_id, "Ada", "kernel", "jwt")
    assert kernel.scopes is kernel.workspace_id is None
    assert find_right(database, kernel, home.slug).role == "owner"


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        (KERNEL, 900),
        (ExchangeSpec("kernel", seconds=60), 60),
        (ExchangeSpec("kernel", seconds=86_400), 900),
        (JOB, 3600),
        (ExchangeSpec("notebook_job", seconds=86_400), 86_400),
        (ExchangeSpec("notebook_job", seconds=1), 1),
    ],
)
def test_a_token_lasts_as_long_as_its_purpose_allows(
    database: Database, person: Actor, spec: ExchangeSpec, seconds: int
) -> None:
    assert seconds_of(database, exchanges.exchange(database, person, spec)) == seconds


def test_a_workspace_and_scopes_may_be_named(database: Database, person: Actor, home: Tenant) -> None:
    other = new_tenant(database, home.actor)
    spec = ExchangeSpec("notebook_job", workspace=home.slug, scopes=["viewer", "test:execute"])
    job = actor_of(database, exchanges.exchange(database, person, spec))
    assert job.workspace_id == home.id
    assert job.scopes == expand_scopes(["viewer", "test:execute"])
    assert find_right(database, job, home.slug)
    assert code_of(lambda: find_right(database, job, str(other.id))) == "not_found"


def test_a_workspace_must_be_ones_own_and_a_scope_must_exist(
    database: Database, person: Actor, stranger: Tenant
) -> None:
    for reference in (str(stranger.id), stranger.slug, "nowhere", str(uuid.uuid4())):
        spec = ExchangeSpec("kernel", workspace=reference)
        assert code_of(lambda: exchanges.exchange(database, person, spec)) == "not_found"  # noqa: B023
    assert code_of(lambda: exchanges.exchange(database, person, ExchangeSpec("kernel", scopes=["root"]))) == (
        "scope_unknown"
    )


def test_whom_jupyter_lets_in_gets_a_token(database: Database, tenant: Tenant, me: Actor) -> None:
    kernel = actor_of(database, exchanges.exchange(database, me, KERNEL))
    assert kernel.user_id == me.user_id
    assert find_right(database, kernel, str(tenant.id)).role == "owner"


def test_a_token_of_a_kernel_or_job_renews_itself_never(database: Database, person: Actor) -> None:
    for spec in (KERNEL, JOB):
        program = actor_of(database, exchanges.exchange(database, person, spec))
        for wanted in (KERNEL, JOB):
            assert code_of(lambda: exchanges.exchange(database, program, wanted)) == "denied"  # noqa: B023


def test_an_api_token_gives_no_more_than_it_has(database: Database, home: Tenant) -> None:
    text = api_token(home, scopes=["viewer"])
    program = api_tokens.authenticate(database, text)
    got = actor_of(database, exchanges.exchange(database, program, JOB))
    assert (got.workspace_id, got.scopes) == (home.id, expand_scopes(["viewer"]))
    narrower = ExchangeSpec("kernel", scopes=["prompt:read"])
    assert actor_of(database, exchanges.exchange(database, program, narrower)).scopes == frozenset({"prompt:read"})
    wider = ExchangeSpec("kernel", scopes=["member"])
    assert code_of(lambda: exchanges.exchange(database, program, wider)) == "scope_missing"
    other = new_tenant(database, home.actor)
    elsewhere = ExchangeSpec("kernel", workspace=str(other.id))
    assert code_of(lambda: exchanges.exchange(database, program, elsewhere)) == "not_found"


def test_what_an_api_token_gave_ends_with_it(database: Database, home: Tenant) -> None:
    program = api_tokens.authenticate(database, api_token(home))
    got = exchanges.exchange(database, program, JOB)
    assert actor_of(database, got)
    with home.scope() as scope:
        api_tokens.revoke(scope, str(program.token_id))
    assert code_of(lambda: actor_of(database, got)) == "session_ended"
    assert code_of(lambda: exchanges.exchange(database, program, JOB)) == "session_ended"


def test_what_an_api_token_gives_does_not_outlast_it(database: Database, home: Tenant) -> None:
    program = api_tokens.authenticate(database, api_token(home, expires_in_days=1))
    with home.scope() as scope:
        end = scope.connection.execute(sa.select(token_table.c.expires_at)).scalar_one()
    got = exchanges.exchange(database, program, ExchangeSpec("notebook_job", seconds=86_400))
    assert tokens.verify(database.keys, got.access_token).expires_at <= end.timestamp()


def test_what_was_got_from_a_session_ends_with_it(database: Database, person: Actor, email: str) -> None:
    kernel = exchanges.exchange(database, person, KERNEL)
    sibling = exchanges.exchange(database, actor_of(database, logins.login(database, email, PASSWORD)), KERNEL)
    sessions.logout(database, person)
    assert code_of(lambda: actor_of(database, kernel)) == "session_ended"
    assert actor_of(database, sibling)
    assert code_of(lambda: exchanges.exchange(database, person, KERNEL)) == "session_ended"


def test_what_was_got_does_not_outlast_the_session(database: Database, person: Actor) -> None:
    with database.transaction(user_id=person.user_id) as connection:
        soon = {"expires_at": sa.func.now() + timedelta(seconds=100)}
        connection.execute(sa.update(table).where(table.c.id == person.session_id).values(soon))
    assert seconds_of(database, exchanges.exchange(database, person, JOB)) <= 100


def test_to_end_a_kernels_session_ends_nothing_else(database: Database, person: Actor) -> None:
    kernel, other = (actor_of(database, exchanges.exchange(database, person, KERNEL)) for _ in range(2))
    sessions.logout(database, kernel)
    live = {one.id for one in sessions.list_mine(database, person).items}
    assert live == {person.session_id, other.session_id}


def test_what_is_being_got_while_its_session_ends_ends_too(database: Database, email: str) -> None:
    for _ in range(10):
        person = actor_of(database, logins.login(database, email, PASSWORD))
        start, got, refused = threading.Barrier(2), [], []

        def get(actor: Actor, start: threading.Barrier, got: list[AccessToken], refused: list[str]) -> None:
            start.wait(30)
            for _ in range(10):
                try:
                    got.append(exchanges.exchange(database, actor, KERNEL))
                except PromptCardError as error:
                    refused.append(error.code)

        getting = threading.Thread(target=get, args=(person, start, got, refused))
        getting.start()
        start.wait(30)
        sessions.revoke_all(database, person)
        getting.join()
        assert set(refused) <= {"session_ended"}
        for one in got:
            assert code_of(lambda: actor_of(database, one)) == "session_ended"  # noqa: B023


def test_whatever_happens_to_an_account_at_once_nothing_waits_in_a_circle(
    database: Database, home: Tenant, person: Actor, email: str
) -> None:
    new_tenant(database, home.actor)
    codes: set[str] = set()

    def use(step: int) -> None:
        pair = logins.login(database, email, PASSWORD)
        actor = actor_of(database, pair)
        exchanges.exchange(database, actor, KERNEL)
        if step == 0:
            logins.refresh(database, logins.refresh(database, pair.refresh_token).refresh_token)
            logins.refresh(database, pair.refresh_token)
        elif step == 1:
            sessions.revoke_all(database, actor)
        elif step == 2:
            accounts.set_password(database, email, PASSWORD)
        else:
            sessions.revoke(database, actor, str(person.session_id))
            accounts.change_password(database, actor, PASSWORD, PASSWORD)

    def go_on(step: int) -> None:
        for _ in range(6):
            try:
                use(step)
            except PromptCardError as error:
                codes.add(error.code)

    threads = [threading.Thread(target=go_on, args=(step,)) for step in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # What others did meanwhile; neither 'unavailable' nor an error of the database.
    assert codes <= {"refresh_replayed", "session_ended", "not_found", "login_failed", "login_throttled"}


def test_an_expired_session_takes_its_rows_along(database: Database, person: Actor, email: str) -> None:
    exchanges.exchange(database, person, KERNEL)
    with database.transaction(user_id=person.user_id) as connection:
        connection.execute(sa.update(table).values(expires_at=sa.func.now() - timedelta(seconds=1)))
    assert sessions.list_mine(database, person).items == []
    logins.login(database, email, PASSWORD)
    with database.transaction(user_id=person.user_id) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 1


# -- sessions --------------------------------------------------------------------------------------------------------


def test_sessions_are_listed_the_latest_first(database: Database, person: Actor, email: str, home: Tenant) -> None:
    logins.login(database, email, PASSWORD, user_agent="x" * 1000)
    spec = ExchangeSpec("notebook_job", workspace=home.slug, scopes=["prompt:read"])
    exchanges.exchange(database, person, spec, user_agent="job")
    found = sessions.list_mine(database, person).items
    assert [(one.kind, one.user_agent[:9], one.current) for one in found] == [
        ("job", "job", False),
        ("human", "x" * 9, False),
        ("human", "browser", True),
    ]
    assert (found[0].workspace, found[0].scopes) == (home.id, ["prompt:read"])
    assert len(found[1].user_agent) == 200
    assert found[2].expires_at - found[2].created_at == timedelta(days=30)


def test_pages_of_sessions_hold_each_once(database: Database, person: Actor) -> None:
    for _ in range(6):
        exchanges.exchange(database, person, KERNEL)
    seen, cursor = [], None
    while True:
        page = sessions.list_mine(database, person, SessionQuery(cursor, limit=2))
        seen += [one.id for one in page.items]
        if page.next is None:
            break
        cursor = page.next
    assert len(seen) == len(set(seen)) == 7


def test_one_ends_one_session_of_ones_own(database: Database, person: Actor, email: str, me: Actor) -> None:
    other = actor_of(database, logins.login(database, email, PASSWORD))
    reference = str(other.session_id)
    for actor, wanted in ((me, reference), (person, "nothing"), (person, str(uuid.uuid4())), (person, "")):
        assert code_of(lambda: sessions.revoke(database, actor, wanted)) == "not_found"  # noqa: B023
    sessions.revoke(database, person, reference)
    assert code_of(lambda: sessions.revoke(database, person, reference)) == "not_found"
    assert [one.id for one in sessions.list_mine(database, person).items] == [person.session_id]


def test_programs_neither_see_nor_end_sessions(database: Database, person: Actor) -> None:
    kernel = actor_of(database, exchanges.exchange(database, person, KERNEL))
    assert code_of(lambda: sessions.list_mine(database, kernel)) == "denied"
    assert code_of(lambda: sessions.revoke_all(database, kernel)) == "denied"
    assert code_of(lambda: sessions.revoke(database, kernel, str(person.session_id))) == "denied"


def test_whom_jupyter_let_in_has_no_session_to_end(database: Database, me: Actor) -> None:
    assert code_of(lambda: sessions.logout(database, me)) == "session_missing"


def test_a_session_is_checked_by_one_read(database: Database, person: Actor) -> None:
    claims = tokens.verify(database.keys, exchanges.exchange(database, person, KERNEL).access_token)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        sessions.check_session(database, claims)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert ["set local" in statement for statement in statements] == [True, False]


def test_the_database_itself_keeps_sessions_apart(database: Database, person: Actor, me: Actor) -> None:
    theirs = table.c.user_id == person.user_id
    row = {"user_id": person.user_id, "kind": "human", "expires_at": sa.func.now()}
    with database.transaction(user_id=me.user_id) as connection:
        assert connection.execute(sa.select(table).where(theirs)).all() == []
        assert connection.execute(sa.update(table).where(theirs).values(user_agent="mine")).rowcount == 0
        assert connection.execute(sa.delete(table).where(theirs)).rowcount == 0
    with pytest.raises(sa.exc.ProgrammingError), database.transaction(user_id=me.user_id) as connection:
        connection.execute(sa.insert(table).values(row))
    with database.transaction() as connection:
        assert connection.execute(sa.select(table)).all() == []


@pytest.mark.parametrize("change", ["user_id", "session_id", "token_version"])
def test_claims_that_do_not_go_together_are_nobodys(database: Database, person: Actor, me: Actor, change: str) -> None:
    assert person.session_id is not None
    good = {"user_id": person.user_id, "session_id": person.session_id, "token_version": 0}
    assert actor_of(database, AccessToken(tokens.issue(database.keys, **good), 600))  # type: ignore[arg-type]
    other = {"user_id": me.user_id, "session_id": uuid.uuid4(), "token_version": 1}
    forged = tokens.issue(database.keys, **good | {change: other[change]})  # type: ignore[arg-type]
    assert code_of(lambda: actor_of(database, AccessToken(forged, 600))) == "session_ended"


def test_every_server_hears_when_a_session_ends(
    database: Database, services: Services, person: Actor, email: str
) -> None:
    heard: list[Change | None] = []
    news = News(services.database_url, Cache(Shared(RedisLine(services.redis_url), "sessions", bytes(32))))
    news.subscribe(heard.append)
    news.start()
    try:
        wait_for(lambda: heard)  # that it listens
        for end in (
            lambda: sessions.revoke_all(database, person),
            lambda: accounts.set_password(database, email, PASSWORD),
            lambda: accounts.disable(database, email),
            lambda: accounts.enable(database, email),
        ):
            heard.clear()
            end()
            wait_for(lambda: Change(None, "session", str(person.user_id)) in heard)
    finally:
        news.close()
