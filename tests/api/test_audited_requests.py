"""What requests leave in the audit trail, besides the changes that they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from promptcard_ext.core.contract.api_tokens import ApiTokenSpec
from promptcard_ext.core.contract.audit import AuditEntry, AuditQuery
from server_ext.auth.actor import Actor
from server_ext.services import api_tokens, audit
from tests.api.conftest import Api
from tests.support import Tenant

NewActor = Callable[..., Actor]


def entries(tenant: Tenant, action: str) -> list[AuditEntry]:
    with tenant.scope() as scope:
        return audit.list_entries(scope, AuditQuery(action=action)).items


def token_of(tenant: Tenant, actor: Actor) -> dict[str, Any]:
    with Tenant(tenant.database, actor, tenant.id, tenant.slug).scope() as scope:
        return {"X-PromptCards-Token": api_tokens.create(scope, ApiTokenSpec(name="test")).token}


async def test_an_attempt_to_change_what_one_may_not_change_is_recorded(
    api: Api, tenant: Tenant, new_actor: NewActor
) -> None:
    viewer = new_actor(tenant, "viewer")
    headers = token_of(tenant, viewer)

    refused = await api.post("cards", {"name": "x", "template": "y"}, headers=headers, login=False)
    await api.get("audit", headers=headers, login=False)  # may not be seen either, but looking is no attempt

    assert refused.status == 403
    (entry,) = entries(tenant, "access.denied")
    assert (entry.actor, entry.actor_role, entry.object_id) == (viewer.user_id, "viewer", "prompt:create")
    assert entry.detail == {"path": f"workspaces/{tenant.slug}/cards"}
    assert entry.request_id == refused.headers["X-Request-Id"]


async def test_files_that_leave_the_server_are_recorded(api: Api, tenant: Tenant) -> None:
    tenant.fill(3)
    answer = await api.get("cards/greet/cases/export")
    assert answer.status == 200
    (entry,) = entries(tenant, "export.made")
    assert entry.object_id == "export_cases"
    assert entry.detail == {"path": f"workspaces/{tenant.slug}/cards/greet/cases/export"}


async def test_an_export_at_a_path_longer_than_the_trail_has_room_for_is_404(api: Api) -> None:
    for name in ("a" * 300, "\x00"):
        assert (await api.get(f"cards/{quote(name)}/cases/export")).status == 404
