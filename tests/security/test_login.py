"""Guesses at passwords and stolen refresh tokens: what they cost, and where they end."""

from __future__ import annotations

import logging
import re
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import argon2
import pytest
import sqlalchemy as sa
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis

from promptcard_ext.core.contract.accounts import TokenPair
from promptcard_ext.core.errors import PromptCardError, RateLimited, Unauthenticated
from server_ext.auth import passwords, refresh_tokens, tokens
from server_ext.auth.opaque import OpaqueToken, new_token
from server_ext.auth.passwords import Gate
from server_ext.db.engine import Database, make_engine
from server_ext.db.tables import login_attempts, sessions, users
from server_ext.embedded import Services
from server_ext.services import accounts, login_throttle, logins
from server_ext.services import sessions as session_service
from server_ext.services.login_throttle import Attempt

PASSWORD = "correct horse battery"
WRONG = "incorrect horse battery"


@pytest.fixture(scope="module")
def owner(services: Services) -> Iterator[sa.Engine]:
    """The database as its owner sees it, who may set clocks."""
    assert services.owner_database_url is not None
    engine = make_engine(services.owner_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def account(database: Database) -> str:
    """The address of a fresh account."""
    address = f"{uuid.uuid4().hex}@example.com"
    accounts.create_user(database, "Ada", address, PASSWORD)
    return address


@pytest.fixture
def pair(database: Database, account: str) -> TokenPair:
    """The first pair of tokens of a fresh session."""
    return logins.login(database, account, PASSWORD)


def code_of(use: Callable[[], object]) -> str:
    try:
        use()
    except PromptCardError as error:
        return error.code
    return ""


def guess(database: Database, email: str, address: str = "") -> str:
    return code_of(lambda: logins.login(database, email, WRONG, address=address))


def let_pass(owner: sa.Engine, attempt: Attempt, seconds: float) -> None:
    """Have time go by for an account and a network."""
    with owner.begin() as connection:
        connection.execute(
            sa.update(login_attempts)
            .where(login_attempts.c.key_hash.in_([part for part in attempt if part]))
            .values({
                name: login_attempts.c[name] - timedelta(seconds=seconds) for name in ("last_at", "next_at")
            })
        )  # fmt: skip


def counted(database: Database, email: str, address: str = "") -> Attempt:
    return login_throttle.attempt_of(database.keys, email, address)


def wait_of(database: Database, attempt: Attempt) -> float:
    """Return how long an attempt has to wait; 0 when it was let in."""
    try:
        login_throttle.admit(database, attempt)
    except RateLimited as error:
        return error.retry_after_s or 0.0
    return 0.0


# -- guesses ---------------------------------------------------------------------------------------------------------


def test_guesses_take_longer_and_longer_and_nobody_is_locked_out(database: Database, owner: sa.Engine) -> None:
    attempt = counted(database, f"{uuid.uuid4()}@example.com")
    now, admitted, waits = 0.0, [], []
    while len(admitted) < 40:
        wait = wait_of(database, attempt)
        if wait:
            waits.append(wait)
            let_pass(owner, attempt, wait)
            now += wait
        else:
            admitted.append(now)
    assert [round(wait) for wait in waits[:6]] == [30, 60, 120, 240, 480, 900]
    assert max(waits) <= 900
    in_quarter_of_an_hour = [sum(start <= at < start + 900 for at in admitted) for start in admitted]
    assert max(in_quarter_of_an_hour) == 9


@given(pauses=st.lists(st.sampled_from([0, 0, 10, 40, 100, 500, 899, 1000, 3600]), min_size=20, max_size=40))
@hypothesis_settings(max_examples=15, deadline=None)
def test_whoever_waits_however_long_gets_ten_guesses_a_quarter_of_an_hour_at_most(
    database: Database, owner: sa.Engine, pauses: list[int]
) -> None:
    attempt, now, admitted = counted(database, f"{uuid.uuid4()}@example.com"), 0, []
    for pause in pauses:
        let_pass(owner, attempt, pause)
        now += pause
        if wait_of(database, attempt) == 0:
            admitted.append(now)
    assert all(sum(start <= at < start + 900 for at in admitted) <= 10 for start in admitted)


def test_logins_from_everywhere_at_once_never_wait_for_each_other_in_a_circle(database: Database) -> None:
    accounts_, networks = [uuid.uuid4().bytes * 2 for _ in range(3)], [uuid.uuid4().bytes * 2 for _ in range(3)]
    errors: list[PromptCardError] = []

    def come(first: int) -> None:
        for n in range(first, first + 30):
            attempt = Attempt(accounts_[n % 3], networks[n // 3 % 3])
            try:
                with suppress(RateLimited):
                    login_throttle.admit(database, attempt)
                with database.transaction() as connection:
                    login_throttle.forgive(connection, attempt)
            except PromptCardError as error:
                errors.append(error)

    threads = [threading.Thread(target=come, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_guess_that_comes_too_early_changes_nothing(database: Database, owner: sa.Engine) -> None:
    attempt = counted(database, f"{uuid.uuid4()}@example.com")
    for _ in range(5):
        assert wait_of(database, attempt) == 0
    waits = [wait_of(database, attempt) for _ in range(20)]
    assert waits == sorted(waits, reverse=True)
    let_pass(owner, attempt, 31)
    assert wait_of(database, attempt) == 0


def test_after_a_day_of_rest_an_account_starts_anew(database: Database, owner: sa.Engine) -> None:
    attempt = counted(database, f"{uuid.uuid4()}@example.com")
    for seconds in (0, 0, 0, 0, 0, 31, 61, 121):
        let_pass(owner, attempt, seconds)
        assert wait_of(database, attempt) == 0
    let_pass(owner, attempt, 86_401)
    for _ in range(5):
        assert wait_of(database, attempt) == 0


def test_a_throttled_account_is_closed_to_the_right_password_too_and_so_tells_nothing(
    database: Database, account: str
) -> None:
    assert [guess(database, account) for _ in range(6)] == ["login_failed"] * 5 + ["login_throttled"]
    assert code_of(lambda: logins.login(database, account, PASSWORD)) == "login_throttled"


def test_a_good_login_lets_an_account_start_anew(database: Database, account: str) -> None:
    for _ in range(3):
        assert [guess(database, account) for _ in range(4)] == ["login_failed"] * 4
        assert logins.login(database, account, PASSWORD)


def test_all_servers_count_together_and_redis_counts_for_nothing(
    database: Database, services: Services, account: str, redis: Redis
) -> None:
    with Database(services.database_url, keys=database.keys) as other:
        codes = []
        for server in (database, other) * 3:
            codes.append(guess(server, account))
            redis.flushall()
    assert codes == ["login_failed"] * 5 + ["login_throttled"]


def test_guesses_at_once_are_counted_one_by_one(database: Database) -> None:
    attempt, start, waits = counted(database, f"{uuid.uuid4()}@example.com"), threading.Barrier(10), []

    def try_it() -> None:
        start.wait(30)
        waits.append(wait_of(database, attempt))

    threads = [threading.Thread(target=try_it) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert waits.count(0) == 5


@pytest.mark.parametrize(
    ("addresses", "elsewhere"),
    [
        (["192.0.2.{n}"], "192.0.3.1"),
        (["2001:db8:0:1{n:02x}::{n}"], "2001:db8:0:200::1"),
        (["198.51.100.{n}", "::ffff:198.51.100.{n}"], "198.51.101.1"),
    ],
    ids=["IPv4", "IPv6", "one in the other"],
)
def test_a_network_that_guesses_at_many_accounts_is_slowed_down(
    database: Database, owner: sa.Engine, addresses: list[str], elsewhere: str
) -> None:
    def wait(address: str) -> float:
        return wait_of(database, counted(database, f"{uuid.uuid4()}@example.com", address))

    waits = [wait(addresses[n % len(addresses)].format(n=n)) for n in range(31)]
    assert waits[:30] == [0] * 30
    assert 0 < waits[30] <= 1
    assert wait(elsewhere) == 0
    network = counted(database, "", addresses[0].format(n=1))
    for _ in range(10):
        let_pass(owner, network, 61)
        assert wait_of(database, network._replace(account=uuid.uuid4().bytes * 2)) == 0
        assert wait_of(database, network._replace(account=uuid.uuid4().bytes * 2)) <= 60
    let_pass(owner, network, 3601)
    assert [wait(addresses[0].format(n=n)) for n in range(3)] == [0] * 3


def test_good_logins_do_not_count_against_their_network(database: Database, account: str) -> None:
    for _ in range(32):
        attempt = counted(database, account, "203.0.113.7")
        login_throttle.admit(database, attempt)  # raises when there are too many
        with database.transaction() as connection:
            login_throttle.forgive(connection, attempt)


def test_what_is_counted_says_nothing_about_anybody(database: Database, owner: sa.Engine) -> None:
    guess(database, "somebody@example.com", "192.0.2.55")
    with owner.begin() as connection:
        rows = str(connection.execute(sa.select(login_attempts)).all())
    assert "somebody" not in rows
    assert "192.0.2" not in rows
    with pytest.raises(sa.exc.ProgrammingError), database.transaction() as connection:
        connection.execute(sa.select(login_attempts))


def test_what_is_long_past_is_forgotten(database: Database, owner: sa.Engine) -> None:
    old = counted(database, f"{uuid.uuid4()}@example.com", "100.64.1.1")
    login_throttle.admit(database, old)
    let_pass(owner, old, 86_500)
    login_throttle.admit(database, counted(database, f"{uuid.uuid4()}@example.com"))
    with owner.begin() as connection:
        left = sa.select(sa.func.count()).where(login_attempts.c.key_hash.in_(old))
        assert connection.execute(left).scalar_one() == 0


# -- who exists shows in nothing -------------------------------------------------------------------------------------


class CountingGate(Gate):
    """Counts the passwords that are worked on."""

    def __init__(self) -> None:
        super().__init__(passwords.AT_ONCE, passwords.MAX_WAITING)
        self.count = 0

    def passed(self) -> Any:
        self.count += 1
        return super().passed()


def test_for_nobody_the_work_and_the_answer_are_the_same(
    database: Database, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    disabled = f"{uuid.uuid4().hex}@example.com"
    accounts.create_user(database, "Eve", disabled, PASSWORD)
    accounts.disable(database, disabled)
    gate = CountingGate()
    monkeypatch.setattr(passwords, "gate", gate)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        # Whom a transaction is for stands in the statement that begins it.
        statements.append(re.sub(r"'[0-9a-f-]{36}'", "'an id'", statement))

    work = []
    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        for email, password in ((account, WRONG), ("nobody@example.com", WRONG), (disabled, PASSWORD)):
            statements.clear()
            gate.count = 0
            with pytest.raises(Unauthenticated) as caught:
                logins.login(database, email, password)
            work.append((gate.count, tuple(statements), caught.value.to_dict()))
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert work[0] == work[1] == work[2]
    assert work[0][0] == 1


def test_for_nobody_the_processor_works_as_long(database: Database) -> None:
    """Argon2 runs in the thread that calls it, so that its time can be told from that of all others."""

    def seconds(stored: str | None) -> float:
        took = []
        for _ in range(5):
            began = time.thread_time()
            assert not passwords.verify(stored, WRONG)
            took.append(time.thread_time() - began)
        return statistics.median(took)

    somebody, nobody = seconds(passwords.hash_password(PASSWORD)), seconds(None)
    assert 0.5 < nobody / somebody < 2


def test_a_password_that_was_hashed_weakly_is_hashed_anew_at_login(database: Database, account: str) -> None:
    user_id = accounts.find_account(database, account).id
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    with database.transaction(user_id=user_id) as connection:
        connection.execute(sa.update(users).values(password_hash=weak).where(users.c.id == user_id))
    assert guess(database, account) == "login_failed"
    assert logins.login(database, account, PASSWORD)
    with database.transaction(user_id=user_id) as connection:
        stored = connection.execute(sa.select(users.c.password_hash).where(users.c.id == user_id)).scalar_one()
    assert stored != weak
    assert not passwords.needs_rehash(stored)
    assert logins.login(database, account, PASSWORD)


def test_logs_and_representations_hold_no_secret(
    database: Database, account: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    guess(database, account, "192.0.2.1")
    guess(database, f"{'a' * 60}@{'b' * 180}.example", "192.0.2.1")
    pair = logins.login(database, account, PASSWORD)
    following = logins.refresh(database, pair.refresh_token)
    logins.refresh(database, following.refresh_token)
    for text in (pair.refresh_token, f"{pair.refresh_token[:-4]}AAAA", "x" * 10_000):
        assert code_of(lambda: logins.refresh(database, text))  # noqa: B023
    with suppress(Unauthenticated):
        tokens.verify(database.keys, f"{pair.access_token}x")
    shown = caplog.text + repr([pair, following, refresh_tokens.read(pair.refresh_token)])
    for secret in (
        PASSWORD, WRONG, pair.access_token, pair.refresh_token, following.refresh_token, "a" * 60, account,
        pair.refresh_token[-40:],
    ):  # fmt: skip
        assert secret not in shown
    assert "used again" in caplog.text
    assert max(len(record.getMessage()) for record in caplog.records) < 1000


# -- refresh tokens --------------------------------------------------------------------------------------------------


def read(text: str) -> OpaqueToken:
    token = refresh_tokens.read(text)
    assert token is not None
    return token


def age(database: Database, pair: TokenPair, seconds: float, *columns: str) -> None:
    """Have time go by for a session."""
    token = read(pair.refresh_token)
    with database.transaction(user_id=token.place) as connection:
        earlier = {name: sessions.c[name] - timedelta(seconds=seconds) for name in columns}
        connection.execute(sa.update(sessions).where(sessions.c.id == token.id).values(earlier))


def is_good(database: Database, pair: TokenPair) -> bool:
    claims = tokens.verify(database.keys, pair.access_token)
    return not code_of(lambda: session_service.check_session(database, claims))


def test_each_token_is_good_once_and_gets_the_next(database: Database, pair: TokenPair) -> None:
    seen, current = {pair.refresh_token}, pair
    for _ in range(5):
        current = logins.refresh(database, current.refresh_token)
        assert current.refresh_token not in seen
        assert is_good(database, current)
        assert current.refresh_expires_at == pair.refresh_expires_at
        seen.add(current.refresh_token)
    assert is_good(database, pair)  # access tokens are of the session, not of the refresh token


def test_only_hashes_are_stored(database: Database, pair: TokenPair) -> None:
    following = logins.refresh(database, pair.refresh_token)
    secrets = [read(one.refresh_token).secret for one in (pair, following)]
    token = read(pair.refresh_token)
    with database.transaction(user_id=token.place) as connection:
        row = connection.execute(sa.select(sessions).where(sessions.c.id == token.id)).one()
    for value in row:
        assert not any(secret[:16] in bytes(value) for secret in secrets if isinstance(value, bytes | memoryview))


def test_a_token_that_was_used_ends_the_session_for_both(database: Database, pair: TokenPair) -> None:
    following = logins.refresh(database, pair.refresh_token)
    age(database, pair, 11, "rotated_at")
    assert code_of(lambda: logins.refresh(database, pair.refresh_token)) == "refresh_replayed"
    assert code_of(lambda: logins.refresh(database, following.refresh_token)) == "session_ended"
    assert code_of(lambda: logins.refresh(database, pair.refresh_token)) == "session_ended"
    assert not is_good(database, following)


def test_a_grandparent_has_no_grace(database: Database, pair: TokenPair) -> None:
    second = logins.refresh(database, pair.refresh_token)
    third = logins.refresh(database, second.refresh_token)
    assert code_of(lambda: logins.refresh(database, pair.refresh_token)) == "refresh_replayed"
    assert code_of(lambda: logins.refresh(database, third.refresh_token)) == "session_ended"


def test_an_answer_that_did_not_arrive_can_be_asked_for_again(database: Database, pair: TokenPair) -> None:
    lost = logins.refresh(database, pair.refresh_token)
    again = logins.refresh(database, pair.refresh_token)
    assert again.refresh_token == lost.refresh_token
    assert again.access_token != lost.access_token
    age(database, pair, 5, "rotated_at")
    assert logins.refresh(database, pair.refresh_token).refresh_token == lost.refresh_token
    age(database, pair, 6, "rotated_at")  # to ask again does not begin the seconds anew
    assert code_of(lambda: logins.refresh(database, pair.refresh_token)) == "refresh_replayed"


def test_two_tabs_at_once_get_the_same_successor(database: Database, pair: TokenPair) -> None:
    current = pair
    for _ in range(5):
        start, got = threading.Barrier(4), []

        def ask(
            text: str = current.refresh_token, start: threading.Barrier = start, got: list[TokenPair] = got
        ) -> None:
            start.wait(30)
            got.append(logins.refresh(database, text))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 4
        assert len({one.refresh_token for one in got}) == 1
        current = got[0]


def test_a_session_ends_after_thirty_days_whatever_happens(database: Database, account: str, pair: TokenPair) -> None:
    age(database, pair, 30 * 86_400 - 60, "created_at", "expires_at")
    last = logins.refresh(database, pair.refresh_token)
    assert last.expires_in <= 60
    age(database, pair, 61, "created_at", "expires_at")
    assert code_of(lambda: logins.refresh(database, last.refresh_token)) == "session_ended"
    assert not is_good(database, last)
    logins.login(database, account, PASSWORD)
    assert code_of(lambda: logins.refresh(database, last.refresh_token)) == "refresh_invalid"


def test_after_logging_out_no_token_is_good(database: Database, pair: TokenPair) -> None:
    actor = session_service.check_session(database, tokens.verify(database.keys, pair.access_token))
    session_service.logout(database, actor)
    assert not is_good(database, pair)
    assert code_of(lambda: logins.refresh(database, pair.refresh_token)) == "session_ended"


def test_one_logs_out_with_a_refresh_token_too_be_it_an_old_one(database: Database, pair: TokenPair) -> None:
    last = logins.refresh(database, logins.refresh(database, pair.refresh_token).refresh_token)
    made_up = new_token(read(pair.refresh_token).place, read(pair.refresh_token).id).text("pcr_")
    for text in (made_up, "", pair.access_token):
        assert code_of(lambda: logins.logout(database, text)) == "refresh_invalid"  # noqa: B023
    assert is_good(database, last)
    logins.logout(database, pair.refresh_token)
    assert not is_good(database, last)
    assert code_of(lambda: logins.refresh(database, last.refresh_token)) == "session_ended"
    logins.logout(database, last.refresh_token)  # it has ended: that is all that was asked for


def test_what_somebody_made_up_is_refused_and_ends_nothing(database: Database, pair: TokenPair, account: str) -> None:
    other = read(logins.login(database, account, PASSWORD).refresh_token)
    mine = read(pair.refresh_token)
    forms = [
        new_token(mine.place, mine.id),
        OpaqueToken(mine.place, mine.id, bytes(32)),
        OpaqueToken(mine.place, mine.id, other.secret),
        OpaqueToken(mine.place, other.id, mine.secret),
        OpaqueToken(uuid.uuid4(), mine.id, mine.secret),
        OpaqueToken(mine.place, uuid.uuid4(), mine.secret),
        OpaqueToken(mine.id, mine.place, mine.secret),
        OpaqueToken(mine.place, mine.id, mine.secret[:16] + bytes(16)),
        OpaqueToken(mine.place, mine.id, mine.hash),
    ]
    texts = [form.text("pcr_") for form in forms]
    texts += ["", "pcr_", mine.text("pct_"), mine.text(""), pair.refresh_token + "=", pair.refresh_token + "\n"]
    texts += [pair.refresh_token[:-1], pair.access_token, "pcr_" + "é" * 107, "x" * 1_000_000, "pcr_\ud800"]
    for text in texts:
        assert code_of(lambda: logins.refresh(database, text)) == "refresh_invalid"  # noqa: B023
    assert logins.refresh(database, pair.refresh_token)
    assert logins.refresh(database, other.text("pcr_"))


def test_a_replaced_key_keeps_sessions_and_still_finds_replays(
    database: Database, services: Services, pair: TokenPair
) -> None:
    keys = database.keys.rotated("signing")
    with Database(services.database_url, keys=keys) as later:
        second = logins.refresh(later, pair.refresh_token)
        assert logins.refresh(later, pair.refresh_token).refresh_token == second.refresh_token
        third = logins.refresh(later, second.refresh_token)
        assert code_of(lambda: logins.refresh(later, pair.refresh_token)) == "refresh_replayed"
        assert code_of(lambda: logins.refresh(later, third.refresh_token)) == "session_ended"


def test_a_dropped_key_keeps_the_session_that_it_began(database: Database, services: Services, pair: TokenPair) -> None:
    rotated = database.keys.rotated("signing")
    second = logins.refresh(database, pair.refresh_token)
    with Database(services.database_url, keys=rotated.without("signing", database.keys.current("signing").id)) as later:
        assert code_of(lambda: logins.refresh(later, pair.refresh_token)) == "session_ended"
        assert logins.refresh(later, second.refresh_token)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("refresh"), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.sampled_from([4, 20])),
        st.tuples(st.just("make up"), st.just(0)),
    ),
    max_size=14,
)


@given(steps=STEPS)
@hypothesis_settings(max_examples=25, deadline=None)
def test_whatever_comes_in_whatever_order_two_never_hold_one_session(
    database: Database, steps: list[tuple[str, int]]
) -> None:
    """A session as it should be, next to one as it is: how far back a token lies decides."""
    address = f"{uuid.uuid4().hex}@example.com"
    accounts.create_user(database, "Ada", address, PASSWORD)
    pair = logins.login(database, address, PASSWORD)
    chain, live, rotated, waited = [pair.refresh_token], True, 0.0, 0.0
    for step, number in steps:
        now = time.monotonic() + waited
        if step == "wait":
            waited += number
            age(database, pair, number, "rotated_at")
        elif step == "make up":
            made_up = new_token(read(chain[0]).place, read(chain[0]).id).text("pcr_")
            assert code_of(lambda: logins.refresh(database, made_up)) == "refresh_invalid"  # noqa: B023
        else:
            back = min(number, len(chain) - 1)
            text = chain[-1 - back]
            assume(back != 1 or not 9 < now - rotated < 11)
            try:
                got: str = logins.refresh(database, text).refresh_token
            except Unauthenticated as error:
                got = error.code
            if not live:
                assert got == "session_ended"
            elif back == 0:
                assert got not in chain
                chain.append(got)
                rotated = now
            elif back == 1 and now - rotated < 10:
                assert got == chain[-1]
            else:
                assert got == "refresh_replayed"
                live = False
