"""The side panel's requests in the server of a JupyterHub's user, and what the Hub's service hears of them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from jupyter_server.auth import Authorizer

from server_ext.api import hub_reader, hub_relay
from server_ext.api.hub_reader import HubReader
from server_ext.app import PromptCards
from tests.api.conftest import Api
from tests.api.test_changes_stream import Follower, until
from tests.stub_server import Behaviour, Stub

TOKEN = "hub-t0ken-of-adas-server"
SERVICE = "/services/promptcards/"
EMPTY = b'{"items":[],"next":null}'
ACCESS = b'{"code":"hub_access_missing","message":"Not you.","hint":"Ask for the scope.","request_id":"1"}'


@pytest.fixture(autouse=True)
def service(_session_services: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """What answers in place of the Hub's service; Jupyter runs as the server of the Hub's user ada."""
    with Stub(lambda _: Behaviour(body=EMPTY)) as stub:
        monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/")
        monkeypatch.setenv("JUPYTERHUB_BASE_URL", "/")
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", TOKEN)
        monkeypatch.setenv("PROMPTCARDS_URL", f"{stub.url}{SERVICE}")
        yield stub


Follow = Callable[[], Awaitable[Follower]]


@pytest.fixture
def follow(api: Api, http_server_port: Any) -> Iterator[Follow]:
    """A function that opens a stream of events, as a browser does; it is read only when told to."""
    followers: list[Follower] = []

    async def open_stream() -> Follower:
        path = f"{api.base}promptcards/api/v1/workspaces/team/events"
        followers.append(await Follower.open(http_server_port[1], path, api.token))
        return followers[-1]

    yield open_stream
    for follower in followers:
        follower.close()


@pytest.mark.parametrize(
    "path",
    [
        "workspaces?limit=200",
        "workspaces/team/cards?limit=200&fields=name%2Ctags",
        "workspaces/3f2b8c1e-7f3d-4a53-9e53-0b5ad1f3a1b2/search?text=two+words+%26+more&limit=50",
        "workspaces/team/cards/greet/labels",
        "workspaces/team.2_x/runs?status=running&status=failed&name=%C3%BC",
    ],
)
async def test_what_the_panel_reads_comes_from_the_service_by_the_servers_token(
    api: Api, service: Stub, path: str
) -> None:
    service.next(Behaviour(body=EMPTY, headers={"Set-Cookie": "a=b", "X-Own": "c"}))
    jupyters = f"token={api.token['Authorization'].split()[1]}&_xsrf=x"
    answer = await api.ask("GET", f"{path}{'&' if '?' in path else '?'}{jupyters}", headers={"Cookie": "of=ada"})
    assert (answer.status, answer.raw) == (200, EMPTY)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "a=b" not in answer.headers.get("Set-Cookie", "")
    assert "X-Own" not in answer.headers
    (call,) = service.calls
    assert (call.method, call.path) == ("GET", f"{SERVICE}promptcards/api/v1/{path}")
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert "cookie" not in call.headers


@pytest.mark.parametrize(
    "path",
    [
        "workspaces/../cards",
        "workspaces/%2e%2e/cards",
        "workspaces/..%2f..%2fhub%2fapi/cards",
        "workspaces/%252e%252e%252f/cards",
        "workspaces/team%2fcards/runs",
        "workspaces/team%5c..%5c/runs",
        "workspaces//runs",
        "workspaces/team%3fx=/runs",
        "workspaces/team%23/runs",
        "workspaces/team%0d%0aX:%20y/runs",
        "workspaces/team%00/runs",
        "workspaces/%ff/runs",
        "workspaces/http:%2f%2felsewhere/runs",
        "workspaces/@elsewhere/runs",
        f"workspaces/{'a' * 101}/runs",
        "workspaces/team/cards/..%2f..%2fcases/labels",
        "workspaces/team/cards/../labels",
        "workspaces/team/cards/greet%2f/labels",
        "workspaces/..%2f/events",
        "workspaces/TEAM/events",
        # Whole, and not read by the panel.
        "workspaces/team",
        "workspaces/team/cards/greet",
        "workspaces/team/runs/1",
        "workspaces/team/runs/1/events",
        "workspaces/team/members",
        "health",
        "openapi.json",
        "nosuch",
        "//elsewhere/workspaces",
    ],
)
async def test_other_paths_are_refused_and_nobody_hears_of_them(api: Api, service: Stub, path: str) -> None:
    answer = await api.ask("GET", path)
    assert answer.status in (400, 404, 503)
    if answer.status == 503:
        assert answer.json["code"] == "hub_not_supported"
    assert service.calls == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD"])
@pytest.mark.parametrize("path", [*hub_relay.PATHS, hub_relay.EVENTS, "auth/exchange"])
async def test_nothing_but_reading_is_passed_on(api: Api, service: Stub, method: str, path: str) -> None:
    answer = await api.ask(method, path.format(workspace="team", card="greet"), b"" if method == "HEAD" else {})
    assert answer.status in (405, 503)
    if answer.status == 503:
        assert answer.json["code"] == "hub_not_supported"
    assert service.calls == []


@pytest.mark.parametrize(
    "path",
    [
        "workspaces?url=http://elsewhere/",
        "workspaces/team/runs?limit=1&limit=2",
        "workspaces/team/search",
        "workspaces/team/events?after=1",
        f"workspaces/team/cards?fields={'x,' * 4000}",
    ],
)
async def test_a_query_that_is_not_understood_goes_no_further(api: Api, service: Stub, path: str) -> None:
    answer = await api.ask("GET", path)
    assert (answer.status, answer.json["code"]) == (422, "request_invalid")
    assert service.calls == []


@pytest.mark.parametrize("headers", [{}, {"X-PromptCards-Token": "pct_x"}, {"Authorization": "Bearer pct_x"}])
@pytest.mark.parametrize("path", ["workspaces", "workspaces/team/events"])
async def test_only_whom_jupyter_lets_in_is_let_in(api: Api, service: Stub, path: str, headers: dict[str, str]) -> None:
    answer = await api.ask("GET", path, headers=headers, login=False)
    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
    # A credential of ours is not for this server, whatever Jupyter says of whoever shows it.
    if "X-PromptCards-Token" in headers:
        assert (await api.ask("GET", path, headers=headers)).status == 401
    assert service.calls == []


class Refusing(Authorizer):
    """Lets nobody see anything of Prompt Cards."""

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        return (action, resource) != ("read", "promptcards")


class TestAuthorizer:
    @pytest.fixture
    def server_config(self) -> dict[str, Any]:
        return {"authorizer_class": Refusing}

    @pytest.mark.parametrize("path", ["workspaces", "workspaces/team/events"])
    async def test_whom_jupyter_allows_nothing_sees_nothing(self, api: Api, service: Stub, path: str) -> None:
        answer = await api.ask("GET", path)
        assert (answer.status, answer.json["code"]) == (403, "denied")
        assert service.calls == []


BEHAVIOURS = {
    "no scope": (Behaviour(status=403, body=ACCESS), 403, "hub_access_missing"),
    "unknown token": (Behaviour(status=401, body=ACCESS), 403, "hub_token_refused"),
    "none of ours": (Behaviour(status=404, body=ACCESS.replace(b"hub_access_missing", b"not_found")), 404, "not_found"),
    "starting": (Behaviour(status=503, body=ACCESS.replace(b"hub_access_missing", b"starting")), 503, "starting"),
    "no service": (Behaviour(status=404, body=b"<h1>404</h1>"), 503, "server_not_found"),
    "a login": (Behaviour(status=302, headers={"Location": "/hub/login"}), 503, "server_not_found"),
    "a proxy's page": (Behaviour(status=503, body=f"<p>{TOKEN}</p>".encode()), 503, "server_unreachable"),
    "a page": (Behaviour(body=b"<p>", headers={"Content-Type": "text/html"}), 503, "answer_invalid"),
    "too much": (Behaviour(body=b" " * (hub_reader.MAX_BODY_BYTES + 1)), 503, "answer_invalid"),
    "cut off": (Behaviour(body=EMPTY, cut_at=5), 503, "server_unreachable"),
    "a strange code": (Behaviour(status=403, body=ACCESS.replace(b"hub_", b"<b>")), 503, "answer_invalid"),
    "a status": (Behaviour(status=418), 503, "answer_invalid"),
}


@pytest.mark.parametrize(("behaviour", "status", "code"), BEHAVIOURS.values(), ids=BEHAVIOURS.keys())
async def test_whatever_the_service_answers_the_panel_gets_an_error_of_ours(
    api: Api, service: Stub, behaviour: Behaviour, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for path in ("workspaces/team/cards", "workspaces/team/runs"):
        service.next(behaviour)
        answer = await api.ask("GET", path)
        assert (answer.status, answer.json["code"]) == (status, code)
        assert answer.json["hint"]
        assert TOKEN.encode() not in answer.raw
    # No redirect is followed, and nothing asked twice.
    assert [call.path.rpartition("/")[2] for call in service.calls] == ["cards", "runs"]
    assert TOKEN not in caplog.text


async def test_how_long_to_wait_is_passed_on(api: Api, service: Stub) -> None:
    body = ACCESS.replace(b"hub_access_missing", b"rate_limited")
    service.next(Behaviour(status=429, body=body, headers={"Retry-After": "7"}))
    answer = await api.ask("GET", "workspaces")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")


async def test_a_service_that_is_away_is_asked_again(api: Api, service: Stub) -> None:
    service.next(Behaviour(cut_at=0), Behaviour(cut_at=0))
    answer = await api.ask("GET", "workspaces")
    assert (answer.status, answer.json["code"]) == (503, "server_unreachable")
    assert TOKEN.encode() not in answer.raw
    assert (await api.ask("GET", "workspaces")).status == 200


class TestNoAddress:
    @pytest.fixture(autouse=True)
    def nowhere(self, service: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PROMPTCARDS_URL")

    async def test_without_an_address_of_the_service_the_answer_says_who_can_help(self, api: Api) -> None:
        answer = await api.ask("GET", "workspaces")
        assert (answer.status, answer.json["code"]) == (503, "hub_not_supported")
        assert "PROMPTCARDS_URL" in answer.json["hint"]


USERS = {"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/", "JUPYTERHUB_API_TOKEN": TOKEN}
PUBLIC = {**USERS, "JUPYTERHUB_PUBLIC_HUB_URL": "https://hub.example/base/hub/"}


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        (PUBLIC, "https://hub.example/base/services/promptcards/"),
        ({**USERS, "PROMPTCARDS_URL": "http://[::1]:1/services/cards?x#y"}, "http://[::1]:1/services/cards/"),
        ({**USERS, "PROMPTCARDS_URL": "http://box:1", "PROMPTCARDS_TOKEN": "t"}, "http://box:1/"),
    ],
)
def test_the_service_is_where_notebooks_find_it(environment: dict[str, str], url: str) -> None:
    reader = HubReader.of(environment)
    assert reader is not None
    assert reader.url == url


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {**PUBLIC, "JUPYTERHUB_SERVICE_NAME": "promptcards"},
        {name: value for name, value in PUBLIC.items() if name != "JUPYTERHUB_SERVICE_PREFIX"},
        USERS,
        # Not the Hub's, whose token it would get.
        {**USERS, "PROMPTCARDS_URL": "http://elsewhere/"},
        {**USERS, "PROMPTCARDS_URL": "http://elsewhere/", "PROMPTCARDS_TOKEN": "a\nb"},
        {**USERS, "PROMPTCARDS_URL": "ftp://box/services/cards"},
        {**USERS, "PROMPTCARDS_URL": "http://box:port/services/cards"},
        {**USERS, "PROMPTCARDS_URL": "http://[::1/services/cards"},
    ],
)
def test_elsewhere_nothing_is_passed_on(environment: dict[str, str]) -> None:
    assert HubReader.of(environment) is None


class Counted(tuple[bytes, ...]):
    """Parts of an answer; counts those that were taken."""

    taken = 0

    def __iter__(self) -> Iterator[bytes]:
        for part in super().__iter__():
            self.taken += 1
            yield part


START, RUN = b"event: start\ndata: {}\n\n", b'event: run\ndata: {"key": "r"}\n\n'


async def test_events_come_as_they_are_and_end_as_they_end(follow: Follow, service: Stub) -> None:
    service.next(Behaviour(parts=(START, RUN[:7], RUN[7:]), headers={"Set-Cookie": "a=b"}))
    browser = await follow()
    assert (browser.status, browser.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert browser.headers["cache-control"] == "no-store"
    assert browser.headers["x-accel-buffering"] == "no"
    assert "a=b" not in browser.headers.get("set-cookie", "")
    assert [await browser.event() for _ in range(3)] == [("start", {}), ("run", {"key": "r"}), None]
    (call,) = service.calls
    assert call.path == f"{SERVICE}promptcards/api/v1/workspaces/team/events"
    assert call.headers["authorization"] == f"Bearer {TOKEN}"


async def test_events_are_not_kept_back_until_there_are_more(follow: Follow, service: Stub) -> None:
    service.next(Behaviour(parts=(START, RUN), pause_s=3600))
    assert await (await follow()).event() == ("start", {})


async def test_a_service_that_breaks_off_is_not_taken_for_one_that_ends(follow: Follow, service: Stub) -> None:
    service.next(
        Behaviour(body=START, cut_at=30, headers={"Content-Type": "text/event-stream", "Content-Length": "99"})
    )
    with pytest.raises(ConnectionError):
        await (await follow()).to_the_end()


@pytest.mark.parametrize("pause_s", [0.01, 3600])
async def test_a_browser_that_goes_takes_the_stream_with_it(
    follow: Follow, service: Stub, extension: PromptCards, pause_s: float
) -> None:
    service.next(Behaviour(parts=(START, *(RUN,) * 100_000), pause_s=pause_s))
    browser = await follow()
    assert await browser.event() == ("start", {})
    reader = extension.reader
    assert reader is not None
    assert len(reader._followed) == 1
    browser.close()
    await until(lambda: not reader._followed)
    if pause_s < 1:  # a service that says nothing does not notice
        await until(lambda: not service._tasks)


async def test_a_browser_that_does_not_read_keeps_little_in_memory_and_is_cut_off(
    follow: Follow, service: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_relay, "SLOW_S", 0.5)
    parts = Counted([b":" + b" " * 99_997 + b"\n\n"] * 2000)
    service.next(Behaviour(parts=parts))
    await follow()
    await until(lambda: service.calls and not service._tasks)
    # What the system keeps between three programs is some megabytes.
    assert 0 < parts.taken < 500


async def test_the_server_does_not_wait_for_streams_when_it_stops(
    follow: Follow, service: Stub, extension: PromptCards
) -> None:
    service.next(Behaviour(parts=(START, RUN), pause_s=3600))
    browser = await follow()
    assert await browser.event() == ("start", {})
    assert extension.reader is not None
    await extension.reader.close()
    with pytest.raises(ConnectionError):
        await browser.event()


@pytest.mark.parametrize(("behaviour", "status", "code"), BEHAVIOURS.values(), ids=BEHAVIOURS.keys())
async def test_a_stream_that_is_refused_is_an_error_of_ours(
    api: Api, service: Stub, behaviour: Behaviour, status: int, code: str
) -> None:
    service.next(behaviour)
    answer = await api.ask("GET", "workspaces/team/events")
    assert (answer.status, answer.json["code"]) == (status, code)
    assert TOKEN.encode() not in answer.raw
