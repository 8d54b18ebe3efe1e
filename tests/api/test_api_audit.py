"""The audit trail over HTTP."""

from __future__ import annotations

from server_ext.services import audit
from server_ext.services.scope import open_scope
from tests.api.conftest import Api
from tests.conftest import NewActor
from tests.support import Tenant


async def test_what_is_done_over_http_is_listed_with_its_request(api: Api, tenant: Tenant) -> None:
    made = await api.post("tokens", {"name": "mine"})
    listed = await api.get("audit?action=token.created&limit=1")
    (entry,) = listed.json["items"]
    assert (listed.status, entry["object_id"]) == (200, made.json["api_token"]["id"])
    assert (entry["actor"], entry["actor_role"]) == (str(tenant.actor.user_id), "owner")
    assert entry["request_id"] == made.headers["X-Request-Id"]
    assert entry["address"]
    assert entry["sealed"]
    assert "token" not in entry["detail"]


async def test_a_trail_is_checked_in_parts_against_its_head(api: Api, tenant: Tenant) -> None:
    for n in range(4):
        with tenant.scope() as scope:
            audit.record(scope, "thing.made", "thing", n)
    head = (await api.get("audit/head")).json
    after, complete = 0, False
    while not complete:
        found = (await api.get(f"audit/verify?after={after}&limit=2")).json
        assert found["problem"] is None
        after, complete = found["checked_to"], found["complete"]
    assert (head["seq"], head["workspace"]) == (after, str(tenant.id))
    assert (await api.get("audit/verify?limit=1000000")).status == 422
    assert (await api.get("audit?nonsense=1")).status == 422
    assert (await api.get("audit?since=2001-01-01T00:00:00Z&limit=1")).json["items"][0]["seq"] == head["seq"]
    assert (await api.get("audit?until=2001-01-01T00:00:00Z")).json == {"items": [], "next": None}
    assert (await api.get("audit?since=2001-01-01")).status == 422


async def test_whoever_may_not_read_the_trail_is_refused(api: Api, tenant: Tenant, new_actor: NewActor) -> None:
    token = (await api.post("tokens", {"name": "mine", "scopes": ["prompt:*"]})).json["token"]
    for path in ("audit", "audit/head", "audit/verify"):
        answer = await api.get(path, headers={"X-PromptCards-Token": token}, login=False)
        assert (answer.status, answer.json["code"]) == (403, "scope_missing")
    with open_scope(tenant.database, new_actor(tenant, "admin"), str(tenant.id)) as scope:
        assert audit.head(scope).seq > 0
