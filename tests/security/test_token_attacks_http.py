"""Tokens that are none, shown to a real server in every way; and how soon a good one that is taken back counts no more.

The server has the keys with which `test_tokens` signs its forms, and the user and session that they speak of: each form
differs from one that is let in by nothing but what it is named for.
"""

from __future__ import annotations

import json
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.api_tokens import ApiTokenSpec
from server_ext.auth import opaque
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database, make_engine
from server_ext.db.tables import api_tokens as api_token_rows
from server_ext.db.tables import sessions, users
from server_ext.runtime import ready_services
from server_ext.services import accounts, api_tokens, logins, members
from server_ext.services import sessions as session_service
from server_ext.settings import Settings
from tests.security import test_tokens
from tests.security.serving import Server, serving
from tests.security.test_tokens import GOOD, KEYS, SESSION, USER
from tests.security.wire_client import Connection, Reply, websocket_headers
from tests.support import Tenant, new_tenant, temporary_home, wait_for

PASSWORD = "correct horse battery"
OTHER = "another correct horse"
WITHIN_S = 5.0
# More does not get through HTTP.
MAX_HEADER = 30_000


@dataclass
class Place:
    """A home whose keys are those of the forms."""

    settings: Settings
    database: Database
    owner: sa.Engine
    tenant: Tenant
    run: str

    @property
    def routes(self) -> list[tuple[str, str, bytes | None]]:
        """What is asked for with each form: to read, to write, and what stays open."""
        workspace = f"workspaces/{self.tenant.id}"
        return [
            ("GET", f"{workspace}/cards", None),
            ("POST", f"{workspace}/cards", b'{"name": "x", "template": "Hi"}'),
            ("GET", f"{workspace}/events", None),
            ("GET", f"{workspace}/runs/{self.run}/events", None),
        ]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with temporary_home() as home:
        keys = home.parent / "keys.json"
        KEYS.save(keys)
        settings = Settings(home=home, keys_file=keys)
        with ready_services(settings) as services:
            assert services.owner_database_url is not None
            owner = make_engine(services.owner_database_url)
            with owner.begin() as connection:
                for table in ("sessions", "api_tokens"):
                    # For the owner only, who makes here what no service makes.
                    connection.execute(sa.text(f"alter table {table} no force row level security"))
                connection.execute(sa.insert(users).values(id=USER, display_name="Ada"))
                tomorrow = datetime.now(UTC) + timedelta(days=1)
                row = {"id": SESSION, "user_id": USER, "kind": "human", "expires_at": tomorrow}
                connection.execute(sa.insert(sessions).values(row))
            with Database(services.database_url, pool_size=3, keys=KEYS) as database:
                tenant = new_tenant(database, Actor(USER, "Ada"))
                yield Place(settings, database, owner, tenant, tenant.start())
            owner.dispose()


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[Server]:
    with serving(place.settings.home, "deaf", PROMPTCARDS_KEYS_FILE=str(place.settings.keys_path)) as server:
        yield server


def shown(token: str, way: str = "X-PromptCards-Token") -> dict[str, str | bytes]:
    value = token.encode("utf-8", "surrogatepass")
    return {way: b"Bearer " + value if way == "Authorization" else value}


def ask(connection: Connection, route: tuple[str, str, bytes | None], token: str, way: str) -> Reply:
    """Ask for a route with a token; of what stays open only the head is read."""
    method, target, body = route
    headers = shown(token, way) | (websocket_headers() if "/runs/" in target else {})
    if not target.endswith("/events"):
        return connection.ask(method, target, headers, body)
    connection.close()
    try:
        return connection.open_stream(target, headers)
    finally:
        connection.close()


def sendable(token: str) -> bool:
    """Tell whether a header can have this value, and not the one that is let in."""
    plain = not any(character in token for character in "\r\n\x00")
    return plain and len(token) <= MAX_HEADER and token.strip() != GOOD


def jwt_forms() -> dict[str, str]:
    forms = {name: test_tokens.text_of(form) for name, form in test_tokens.FORMS.items()}
    expired = {
        f"expired {name}": test_tokens.signed(test_tokens.header(), body) for name, body in test_tokens.EXPIRED.items()
    }
    nobody = {"sub": str(uuid.uuid4())}
    strange = {
        "of nobody": nobody, "of no session": {"sid": str(uuid.uuid4())}, "of the user's next version": {"tv": 1},
        "of a version that never was": {"tv": -1}, "of the session as user": {"sub": str(SESSION)},
        "of the user as session": {"sid": str(USER)},
        "of a workspace that is not": {"ws": str(uuid.uuid4())},
    }  # fmt: skip
    refused = {
        name: test_tokens.signed(test_tokens.header(), test_tokens.payload(**changes))
        for name, changes in strange.items()
    }
    return {name: text for name, text in (forms | expired | refused).items() if sendable(text)}


def api_token_forms(place: Place) -> dict[str, str]:
    """Return everything that is nearly an API token of the workspace."""
    stranger = new_tenant(place.database, accounts.create_user(place.database, "Eve", fresh(), PASSWORD))
    with place.tenant.scope() as scope:
        texts = [api_tokens.create(scope, ApiTokenSpec(name=name)).token for name in ("good", "second", "old", "gone")]
        api_tokens.revoke(scope, str(read(texts[3]).id))
    with stranger.scope() as scope:
        foreign = api_tokens.create(scope, ApiTokenSpec(name="foreign")).token
    with place.owner.begin() as connection:
        aged = sa.update(api_token_rows).where(api_token_rows.c.id == read(texts[2]).id)
        connection.execute(aged.values(expires_at=sa.text("now() - interval '1 second'")))
    good, second, theirs = read(texts[0]), read(texts[1]), read(foreign)
    made = opaque.OpaqueToken
    body = texts[0][4:]
    return {
        "expired": texts[2], "revoked": texts[3], "cut": texts[0][:-1], "longer": texts[0] + "A", "padded": body + "==",
        "prefix only": "pct_", "no prefix": body, "upper case": texts[0].upper(), "lower case": texts[0].lower(),
        "prefix in upper case": "PCT_" + body, "prefix twice": "pct_" + texts[0], "refresh prefix": "pcr_" + body,
        "invitation prefix": "pci_" + body, "a space within": texts[0][:40] + " " + texts[0][40:],
        "standard base64": "pct_" + body.replace("-", "+").replace("_", "/") + "+",
        "spelled otherwise": texts[0][:-1] + ("A" if texts[0][-1] != "A" else "B"),
        "secret of another": made(good.place, good.id, second.secret).text("pct_"),
        "id of another": made(good.place, second.id, good.secret).text("pct_"),
        "secret of zeros": made(good.place, good.id, bytes(32)).text("pct_"),
        "hash as secret": made(good.place, good.id, good.hash).text("pct_"),
        "id that is not": made(good.place, uuid.uuid4(), good.secret).text("pct_"),
        "workspace that is not": made(uuid.uuid4(), good.id, good.secret).text("pct_"),
        "moved into another workspace": made(theirs.place, good.id, good.secret).text("pct_"),
        "another workspace's, moved here": made(good.place, theirs.id, theirs.secret).text("pct_"),
        "two at once": f"{texts[0]}, {texts[1]}", "quoted": f'"{texts[0]}"', "percent": texts[0].replace("_", "%5F"),
        "not ASCII": texts[0].replace("a", "а", 1) + "а", "SQL": "pct_' or '1'='1", "huge": "pct_" + "A" * 20_000,
    }  # fmt: skip


def read(text: str) -> opaque.OpaqueToken:
    token = opaque.read_token("pct_", text)
    assert token is not None
    return token


def fresh() -> str:
    return f"{uuid.uuid4().hex}@example.com"


@pytest.mark.parametrize("way", ["X-PromptCards-Token", "Authorization"])
def test_the_form_that_all_others_differ_from_is_let_in(place: Place, server: Server, way: str) -> None:
    with server.connection() as connection:
        statuses = [ask(connection, route, GOOD, way).status for route in place.routes]
    assert statuses in ([200, 201, 200, 101], [200, 200, 200, 101])


@pytest.mark.parametrize("way", ["X-PromptCards-Token", "Authorization"])
def test_every_other_access_token_is_refused_on_every_kind_of_route(place: Place, server: Server, way: str) -> None:
    forms = jwt_forms()
    assert len(forms) >= 100
    assert refusals(place, server, forms, way) == {}


@pytest.mark.parametrize("way", ["X-PromptCards-Token", "Authorization"])
def test_every_other_api_token_is_refused_on_every_kind_of_route(place: Place, server: Server, way: str) -> None:
    assert refusals(place, server, api_token_forms(place), way) == {}


def refusals(place: Place, server: Server, forms: dict[str, str], way: str) -> dict[tuple[str, str], Any]:
    """Show every form on every route; return what was answered otherwise than with 401."""
    wrong: dict[tuple[str, str], Any] = {}
    with server.connection() as connection:
        for name, text in forms.items():
            for route in place.routes:
                reply = ask(connection, route, text, way)
                # An access token that is pinned to a workspace that does not exist is good, but opens none.
                expected = 404 if name == "of a workspace that is not" else 401
                if reply.status != expected or (reply.json or {}).get("code") in (None, "internal_error"):
                    wrong[name, route[1]] = (reply.status, reply.body[:200])
    return wrong


def test_a_refresh_token_that_is_none_gets_nothing(place: Place, server: Server) -> None:
    email = fresh()
    accounts.create_user(place.database, "Ada", email, PASSWORD)
    pairs = [logins.login(place.database, email, PASSWORD) for _ in range(2)]
    good, other = (opaque.read_token("pcr_", pair.refresh_token) for pair in pairs)
    assert good is not None
    assert other is not None
    made, text = opaque.OpaqueToken, pairs[0].refresh_token
    forms = [
        "", "pcr_", text[4:], text[:-1], text + "A", "pct_" + text[4:], "pci_" + text[4:], text.upper(), f" {text}",
        f"{text}\n", "pcr_" + "A" * 86, GOOD, pairs[0].access_token, "pcr_' or '1'='1", text + "\x00",
        made(good.place, good.id, other.secret).text("pcr_"), made(good.place, other.id, good.secret).text("pcr_"),
        made(uuid.uuid4(), good.id, good.secret).text("pcr_"), made(good.place, good.id, bytes(32)).text("pcr_"),
        made(good.place, good.id, good.secret[:16] + bytes(16)).text("pcr_"),
        made(good.place, good.id, bytes(16) + good.secret[16:]).text("pcr_"),
    ]  # fmt: skip
    with server.connection() as connection:
        for form in forms:
            body = json.dumps({"refresh_token": form}).encode()
            reply = connection.ask("POST", "auth/refresh", {}, body)
            # What is longer than any is no request that fits.
            assert reply.status == (401 if len(form) <= 200 else 422), (form, reply.body)
        for pair in pairs:
            # No guess has ended the session of whose token it was made from.
            body = json.dumps({"refresh_token": pair.refresh_token}).encode()
            assert connection.ask("POST", "auth/refresh", {}, body).status == 200
        # A refresh token opens nothing by itself.
        assert ask(connection, place.routes[0], text, "X-PromptCards-Token").status == 401


# -- taking back -----------------------------------------------------------------------------------------------------

# A close frame with the code of a policy, which may come right behind events.
CLOSED = re.compile(rb"\x88[\x02-\x7d]\x03\xf0")


@dataclass
class Member:
    """Somebody with a credential, and what takes it back."""

    token: str
    take_back: Callable[[], object]
    status: int = 401


def member_of(place: Place) -> tuple[str, Actor, Tenant]:
    email = fresh()
    actor = accounts.create_user(place.database, "Grace", email, PASSWORD)
    with place.tenant.scope() as scope:
        add = sa.text("insert into memberships (workspace_id, user_id, role) values (:workspace, :user, 'member')")
        scope.connection.execute(add, {"workspace": place.tenant.id, "user": actor.user_id})
    return email, actor, Tenant(place.database, actor, place.tenant.id, place.tenant.slug)


def logged_out(place: Place) -> Member:
    email, _, _ = member_of(place)
    pair = logins.login(place.database, email, PASSWORD)
    return Member(pair.access_token, lambda: logins.logout(place.database, pair.refresh_token))


def all_sessions_ended(place: Place) -> Member:
    email, actor, _ = member_of(place)
    pair = logins.login(place.database, email, PASSWORD)
    return Member(pair.access_token, lambda: session_service.revoke_all(place.database, actor))


def password_changed(place: Place) -> Member:
    email, _, _ = member_of(place)
    pair = logins.login(place.database, email, PASSWORD)
    return Member(pair.access_token, lambda: accounts.set_password(place.database, email, OTHER))


def user_disabled(place: Place) -> Member:
    email, _, _ = member_of(place)
    pair = logins.login(place.database, email, PASSWORD)
    return Member(pair.access_token, lambda: accounts.disable(place.database, email))


def token_revoked(place: Place) -> Member:
    _, _, mine = member_of(place)
    with mine.scope() as scope:
        token = api_tokens.create(scope, ApiTokenSpec(name="soon gone"))

    def revoke() -> None:
        with mine.scope() as scope:
            api_tokens.revoke(scope, str(token.api_token.id))

    return Member(token.token, revoke)


def membership_removed(place: Place) -> Member:
    email, actor, _ = member_of(place)
    pair = logins.login(place.database, email, PASSWORD)

    def remove() -> None:
        with place.tenant.scope() as scope:
            members.remove(scope, str(actor.user_id))

    return Member(pair.access_token, remove, status=404)


WAYS = [logged_out, all_sessions_ended, password_changed, user_disabled, token_revoked, membership_removed]


def _nobody_yet(everybody: list[Member]) -> dict[int, dict[str, float]]:
    return {number: {} for number in range(len(everybody))}


def seconds_until_out(
    place: Place, server: Server, everybody: list[Member], first: Callable[[], None] | None
) -> dict[int, dict[str, float]]:
    """Take credentials back, and return after how many seconds each way in was shut."""
    read_cards, _, stream, socket = place.routes
    opened: dict[tuple[int, str], Connection] = {}
    with server.connection() as connection:
        for number, member in enumerate(everybody):
            assert ask(connection, read_cards, member.token, "X-PromptCards-Token").status == 200
            for name, route, more in (("stream", stream, {}), ("socket", socket, websocket_headers())):
                opened[number, name] = server.connection()
                reply = opened[number, name].open_stream(route[1], shown(member.token) | more)
                assert reply.status in (200, 101), reply.body
        if first is not None:
            first()
        for member in everybody:
            # What is remembered of the credential is as new as can be.
            ask(connection, read_cards, member.token, "X-PromptCards-Token")
            member.take_back()
        began, out = time.monotonic(), _nobody_yet(everybody)
        while time.monotonic() - began < 3 * WITHIN_S and any(len(found) < 3 for found in out.values()):
            for number, member in enumerate(everybody):
                if "HTTP" not in out[number]:
                    reply = ask(connection, read_cards, member.token, "X-PromptCards-Token")
                    if reply.status == member.status:
                        out[number]["HTTP"] = time.monotonic() - began
                for name in ("stream", "socket"):
                    data, ended = opened[number, name].overheard(0.005)
                    if name not in out[number] and (ended or b"event: end" in data or CLOSED.search(data)):
                        out[number][name] = time.monotonic() - began
        for left in opened.values():
            left.close()
    return out


@pytest.mark.parametrize("deaf", [False, True], ids=["", "without news"])
def test_a_credential_that_is_taken_back_counts_no_more_within_five_seconds(place: Place, deaf: bool) -> None:
    keys = str(place.settings.keys_path)
    with serving(place.settings.home, "deaf", PROMPTCARDS_KEYS_FILE=keys) as server:
        everybody = [way(place) for way in WAYS]
        # Streams open only while changes are heard of, so they are opened before.
        out = seconds_until_out(place, server, everybody, (lambda: stop_hearing(place, server)) if deaf else None)
    named = {way.__name__: out[number] for number, way in enumerate(WAYS)}
    print("\n" + "\n".join(f"{name}: {found}" for name, found in named.items()))
    for name, found in named.items():
        assert set(found) == {"HTTP", "stream", "socket"}, (name, found)
        assert max(found.values()) < WITHIN_S, (name, found)


def stop_hearing(place: Place, server: Server) -> None:
    """Have the server hear of no changes any more, which it says to whoever wants to follow them."""
    server.process.send_signal(signal.SIGUSR2)
    with server.connection() as connection:
        wait_for(lambda: ask(connection, place.routes[2], GOOD, "X-PromptCards-Token").status == 503)
