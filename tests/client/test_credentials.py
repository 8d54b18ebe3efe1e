"""Short-lived tokens in exchange for those that were given, over a real socket."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator

import pytest

from promptcard_ext.client.credentials import HEADER, Credentials, is_own
from promptcard_ext.client.discovery import Address
from promptcard_ext.client.session import Session
from promptcard_ext.client.stream import follow
from promptcard_ext.core import errors
from promptcard_ext.core.contract.accounts import AccessToken
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.services import sessions
from tests.client.test_session import DROP, TOKEN, Server, answer
from tests.support import Tenant, wait_for

EXCHANGE = "POST /promptcards/api/v1/auth/exchange HTTP/1.1"
HEALTH = "GET /promptcards/api/v1/health HTTP/1.1"


def granted(name: str, life_s: int = 900) -> bytes:
    return answer(200, {"access_token": name, "token_type": "Bearer", "expires_in": life_s})


def jwt(head: str) -> str:
    return base64.urlsafe_b64encode(head.encode()).decode().rstrip("=") + ".e30.c2ln"


OWN = jwt('{"alg":"HS256","typ":"pc+jwt"}')


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def client(server: Server) -> Iterator[Session]:
    session = Session(Address(server.url, TOKEN), exchange=True)
    yield session
    session.close()


def test_the_token_is_exchanged_once_and_the_new_one_sent_beside_it(server: Server, client: Session) -> None:
    server.answers = [granted("short-1"), answer(200, {}), answer(200, {})]
    client.get("health")
    client.get("health")
    assert server.requests == [EXCHANGE, HEALTH, HEALTH]
    assert HEADER.lower() not in server.headers[0]
    for headers in server.headers[1:]:
        assert (headers["x-promptcards-token"], headers["authorization"]) == ("short-1", f"token {TOKEN}")


def test_a_server_without_exchange_gets_the_token_itself(server: Server, client: Session) -> None:
    server.answers = [answer(404, text=b"nothing here"), answer(200, {}), answer(200, {})]
    client.get("health")
    client.get("health")
    assert server.requests == [EXCHANGE, HEALTH, HEALTH]
    assert all("x-promptcards-token" not in headers for headers in server.headers)


def test_a_refused_token_is_renewed_once_whatever_the_method(server: Server, client: Session) -> None:
    refused = answer(401, {"code": "token_expired", "message": "m"})
    server.answers = [granted("short-1"), refused, granted("short-2"), answer(201, {"made": True})]
    assert client.send("POST", "cards", body={}) == {"made": True}
    assert [headers.get("x-promptcards-token") for headers in server.headers] == [None, "short-1", None, "short-2"]

    server.answers = [refused, granted("short-3"), refused]
    with pytest.raises(errors.Unauthenticated) as problem:
        client.send("POST", "cards", body={})
    assert problem.value.code == "token_expired"
    assert server.answers == []


def test_who_is_refused_an_exchange_is_told_so(server: Server, client: Session) -> None:
    server.answers = [answer(403, {"code": "denied", "message": "alice is not allowed."})]
    with pytest.raises(errors.Denied) as problem:
        client.get("health")
    assert "alice" in str(problem.value)
    assert server.requests == [EXCHANGE]


def test_an_exchange_is_repeated_when_the_connection_breaks(
    server: Server, client: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptcard_ext.client.session.time.sleep", lambda seconds: None)
    server.answers = [DROP, granted("short-1"), answer(200, {})]
    client.get("health")
    assert server.requests == [EXCHANGE, EXCHANGE, HEALTH]


def test_an_answer_that_is_no_token_is_an_error(server: Server, client: Session) -> None:
    server.answers = [answer(200, text=b"<html>")]
    with pytest.raises(errors.Unavailable) as problem:
        client.get("health")
    assert problem.value.code == "answer_invalid"


@pytest.mark.parametrize("token", ["pct_" + "A" * 86, OWN])
def test_a_token_of_the_servers_own_is_sent_as_it_is(server: Server, token: str) -> None:
    client = Session(Address(server.url, token), exchange=True)
    server.answers = [answer(200, {})]
    client.get("health")
    client.close()
    assert server.headers[0]["x-promptcards-token"] == token.lower()
    assert "authorization" not in server.headers[0]


@pytest.mark.parametrize(
    "token",
    [
        "",
        "s3cret",
        ".",
        "..",
        "é.é",
        "=.=",
        "bnVsbA.x",
        jwt('{"alg":"HS256","typ":"JWT"}'),
        jwt("[]"),
        OWN.split(".")[0],
    ],
)
def test_tokens_of_others_are_not_taken_for_our_own(token: str) -> None:
    assert not is_own(token)


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Giver:
    """Gives tokens of 900 s, numbered, or fails as it is told."""

    def __init__(self) -> None:
        self.count = 0
        self.problem: errors.PromptCardError | None = None

    def __call__(self) -> AccessToken:
        self.count += 1
        if self.problem is not None:
            raise self.problem
        return AccessToken(f"short-{self.count}", 900)


def made(giver: Callable[[], AccessToken], clock: Clock) -> Credentials:
    return Credentials(TOKEN, giver, clock)


def test_a_token_is_renewed_well_before_it_ends() -> None:
    giver, clock = Giver(), Clock()
    credentials = made(giver, clock)
    for clock.now, expected in (
        (0, "short-1"),
        (629, "short-1"),
        (630, "short-2"),
        (1259, "short-2"),
        (9999, "short-3"),
    ):
        assert credentials.headers()[HEADER] == expected


def test_a_server_that_is_away_does_not_matter_while_the_token_is_good() -> None:
    giver, clock = Giver(), Clock()
    credentials = made(giver, clock)
    credentials.headers()
    giver.problem = errors.Unavailable("away")
    for clock.now in (700, 701, 899):
        assert credentials.headers()[HEADER] == "short-1"
    assert giver.count == 3  # not with every request
    clock.now = 900
    with pytest.raises(errors.Unavailable):
        credentials.headers()


def test_who_is_not_let_in_any_more_loses_the_token_at_once() -> None:
    giver, clock = Giver(), Clock()
    credentials = made(giver, clock)
    credentials.headers()
    clock.now, giver.problem = 700, errors.Denied("no")
    for _ in range(2):
        with pytest.raises(errors.Denied):
            credentials.headers()


def test_a_token_that_another_thread_has_renewed_is_not_thrown_away() -> None:
    giver, clock = Giver(), Clock()
    credentials = made(giver, clock)
    first = credentials.headers()
    assert credentials.give_up(first)
    assert credentials.headers()[HEADER] == "short-2"
    assert credentials.give_up(first)
    assert (credentials.headers()[HEADER], giver.count) == ("short-2", 2)


def test_a_real_server_gives_a_token_and_another_when_that_has_been_revoked(
    address: Address, tenant: Tenant, database: Database, me: Actor
) -> None:
    session = Session(address, exchange=True)
    session.get("workspaces", tenant.slug)
    first = session.credentials.headers()[HEADER]
    sessions.revoke_all(database, me)

    def has_another() -> bool:
        session.get("workspaces", tenant.slug)
        return session.credentials.headers()[HEADER] != first

    wait_for(has_another, 10)
    session.close()


def test_a_stream_goes_on_with_another_token_when_that_has_been_revoked(
    address: Address, tenant: Tenant, database: Database, me: Actor
) -> None:
    session = Session(address, exchange=True)
    run_id = tenant.start()

    async def kinds() -> list[str]:
        seen: list[str] = []
        async for event in follow(session, tenant.slug, run_id):
            seen.append(event.kind)
            if len(seen) == 1:
                await asyncio.to_thread(sessions.revoke_all, database, me)
                await asyncio.to_thread(tenant.give_up_runs)
        return seen

    assert asyncio.run(kinds())[-1] == "finished"
    session.close()
