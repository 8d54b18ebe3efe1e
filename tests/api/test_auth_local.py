"""Who one is on a server of one's own, where Jupyter says so."""

from __future__ import annotations

import pytest

from tests.api.conftest import Api
from tests.support import Tenant


async def test_the_owner_is_known_by_jupyters_token(api: Api, tenant: Tenant) -> None:
    me = (await api.ask("GET", "auth/me")).json
    assert (me["user"]["id"], me["user"]["email"]) == (str(tenant.actor.user_id), None)
    assert (me["kind"], me["via"]) == ("human", "local")
    # The oldest of them only, and other tests make the same person a member of theirs.
    assert "owner" in {one["role"] for one in me["workspaces"]}
    assert (await api.ask("GET", f"workspaces/{tenant.slug}")).json["role"] == "owner"


async def test_a_kernel_exchanges_jupyters_token(api: Api, tenant: Tenant) -> None:
    got = await api.ask("POST", "auth/exchange", {"purpose": "kernel"})
    assert got.status == 200
    kernel = {"X-PromptCards-Token": got.json["access_token"]}
    assert (await api.ask("GET", "auth/me", headers=kernel, login=False)).json["kind"] == "kernel"
    assert (await api.get("cards", headers=kernel, login=False)).status == 200
    (session,) = (await api.ask("GET", "auth/sessions")).json["items"][:1]
    assert (await api.ask("DELETE", f"auth/sessions/{session['id']}")).status == 204
    assert (await api.ask("GET", "auth/me", headers=kernel, login=False)).status == 401


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("auth/login", {"email": "ada@example.com", "password": "correct horse battery"}),
        ("auth/refresh", {"refresh_token": "pcr_"}),
    ],
)
async def test_nobody_is_let_in_by_password(api: Api, path: str, body: dict[str, str]) -> None:
    answer = await api.ask("POST", path, body)
    assert (answer.status, answer.json["code"]) == (403, "password_login_off")


async def test_there_is_no_session_to_end_and_no_password_to_change(api: Api) -> None:
    ended = await api.ask("POST", "auth/logout")
    changed = await api.ask("POST", "auth/password", {"old": "x", "new": "correct horse battery"})
    assert (ended.status, ended.json["code"]) == (401, "unauthenticated")
    assert (changed.status, changed.json["code"]) == (422, "password_missing")


async def test_who_shows_nothing_is_nobody(api: Api) -> None:
    for method, path in (
        ("GET", "auth/me"), ("GET", "auth/sessions"), ("DELETE", "auth/sessions"), ("POST", "auth/logout"),
        ("POST", "auth/exchange"), ("POST", "auth/password"),
    ):  # fmt: skip
        answer = await api.ask(method, path, login=False)
        assert answer.status == 401, path
