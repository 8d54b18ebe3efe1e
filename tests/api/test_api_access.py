"""Who is let in, and what others' objects look like."""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from tornado.httpclient import HTTPClientError

from server_ext.services import cards
from tests.api.conftest import Api
from tests.support import Tenant


async def test_a_wrong_token_is_refused_with_a_status_and_not_with_a_login_page(api: Api) -> None:
    answer = await api.ask("GET", "health", headers={"Authorization": "token wrong"}, login=False)

    assert answer.status == 401
    assert answer.json["code"] == "unauthenticated"
    assert "Location" not in answer.headers


@pytest.mark.parametrize("headers", [{"Authorization": ""}, {"Authorization": "token wrong"}])
async def test_the_websocket_needs_credentials(
    api: Api, jp_ws_fetch: Any, headers: dict[str, str], tenant: Tenant
) -> None:
    run_id = tenant.start()
    path = f"promptcards/api/v1/workspaces/{tenant.slug}/runs/{run_id}/events".split("/")

    with pytest.raises(HTTPClientError) as refusal:
        await jp_ws_fetch(*path, headers=headers)
    assert refusal.value.code == 401


async def log_in(api: Api) -> dict[str, str]:
    """Return the cookies that a browser gets from the login page."""
    token = api.token["Authorization"].removeprefix("token ")
    cookies = await receive_cookies(api, {})
    form = urlencode({"password": token, "_xsrf": cookies["_xsrf"]})
    return cookies | await receive_cookies(api, cookies, method="POST", body=form)


async def receive_cookies(api: Api, cookies: dict[str, str], **more: Any) -> dict[str, str]:
    response = await api.client.fetch(
        f"{api.base}login", headers=as_browser(api, cookies), follow_redirects=False, raise_error=False, **more
    )
    received: SimpleCookie = SimpleCookie()
    for line in response.headers.get_list("Set-Cookie"):
        received.load(line)
    return {name: cookie.value for name, cookie in received.items()}


def as_browser(api: Api, cookies: dict[str, str]) -> dict[str, str]:
    # Jupyter's cookie is called after the host.
    host = f"localhost:{api.client.get_http_port()}"
    return {"Host": host, "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


async def test_a_browser_needs_the_xsrf_token_to_change_something(api: Api) -> None:
    cookies = await log_in(api)
    headers = as_browser(api, cookies)

    read = await api.ask("GET", "workspaces", headers=headers, login=False)
    forged = await api.ask("POST", "workspaces", {"name": "Forged"}, headers=headers, login=False)
    honest = await api.ask(
        "POST", "workspaces", {"name": "Mine"}, headers={**headers, "X-XSRFToken": cookies["_xsrf"]}, login=False
    )

    assert (read.status, forged.status, honest.status) == (200, 403, 201)
    assert "_xsrf" in forged.json["message"]


async def test_another_site_cannot_open_the_websocket_with_the_users_cookie(
    api: Api, jp_ws_fetch: Any, tenant: Tenant
) -> None:
    run_id = tenant.start()
    browser = {**as_browser(api, await log_in(api)), "Authorization": ""}
    path = f"promptcards/api/v1/workspaces/{tenant.slug}/runs/{run_id}/events".split("/")

    with pytest.raises(HTTPClientError) as refusal:
        await jp_ws_fetch(*path, headers={**browser, "Origin": "https://evil.example"})
    assert refusal.value.code == 403
    socket = await jp_ws_fetch(*path, headers=browser)
    socket.close()


async def test_others_workspaces_look_like_none(api: Api, stranger: Tenant) -> None:
    bodies = set()
    for reference in (str(uuid4()), "no-such-workspace", str(stranger.id), stranger.slug):
        for verb, path, body in (
            ("GET", "", None),
            ("GET", "/cards", None),
            ("GET", "/runs", None),
            ("POST", "/runs", {"card": "greet", "models": ["simulated:echo"]}),
            ("PUT", "/cards/greet/cases", {"cases": []}),
        ):
            answer = await api.ask(verb, f"workspaces/{reference}{path}", body)
            assert answer.status == 404
            answer.json.pop("request_id")
            bodies.add(str(answer.json).replace(reference, "X"))

    assert bodies == {"{'code': 'not_found', 'message': \"There is no workspace 'X' here.\", 'hint': ''}"}


async def test_others_objects_look_like_none(api: Api, stranger: Tenant) -> None:
    run_id = stranger.start()
    with stranger.scope() as scope:
        card_id = str(cards.get(scope, "greet").id)

    for kind, theirs, path in (
        ("run", run_id, "runs/{}"),
        ("run", run_id, "runs/{}/items"),
        ("card", card_id, "cards/{}"),
    ):
        seen = set()
        for reference in (theirs, str(uuid4())):
            answer = await api.get(path.format(reference))
            seen.add((answer.status, answer.json["message"].replace(reference, "X")))
        assert seen == {(404, f"There is no {kind} 'X' here.")}
    assert (await api.post(f"runs/{run_id}/cancel")).status == 404
    assert stranger.status(run_id) == "queued"


async def test_the_websocket_of_somebody_elses_run_looks_like_none(
    api: Api, jp_ws_fetch: Any, stranger: Tenant, tenant: Tenant
) -> None:
    theirs = stranger.start()
    for run_id in (theirs, str(uuid4())):
        with pytest.raises(HTTPClientError) as refusal:
            await jp_ws_fetch(*f"promptcards/api/v1/workspaces/{tenant.slug}/runs/{run_id}/events".split("/"))
        assert refusal.value.code == 404


async def test_a_colleague_sees_nothing_of_my_other_workspaces(
    api: Api, api_of: Callable[[Tenant], Api], stranger: Tenant
) -> None:
    mine = await api.ask("GET", "workspaces?limit=200")
    assert stranger.slug not in {workspace["slug"] for workspace in mine.json["items"]}
    assert (await api_of(stranger).get("cards")).status == 404
