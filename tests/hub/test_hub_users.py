"""What the Hub tells a service, and how often users' memberships are looked at anew."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from promptcard_ext.core.errors import SetupError, Unauthenticated
from server_ext.auth.actor import Actor
from server_ext.auth.hub import AS_OF, HubService, HubUser, hub_service, in_users_server, read_user
from server_ext.auth.hub_actors import HubActors

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
        "promptcards", "/services/promptcards/", *expected, "http://127.0.0.1:8081/hub/api", "t0ken"
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

    @property
    def groups(self) -> list[str]:
        return ["".join(sorted(user.groups)) for user in self.asked]

    def sync(self, user: HubUser) -> Actor:
        self.asked.append(user)
        return Actor(uuid4(), user.name, via="hub")


class Clock:
    """A clock that is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def members() -> Members:
    return Members()


@pytest.fixture
def actors(members: Members, clock: Clock) -> HubActors:
    return HubActors(members.sync, clock=clock)


def seen(actors: HubActors, *groups: str, as_of: float = 1000, name: str = "alice") -> Actor:
    return actors.actor_of(SimpleNamespace(hub_user=model(name, *groups, **{AS_OF: as_of})))


def at_hand(actors: HubActors, *groups: str, as_of: float = 1000, name: str = "alice") -> Actor | None:
    return actors.at_hand(SimpleNamespace(hub_user=model(name, *groups, **{AS_OF: as_of})))


def test_memberships_are_looked_at_when_groups_change_and_not_with_every_request(
    actors: HubActors, members: Members
) -> None:
    first = seen(actors, "a", "b")
    assert seen(actors, "b", "a", as_of=1001) is first
    assert members.groups == ["ab"]
    seen(actors, "a", as_of=1002)
    seen(actors, "a", "b", as_of=1003)  # as it was at first, but not as it was last
    assert members.groups == ["ab", "a", "ab"]
    seen(actors, "a", "b", name="bob")
    assert len(members.asked) == 4


def test_memberships_are_looked_at_again_after_five_minutes(actors: HubActors, members: Members, clock: Clock) -> None:
    for clock.now in (1000, 1299, 1300, 1599, 1600):
        seen(actors, "a", as_of=clock.now)
    assert members.groups == ["a", "a", "a"]


def test_an_older_answer_does_not_bring_back_what_a_newer_one_has_ended(
    actors: HubActors, members: Members, clock: Clock
) -> None:
    seen(actors, "a", as_of=900)  # a socket, opened when alice was in the group
    seen(actors, as_of=1000)
    assert seen(actors, "a", as_of=900).name == "alice"
    assert members.groups == ["a", ""]
    clock.now = 1150
    seen(actors, "a", as_of=900)
    assert members.groups == ["a", ""]


def test_an_answer_that_is_too_old_is_refused(actors: HubActors, members: Members, clock: Clock) -> None:
    seen(actors, "a")
    clock.now = 1300
    with pytest.raises(Unauthenticated) as refusal:
        seen(actors, "a")
    assert refusal.value.code == "hub_answer_old"
    assert len(members.asked) == 1


def test_of_two_answers_at_once_the_newer_has_the_last_word(clock: Clock) -> None:
    order: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def sync(user: HubUser) -> Actor:
        if user.groups:
            begun.set()
            assert go_on.wait(30)
        order.append("".join(user.groups))
        return Actor(uuid4(), user.name, via="hub")

    actors = HubActors(sync, clock=clock)
    with ThreadPoolExecutor(2) as pool:
        older = pool.submit(seen, actors, "a", as_of=999)
        assert begun.wait(30)
        newer = pool.submit(seen, actors, as_of=1000)
        go_on.set()
        older.result(30)
        newer.result(30)
    assert order == ["a", ""]


def test_a_user_who_may_have_been_locked_is_looked_at_anew(actors: HubActors, members: Members) -> None:
    alice, bob = seen(actors, "a"), seen(actors, "b", name="bob")
    actors.forget(alice.user_id)
    assert at_hand(actors, "a") is None
    assert at_hand(actors, "b", name="bob") is bob
    seen(actors, "a", as_of=900)  # by what the newest answer said, not by this one
    assert members.groups == ["a", "b", "a"]
    actors.forget()
    assert at_hand(actors, "b", name="bob") is None


def test_news_that_come_while_a_user_is_looked_at_are_not_missed(clock: Clock) -> None:
    def sync(user: HubUser) -> Actor:
        actors.forget()
        return Actor(uuid4(), user.name, via="hub")

    actors = HubActors(sync, clock=clock)
    seen(actors, "a")
    assert at_hand(actors, "a") is None


def test_an_actor_is_at_hand_once_looked_at(actors: HubActors) -> None:
    assert at_hand(actors, "a") is None
    alice = seen(actors, "a")
    assert at_hand(actors, "a") is alice
    assert at_hand(actors, as_of=1001) is None


def test_a_user_who_is_not_here_is_looked_at_once_and_when_groups_change(
    actors: HubActors, members: Members, clock: Clock
) -> None:
    def learn(*groups: str, as_of: float) -> None:
        actors.learn(HubUser("alice", frozenset(groups), admin=False, as_of=as_of))

    for clock.now in (1000, 1060, 2000):
        learn("a", as_of=clock.now)
    learn("b", as_of=1990)  # a list that was long under way
    assert members.groups == ["a"]
    learn("b", as_of=2001)
    assert members.groups == ["a", "b"]
    actors.forget()
    learn("b", as_of=2002)
    assert members.groups == ["a", "b", "b"]
