"""Members, tokens and the workspace itself, over HTTP."""

from __future__ import annotations

import time
import uuid

import pytest

from server_ext.services import workspaces
from tests.api.conftest import Api
from tests.conftest import NewActor
from tests.support import Tenant


async def make_token(api: Api, **spec: object) -> str:
    made = await api.post("tokens", {"name": "mine", **spec})
    assert made.status == 201, made.raw
    return str(made.json["token"])


def shown(token: str) -> dict[str, str]:
    return {"X-PromptCards-Token": token}


async def test_a_token_opens_its_workspace_and_no_other(api: Api, tenant: Tenant) -> None:
    token = await make_token(api)
    other = workspaces.create(tenant.database, tenant.actor, "Other")
    for headers in (shown(token), {"Authorization": f"Bearer {token}"}):
        assert (await api.get("cards", headers=headers, login=False)).status == 200
        assert (await api.ask("GET", f"workspaces/{other.slug}", headers=headers, login=False)).status == 404
        listed = await api.ask("GET", "workspaces", headers=headers, login=False)
        assert [one["id"] for one in listed.json["items"]] == [str(tenant.id)]
        assert (await api.ask("POST", "workspaces", {"name": "x"}, headers=headers, login=False)).status == 403


async def test_a_token_that_is_bad_is_refused_though_jupyter_would_let_one_in(api: Api) -> None:
    token = await make_token(api)
    answer = await api.get("cards", headers=shown(token[:-4] + "AAAA"))
    assert (answer.status, answer.json["code"]) == (401, "token_invalid")


async def test_a_revoked_token_opens_nothing_any_more(api: Api) -> None:
    token = await make_token(api)
    assert (await api.get("cards", headers=shown(token), login=False)).status == 200
    (listed,) = (await api.get("tokens")).json["items"]
    assert token not in str(listed)
    assert (await api.ask("DELETE", f"{api.workspace}/tokens/{listed['id']}")).status == 204
    latest = time.monotonic() + 5
    while (answer := await api.get("cards", headers=shown(token), login=False)).status == 200:
        assert time.monotonic() < latest
    assert answer.json["code"] == "token_invalid"


async def test_scopes_hold_over_http(api: Api) -> None:
    token = await make_token(api, scopes=["prompt:read"])
    assert (await api.get("cards", headers=shown(token), login=False)).status == 200
    refused = await api.get("runs", headers=shown(token), login=False)
    assert (refused.status, refused.json["code"]) == (403, "scope_missing")


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "\x00"},
        {"name": "x", "purpose": "root"},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["prompt:burn"]},
        {"name": "x", "expires_in_days": 0},
        {"name": "x", "expires_in_days": 367},
        {"name": "x", "user_id": str(uuid.uuid4())},
    ],
)
async def test_a_token_that_does_not_fit_is_not_made(api: Api, spec: dict[str, object]) -> None:
    assert (await api.post("tokens", spec)).status == 422


async def test_a_role_is_changed_under_condition(api: Api, tenant: Tenant, new_actor: NewActor) -> None:
    path = f"{api.workspace}/members/{new_actor(tenant, 'viewer').user_id}"
    read = await api.ask("GET", path)
    seen = {"If-Match": read.headers["ETag"]}

    assert (await api.ask("PATCH", path, {"role": "member"})).status == 428
    changed = await api.ask("PATCH", path, {"role": "member"}, headers=seen)
    late = await api.ask("PATCH", path, {"role": "admin"}, headers=seen)

    assert (changed.status, changed.json["role"]) == (200, "member")
    assert changed.headers["ETag"] == (await api.ask("GET", path)).headers["ETag"]
    assert (late.status, late.json["current"]["role"]) == (412, "member")
    assert late.json["diff"] == {"role": {"current": "member", "wanted": "admin"}}


async def test_members_come_and_go(api: Api, tenant: Tenant, new_actor: NewActor) -> None:
    other = new_actor(tenant)
    assert [one["role"] for one in (await api.get("members")).json["items"]] == ["owner", "member"]
    assert (await api.ask("DELETE", f"{api.workspace}/members/{other.user_id}")).status == 204
    again = await api.ask("DELETE", f"{api.workspace}/members/{other.user_id}")
    assert again.status == 404
    me = await api.ask("DELETE", f"{api.workspace}/members/{tenant.actor.user_id}")
    assert (me.status, me.json["code"]) == (409, "last_owner")


async def test_a_workspace_is_renamed_under_condition(api: Api) -> None:
    read = await api.ask("GET", api.workspace)
    assert (await api.ask("PATCH", api.workspace, {"name": "New"})).status == 428
    changed = await api.ask("PATCH", api.workspace, {"name": "New"}, headers={"If-Match": read.headers["ETag"]})
    assert (changed.status, changed.json["name"]) == (200, "New")
    slug = f"s-{uuid.uuid4().hex[:6]}"
    moved = await api.ask("PATCH", api.workspace, {"slug": slug}, headers={"If-Match": changed.headers["ETag"]})
    assert moved.status == 200
    assert (await api.ask("GET", f"workspaces/{slug}")).json == moved.json


async def test_slugs_that_are_no_addresses_are_refused(api: Api) -> None:
    for slug in ("", "A", "a b", "-a", "a\n", "a/b", uuid.uuid4().hex, "a" * 101):
        assert (await api.ask("PATCH", api.workspace, {"slug": slug}, headers={"If-Match": "*"})).status == 422


async def test_a_workspace_is_handed_over_and_left(api: Api, tenant: Tenant, new_actor: NewActor) -> None:
    heir = new_actor(tenant, "member")
    last = await api.post("leave")
    assert (last.status, last.json["code"]) == (409, "last_owner")
    handed = await api.post("transfer", {"user": str(heir.user_id)})
    assert (handed.status, handed.json["role"]) == (200, "admin")
