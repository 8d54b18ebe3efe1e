"""What the Hub tells a service, and how often users' memberships are looked at anew."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from promptcard_ext.core.errors import SetupError, Unauthenticated
from server_ext.auth.actor import Actor
from server_ext.auth.hub import HubActors, HubService, HubUser, hub_service, in_users_server, read_user

SERVICE = {
    "JUPYTERHUB_SERVICE_NAME": "promptcards",
    "JUPYTERHUB_API_TOKEN": "t0ken",
    "JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api",
    "JUPYTERHUB_SERVICE_PREFIX": "/services/promptcards/",
    "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:10101",
}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:10101", ("127.0.0.1", 10101)),
        ("http://promptcards/", ("promptcards", 80)),
        ("https://[::1]", ("::1", 443)),
        ("http://:10101", ("", 10101)),
    ],
)
def test_a_service_listens_where_the_hub_says(url: str, expected: tuple[str, int]) -> None:
    assert hub_service({**SERVICE, "JUPYTERHUB_SERVICE_URL": url}) == HubService(
        "promptcards", "/services/promptcards/", *expected
    )


@pytest.mark.parametrize("gone", [name for name in SERVICE if name != "JUPYTERHUB_SERVICE_NAME"])
def test_half_a_service_is_refused_by_name(gone: str) -> None:
    with pytest.raises(SetupError) as refusal:
        hub_service({**SERVICE, gone: ""})
    assert refusal.value.code == "hub_service_incomplete"
    assert gone in str(refusal.value)
    assert "t0ken" not in str(refusal.value)


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(SetupError) as refusal:
        hub_service({**SERVICE, "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:port"})
    assert refusal.value.code == "hub_service_incomplete"


def test_a_users_server_is_no_service() -> None:
    users = {name: value for name, value in SERVICE.items() if name != "JUPYTERHUB_SERVICE_NAME"}
    assert hub_service(users) is None
    assert in_users_server(users)
    assert not in_users_server(SERVICE)
    assert hub_service({}) is None
    assert not in_users_server({})


def model(name: str = "alice", *groups: str, **more: Any) -> dict[str, Any]:
    return {"kind": "user", "name": name, "groups": list(groups), "admin": False, "scopes": [], **more}


def test_a_user_is_read_from_what_the_hub_says() -> None:
    assert read_user(model("alice", "b", "a", admin=True)) == HubUser("alice", frozenset("ab"), admin=True)
    assert read_user({"kind": "user", "name": "bob"}) == HubUser("bob", frozenset(), admin=False)


def test_a_service_of_the_hub_is_nobody_here() -> None:
    with pytest.raises(Unauthenticated) as refusal:
        read_user({"kind": "service", "name": "culler", "groups": ["promptcards-team-owner"]})
    assert refusal.value.code == "hub_service_refused"


class Members:
    """Takes note of whose memberships are looked at."""

    def __init__(self) -> None:
        self.asked: list[HubUser] = []

    def sync(self, user: HubUser) -> Actor:
        self.asked.append(user)
        return Actor(uuid4(), user.name, via="hub")


def seen(actors: HubActors, *groups: str, name: str = "alice") -> Actor:
    return actors.actor_of(SimpleNamespace(hub_user=model(name, *groups)))


def test_memberships_are_looked_at_when_groups_change_and_not_with_every_request() -> None:
    members = Members()
    actors = HubActors(members.sync)
    first = seen(actors, "a", "b")
    assert seen(actors, "b", "a") is first
    assert len(members.asked) == 1
    seen(actors, "a")
    seen(actors, "a", "b")  # as it was at first, but not as it was last
    assert [sorted(user.groups) for user in members.asked] == [["a", "b"], ["a"], ["a", "b"]]
    seen(actors, "a", "b", name="bob")
    assert len(members.asked) == 4


def test_memberships_are_looked_at_again_after_a_while() -> None:
    members = Members()
    actors = HubActors(members.sync, after_s=0)
    seen(actors, "a")
    seen(actors, "a")
    assert len(members.asked) == 2
