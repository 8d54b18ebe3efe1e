"""Logging in, staying so and logging out over HTTP; and every token that is none is refused."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from server_ext.app import PromptCards
from server_ext.auth import tokens
from server_ext.db.engine import Database
from server_ext.services import accounts
from tests.api.conftest import Answer, Api
from tests.security import test_tokens
from tests.support import Tenant, new_tenant

PASSWORD = "correct horse battery"
NEW = "staple of another kind"
HEADER = "X-PromptCards-Token"


@pytest.fixture
def extension_config() -> dict[str, Any]:
    """A server whose users have accounts."""
    return {"start_worker": False, "identity_mode": "jwt"}


@pytest.fixture(autouse=True)
def _no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_LIMITS", "anonymous=100000/60,login=100000/60")


@pytest.fixture
def email(database: Database) -> str:
    """The address of a fresh account."""
    return f"{uuid.uuid4().hex}@example.com"


@pytest.fixture
def home(database: Database, email: str) -> Tenant:
    """A workspace of that account."""
    return new_tenant(database, accounts.create_user(database, "Ada", email, PASSWORD))


@pytest.fixture
def site(extension: PromptCards, home: Tenant, api_of: Callable[[Tenant], Api]) -> Api:
    """The interface, for whoever has logged in."""
    api = api_of(home)
    api.token = {}
    return api


async def log_in(site: Api, email: str, password: str = PASSWORD, **more: Any) -> Answer:
    return await site.ask("POST", "auth/login", {"email": email, "password": password}, login=False, **more)


def shown(token: str) -> dict[str, dict[str, str]]:
    return {"headers": {HEADER: token}}


async def test_from_logging_in_to_logging_out(site: Api, email: str, home: Tenant) -> None:
    pair = await log_in(site, email, headers={"User-Agent": "browser"})
    assert pair.status == 200
    assert pair.headers["Cache-Control"] == "no-store"
    assert (pair.json["token_type"], pair.json["expires_in"]) == ("Bearer", 600)
    access = pair.json["access_token"]
    me = await site.ask("GET", "auth/me", **shown(access))
    assert me.json["user"] == {"id": str(home.actor.user_id), "name": "Ada", "email": email}
    assert (me.json["kind"], me.json["via"], me.json["scopes"], me.json["workspace"]) == ("human", "jwt", None, None)
    assert [(one["slug"], one["role"]) for one in me.json["workspaces"]] == [(home.slug, "owner")]
    bearer = await site.get("cards", headers={"Authorization": f"Bearer {access}"})
    assert bearer.status == 200
    following = await site.ask("POST", "auth/refresh", {"refresh_token": pair.json["refresh_token"]}, login=False)
    assert following.status == 200
    listed = await site.ask("GET", "auth/sessions", **shown(following.json["access_token"]))
    assert [(one["user_agent"], one["current"]) for one in listed.json["items"]] == [("browser", True)]
    assert (await site.ask("POST", "auth/logout", **shown(access))).status == 204
    for token in (access, following.json["access_token"]):
        refused = await site.ask("GET", "auth/me", **shown(token))
        assert (refused.status, refused.json["code"]) == (401, "session_ended")
    refused = await site.ask("POST", "auth/refresh", {"refresh_token": following.json["refresh_token"]}, login=False)
    assert (refused.status, refused.json["code"]) == (401, "session_ended")


async def test_a_replayed_refresh_token_ends_its_session_on_the_next_request(site: Api, email: str) -> None:
    first = (await log_in(site, email)).json
    second = (await site.ask("POST", "auth/refresh", {"refresh_token": first["refresh_token"]}, login=False)).json
    third = (await site.ask("POST", "auth/refresh", {"refresh_token": second["refresh_token"]}, login=False)).json
    assert (await site.ask("GET", "auth/me", **shown(third["access_token"]))).status == 200
    replay = await site.ask("POST", "auth/refresh", {"refresh_token": first["refresh_token"]}, login=False)
    assert (replay.status, replay.json["code"]) == (401, "refresh_replayed")
    assert (await site.ask("GET", "auth/me", **shown(third["access_token"]))).status == 401


async def test_one_logs_out_with_the_refresh_token_when_the_access_token_is_over(site: Api, email: str) -> None:
    pair = (await log_in(site, email)).json
    body = {"refresh_token": pair["refresh_token"]}
    assert (await site.ask("POST", "auth/logout", body, login=False)).status == 204
    assert (await site.ask("GET", "auth/me", **shown(pair["access_token"]))).status == 401
    nobody = await site.ask("POST", "auth/logout", login=False)
    assert (nobody.status, nobody.json["code"]) == (401, "unauthenticated")


async def test_guesses_are_slowed_down_with_the_same_answer_for_nobody(site: Api, email: str) -> None:
    known_ones = [await log_in(site, email, "my guess is this") for _ in range(6)]
    unknown_ones = [await log_in(site, f"x{email}", "my guess is this") for _ in range(6)]
    for known, unknown in zip(known_ones, unknown_ones, strict=True):
        assert known.status == unknown.status
        assert known.json["code"] == unknown.json["code"]
        assert known.json["message"] == unknown.json["message"]
    last = known_ones[-1]
    assert (last.status, last.json["code"]) == (429, "login_throttled")
    assert 0 < int(last.headers["Retry-After"]) <= 30


async def test_a_password_is_changed(site: Api, email: str) -> None:
    pair, other = (await log_in(site, email)).json, (await log_in(site, email)).json
    wrong = await site.ask("POST", "auth/password", {"old": NEW, "new": NEW}, **shown(pair["access_token"]))
    assert (wrong.status, wrong.json["code"]) == (403, "password_wrong")
    weak = await site.ask("POST", "auth/password", {"old": PASSWORD, "new": "short"}, **shown(pair["access_token"]))
    assert (weak.status, weak.json["code"]) == (422, "password_refused")
    changed = await site.ask("POST", "auth/password", {"old": PASSWORD, "new": NEW}, **shown(pair["access_token"]))
    assert changed.status == 200
    for token, status in (
        (changed.json["access_token"], 200),
        (pair["access_token"], 401),
        (other["access_token"], 401),
    ):
        assert (await site.ask("GET", "auth/me", **shown(token))).status == status
    assert (await log_in(site, email)).status == 401
    assert (await log_in(site, email, NEW)).status == 200


async def test_a_kernel_gets_a_token_that_is_for_what_it_says(site: Api, email: str, home: Tenant) -> None:
    access = (await log_in(site, email)).json["access_token"]
    wanted = {"purpose": "kernel", "workspace": home.slug, "scopes": ["viewer"]}
    got = (await site.ask("POST", "auth/exchange", wanted, **shown(access))).json
    assert got["expires_in"] == 900
    kernel = shown(got["access_token"])
    me = (await site.ask("GET", "auth/me", **kernel)).json
    assert (me["kind"], me["workspace"]) == ("kernel", str(home.id))
    assert (await site.get("cards", **kernel)).status == 200
    denied = await site.ask("DELETE", f"{site.workspace}/cards/greet", **kernel)
    assert (denied.status, denied.json["code"]) == (403, "scope_missing")
    for method, path in (("POST", "auth/password"), ("GET", "auth/sessions"), ("DELETE", "auth/sessions")):
        assert (
            await site.ask(method, path, {"old": "", "new": ""} if method == "POST" else None, **kernel)
        ).status == 403
    assert (await site.ask("POST", "auth/exchange", {"purpose": "kernel"}, **kernel)).status == 403
    assert (await site.ask("DELETE", "auth/sessions", **shown(access))).status == 204
    assert (await site.ask("GET", "auth/me", **kernel)).status == 401


async def test_one_session_of_several_is_ended(site: Api, email: str) -> None:
    mine, other = [(await log_in(site, email)).json["access_token"] for _ in range(2)]
    listed = (await site.ask("GET", "auth/sessions", **shown(mine))).json["items"]
    (ended,) = (one["id"] for one in listed if not one["current"])
    assert (await site.ask("DELETE", f"auth/sessions/{ended}", **shown(mine))).status == 204
    assert (await site.ask("DELETE", f"auth/sessions/{ended}", **shown(mine))).status == 404
    assert (await site.ask("GET", "auth/me", **shown(other))).status == 401
    assert (await site.ask("GET", "auth/me", **shown(mine))).status == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "ada@example.com"},
        {"email": "ada", "password": PASSWORD},
        {"email": ["ada@example.com"], "password": PASSWORD},
        {"email": "ada@example.com", "password": "x" * 1025},
        {"email": "ada@example.com", "password": PASSWORD, "remember": True},
        b'{"email": "a@b", "email": "c@d", "password": "x"}',
    ],
    ids=str,
)
async def test_what_is_no_login_is_refused(site: Api, body: Any) -> None:
    answer = await site.ask("POST", "auth/login", body, login=False)
    assert (answer.status, answer.json["code"]) == (422, "request_invalid")


async def test_every_token_that_is_none_is_refused_beside_a_good_one_of_jupyter(
    site: Api, jp_auth_header: dict[str, str], email: str, database: Database
) -> None:
    keys = database.keys
    real = test_tokens.KEYS
    assert real is not keys
    good = (await log_in(site, email)).json["access_token"]
    forms = {**test_tokens.FORMS, **{name: test_tokens.signed(test_tokens.header(), body)
                                     for name, body in test_tokens.EXPIRED.items()},
             "of another installation": test_tokens.GOOD,
             "of nobody": tokens.issue(keys, uuid.uuid4(), uuid.uuid4(), 0),
             "of no session": tokens.issue(keys, accounts.find_account(database, email).id, uuid.uuid4(), 0),
             "cut": good[:-1]}  # fmt: skip
    sent = 0
    for name, form in forms.items():
        text = test_tokens.text_of(form)
        if not text.isascii() or not text.isprintable() or len(text) > 8000:
            continue  # never gets through HTTP
        answer = await site.ask("GET", "auth/me", headers={**jp_auth_header, HEADER: text})
        assert answer.status == 401, name
        answer = await site.ask("GET", "auth/me", headers={"Authorization": f"Bearer {text}"})
        assert answer.status == 401, name
        sent += 1
    assert sent >= 60
    assert (await site.ask("GET", "auth/me", **shown(good))).status == 200
