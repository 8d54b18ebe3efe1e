"""Webhooks over REST."""

from __future__ import annotations

import pytest

from tests.api.conftest import Api

HOOK = "https://hooks.example.com/run"


async def test_a_secret_comes_out_once(api: Api) -> None:
    saved = await api.post("webhooks", {"url": HOOK, "note": "tells the team"})
    webhook, secret = saved.json["webhook"], saved.json["secret"]
    path = f"webhooks/{webhook['id']}"
    read, listed = await api.get(path), await api.get("webhooks")
    assert saved.status == 201
    assert secret.startswith("whsec_")
    assert read.json == webhook == listed.json["items"][0]
    for answer in (read, listed):
        assert secret.encode() not in answer.raw
        assert b"sealed" not in answer.raw


async def test_a_repeated_request_does_not_repeat_the_secret(api: Api) -> None:
    key = {"Idempotency-Key": "one"}
    first = await api.post("webhooks", {"url": HOOK}, headers=key)
    second = await api.post("webhooks", {"url": HOOK}, headers=key)
    assert first.json.get("secret") != second.json.get("secret")


async def test_a_webhook_is_changed_on_condition_and_deleted(api: Api) -> None:
    saved = await api.post("webhooks", {"url": HOOK})
    path = f"{api.workspace}/webhooks/{saved.json['webhook']['id']}"
    assert (await api.ask("PATCH", path, {"enabled": False})).status == 428
    etag = (await api.ask("GET", path)).headers["ETag"]
    off = await api.ask("PATCH", path, {"enabled": False}, headers={"If-Match": etag})
    late = await api.ask("PATCH", path, {"enabled": True}, headers={"If-Match": etag})
    refused = await api.ask("POST", path + "/test", {})
    gone = await api.ask("DELETE", path, headers={"If-Match": off.headers["ETag"]})
    assert (off.status, off.json["enabled"], late.status) == (200, False, 412)
    assert (refused.status, refused.json["code"]) == (422, "webhook_off")
    assert (gone.status, (await api.ask("GET", path)).status) == (204, 404)


async def test_a_test_waits_in_the_list_of_deliveries(api: Api) -> None:
    saved = await api.post("webhooks", {"url": HOOK})
    path = f"webhooks/{saved.json['webhook']['id']}"
    sent = await api.post(path + "/test")
    listed = await api.get(path + "/deliveries?state=waiting")
    none = await api.get(path + "/deliveries?state=failed")
    assert (sent.status, sent.json["type"], sent.json["state"]) == (202, "webhook.test", "waiting")
    assert [one["id"] for one in listed.json["items"]] == [sent.json["id"]]
    assert none.json == {"items": [], "next": None}


@pytest.mark.parametrize("body", [{}, {"url": ""}, {"url": "http://10.0.0.1/"}, {"url": HOOK, "secret": "mine"}])
async def test_what_does_not_fit_is_refused(api: Api, body: dict[str, str]) -> None:
    assert (await api.post("webhooks", body)).status == 422
