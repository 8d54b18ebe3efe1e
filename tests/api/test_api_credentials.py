"""Provider keys and network rules over REST."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.stub_server import Stub
from tests.support import Tenant

KEY = "sk-canary-over-rest-41d8"


async def test_a_key_goes_in_and_never_comes_out(api: Api) -> None:
    saved = await api.post("credentials", {"provider": "openai", "key": f" {KEY}\n"})
    path = f"credentials/{saved.json['id']}"
    read, listed = await api.get(path), await api.get("credentials")
    changed = await api.ask(
        "PATCH", f"{api.workspace}/{path}", {"name": "main"}, headers={"If-Match": saved.headers["ETag"]}
    )
    assert (saved.status, changed.status) == (201, 200)
    assert read.json == saved.json == listed.json["items"][0]
    assert saved.json["last_four"] == "41d8"
    assert (changed.json["name"], changed.json["has_key"]) == ("main", True)
    for answer in (saved, read, listed, changed):
        assert b"canary" not in answer.raw
        assert b"sealed" not in answer.raw
        assert b"key_id" not in answer.raw


async def test_a_change_names_the_state_it_is_based_on(api: Api) -> None:
    saved = await api.post("credentials", {"provider": "openai", "key": KEY})
    path = f"{api.workspace}/credentials/{saved.json['id']}"
    assert (await api.ask("PATCH", path, {"enabled": False})).status == 428
    late = await api.ask("PATCH", path, {"enabled": False, "key": KEY}, headers={"If-Match": '"old"'})
    assert (late.status, late.json["code"]) == (412, "etag_mismatch")
    assert late.json["diff"] == {"enabled": {"current": True, "wanted": False}}
    assert KEY.encode() not in late.raw
    gone = await api.ask("DELETE", path, headers={"If-Match": saved.headers["ETag"]})
    assert gone.status == 204
    assert (await api.ask("GET", path)).status == 404


async def test_a_private_host_is_allowed_tested_and_taken_back(api: Api) -> None:
    with Stub() as stub:
        wanted = {"provider": "ollama", "base_url": stub.url}
        refused = await api.post("credentials", wanted)
        rule = await api.post("network-rules", {"host": "127.0.0.1", "port": stub.port})
        saved = await api.post("credentials", wanted)
        path = f"credentials/{saved.json['id']}/test"
        fine = await api.post(path)
        gone = await api.ask("DELETE", f"{api.workspace}/network-rules/{rule.json['id']}")
        closed = await api.post(path)
    assert (refused.status, refused.json["code"]) == (422, "address_refused")
    assert (rule.status, saved.status, gone.status) == (201, 201, 204)
    assert fine.json["models"] == ["stub-a:1b", "stub-b:1b"]
    assert (closed.status, closed.json["ok"], closed.json["code"]) == (200, False, "address_refused")
    assert stub.connections == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"provider": "openai", "key": ""},
        {"provider": "openai", "key": "a b\u00fc"},
        {"provider": "openai", "name": "Über"},
        {"provider": "openai", "name": "a/b"},
        {"provider": "openai", "name": "eu\n"},
        {"provider": "openai", "headers": {"X": "1"}},
        {"provider": "openai", "base_url": "https://127.0.0.1/v1"},
        {"provider": "openai", "base_url": "https://x" + "y" * 3000},
        {"provider": "nope"},
    ],
)
async def test_what_does_not_fit_is_refused(api: Api, body: dict[str, Any]) -> None:
    answer = await api.post("credentials", body)
    assert answer.status == 422
    assert (await api.get("credentials")).json["items"] == []


async def test_a_test_takes_no_other_address(api: Api, tenant: Tenant) -> None:
    saved = await api.post("credentials", {"provider": "openai", "key": KEY})
    with Stub() as evil:
        path = f"credentials/{saved.json['id']}/test"
        assert (await api.post(path, {"base_url": evil.url})).status == 422
        assert (await api.post(f"{path}?base_url={evil.url}")).status == 422
        assert evil.connections == 0


async def test_a_key_has_limits_by_the_minute_that_can_be_changed_and_taken_away(api: Api) -> None:
    saved = await api.post("credentials", {"provider": "openai", "key": KEY, "requests_per_minute": 500})
    path = f"{api.workspace}/credentials/{saved.json['id']}"
    assert (saved.json["requests_per_minute"], saved.json["tokens_per_minute"]) == (500, None)
    change: dict[str, Any] = {"requests_per_minute": None, "tokens_per_minute": 90_000}
    changed = await api.ask("PATCH", path, change, headers={"If-Match": saved.headers["ETag"]})
    assert (changed.json["requests_per_minute"], changed.json["tokens_per_minute"]) == (None, 90_000)
    assert (changed.json["has_key"], changed.json["revision"]) == (True, 1)
    same = await api.ask("PATCH", path, {"name": "main"}, headers={"If-Match": changed.headers["ETag"]})
    assert same.json["tokens_per_minute"] == 90_000
    for wrong in (0, -5, 1_000_001, 1.5, "many"):
        refused = await api.post("credentials", {"provider": "openai", "name": "x", "requests_per_minute": wrong})
        assert refused.status == 422
