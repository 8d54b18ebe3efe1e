"""Invitations over HTTP: made by a member, accepted by anybody who holds one."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from promptcard_ext.core.contract.invitations import InvitationSpec
from server_ext.services import invitations
from tests.api.conftest import Api
from tests.api.test_api_members import make_token, shown
from tests.support import Tenant

PASSWORD = "correct horse battery staple"


@pytest.fixture
def extension_config() -> dict[str, Any]:
    """A server that lets people in by password, too."""
    return {"start_worker": False, "allow_password_login": "yes"}


async def test_somebody_new_comes_in_with_a_password(api: Api) -> None:
    email = f"{uuid.uuid4().hex}@example.com"
    made = await api.post("invitations", {"email": email, "role": "viewer"})
    body = {"token": made.json["token"], "name": "Grace", "password": PASSWORD}
    accepted = await api.ask("POST", "invitations/accept", body, login=False)
    again = await api.ask("POST", "invitations/accept", body, login=False)

    assert (made.status, accepted.status, again.status) == (201, 200, 404)
    assert accepted.json["role"] == "viewer"
    assert email in {one["email"] for one in (await api.get("members")).json["items"]}
    assert (await api.get("invitations")).json["items"] == []


async def test_whoever_jupyter_lets_in_joins_as_who_they_are(api: Api, stranger: Tenant) -> None:
    with stranger.scope() as scope:
        token = invitations.create(scope, InvitationSpec("a@example.com", "viewer")).token
    joined = await api.ask("POST", "invitations/join", {"token": token})
    again = await api.ask("POST", "invitations/join", {"token": token})

    assert (joined.status, joined.json["id"], joined.json["role"]) == (200, str(stranger.id), "viewer")
    assert (again.status, again.json["code"]) == (404, "not_found")
    assert (await api.ask("GET", f"workspaces/{stranger.slug}")).status == 200
    anonymous = await api.ask("POST", "invitations/join", {"token": token}, login=False)
    assert anonymous.status in (401, 403)


async def test_a_token_of_one_workspace_joins_no_other(api: Api, stranger: Tenant) -> None:
    mine = shown(await make_token(api))
    with stranger.scope() as scope:
        token = invitations.create(scope, InvitationSpec("a@example.com", "viewer")).token
    for path in ("invitations/accept", "invitations/join"):
        answer = await api.ask("POST", path, {"token": token}, headers=mine, login=False)
        assert answer.status == 403


async def test_an_account_is_made_only_where_it_can_log_in(api: Api, extension: Any) -> None:
    extension.allow_password_login = "no"
    made = await api.post("invitations", {"email": f"{uuid.uuid4().hex}@example.com"})
    body = {"token": made.json["token"], "password": PASSWORD}
    assert (await api.ask("POST", "invitations/accept", body, login=False)).status == 401


async def test_all_bad_tokens_get_the_same_answer(api: Api) -> None:
    made = await api.post("invitations", {"email": "a@example.com"})
    await api.ask("DELETE", f"{api.workspace}/invitations/{made.json['invitation']['id']}")
    answers = set()
    for text in (made.json["token"], made.json["token"][:-4] + "AAAA", "pci_", "x"):
        body = {"token": text, "password": PASSWORD}
        answer = await api.ask("POST", "invitations/accept", body, login=False)
        answers.add((answer.status, answer.json["code"], answer.json["message"], answer.json["hint"]))
    assert len(answers) == 1
    assert answers.pop()[0] == 404


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"email": "nobody"},
        {"email": "a b@example.com"},
        {"email": "a@example.com\n"},
        {"email": "a@exam\x00ple.com"},
        {"email": "a@b@c"},
        {"email": "a" * 65 + "@example.com"},
        {"email": "a@example.com", "role": "root"},
        {"email": "a@example.com", "expires_in_days": 31},
        {"email": "a@example.com", "expires_in_days": 0},
    ],
)
async def test_an_invitation_that_does_not_fit_is_not_made(api: Api, spec: dict[str, object]) -> None:
    assert (await api.post("invitations", spec)).status == 422
