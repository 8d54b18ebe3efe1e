"""What goes wrong is said in JSON, with a status that fits, and gives nothing away."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from promptcard_ext.core.errors import Unavailable
from server_ext.api.reading import MAX_BODY_BYTES
from server_ext.app import PromptCards
from tests.api.conftest import Api

CARD = {"name": "greet", "template": "Say hello to {{ who }}."}
RUN = {"card": "greet", "models": ["simulated:echo"]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "name"),
        (b"{", "property name"),
        (b"null", "object"),
        (b"[]", "object"),
        (b'{"name": "x", "template": "y", "colour": "red"}', "colour"),
        (b'{"name": 1, "template": "y"}', "name"),
        (b'{"name": "x", "template": "\xff"}', ""),
        (b'{"name": "x", "template": "\\ud800"}', ""),
        (b'{"name":' + b"[" * 100_000, ""),
        (b"name=x&template=y", "Expecting value"),
    ],
)
async def test_a_body_that_does_not_fit_is_refused_and_the_reason_named(api: Api, body: bytes, said: str) -> None:
    answer = await api.post("cards", body)

    assert (answer.status, answer.json["code"]) == (422, "request_invalid")
    assert said in answer.json["message"]
    assert (await api.get("cards")).json["items"] == []


async def test_a_body_that_is_too_large_is_refused(api: Api) -> None:
    answer = await api.post("cards", b'{"name": "' + b"x" * MAX_BODY_BYTES + b'"}')
    assert (answer.status, answer.json["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"models": ["simulated:nosuch"]}, 422, "unknown_model"),
        ({"models": ["nosuch:model"]}, 422, "unknown_provider"),
        ({"models": []}, 422, "request_invalid"),
        ({"models": ["simulated:echo"] * 2}, 422, "plan_invalid"),
        ({"repeats": 0}, 422, "request_invalid"),
        ({"timeout_s": -1}, 422, "request_invalid"),
        ({"versions": [2**70]}, 422, "request_invalid"),
        ({"versions": [2**40]}, 422, "request_invalid"),
        ({"versions": [2**31 - 1]}, 404, "not_found"),
        ({"versions": [7]}, 404, "not_found"),
        ({"cases": ["nosuch"]}, 404, "not_found"),
        ({"card": "nosuch"}, 404, "not_found"),
        ({"card": "a\x00b"}, 404, "not_found"),
        ({"colour": "red"}, 422, "request_invalid"),
    ],
)
async def test_a_run_that_cannot_be_is_refused(api: Api, change: dict[str, Any], status: int, code: str) -> None:
    await api.post("cards", CARD)
    await api.put("cards/greet/cases", {"cases": [{"variables": {"who": "Ada"}}]})

    answer = await api.post("runs", {**RUN, **change})

    assert (answer.status, answer.json["code"]) == (status, code)
    assert (await api.get("runs")).json["items"] == []


async def test_a_run_without_cases_is_refused(api: Api) -> None:
    await api.post("cards", CARD)
    answer = await api.post("runs", RUN)
    assert (answer.status, answer.json["code"]) == (422, "no_cases")


async def test_a_run_whose_cases_do_not_fit_the_card_is_refused(api: Api) -> None:
    await api.post("cards", CARD)
    await api.put("cards/greet/cases", {"cases": [{"variables": {"whom": "Ada"}}]})
    answer = await api.post("runs", RUN)
    assert (answer.status, answer.json["code"]) == (422, "unknown_variable")
    assert answer.json["hint"] == "Did you mean 'who'?"


async def test_a_template_that_does_not_render_is_refused_with_its_place(api: Api) -> None:
    await api.post("cards", {"name": "greet", "template": "Hello\n{{ who.name }}"})
    await api.put("cards/greet/cases", {"cases": [{"variables": {"who": {"nam": "Ada"}}}]})
    answer = await api.post("runs", RUN)
    assert (answer.status, answer.json["code"]) == (422, "missing_variable")
    assert (answer.json["line"], answer.json["column"]) == (2, 8)


@pytest.mark.parametrize(
    "path",
    [
        "cards?limit=0",
        "cards?limit=x",
        "cards?limit=" + "9" * 5000,
        "runs/5b0c0dd9-0000-4000-8000-000000000000/items?limit=1e1",
    ],
)
async def test_numbers_in_a_query_are_checked(api: Api, path: str) -> None:
    answer = await api.get(path)
    assert (answer.status, answer.json["code"]) == (422, "request_invalid")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("cards?tag=%00", 200),
        ("cards?tag=%FF", 422),
        ("cards/%00", 404),
        ("cards/%FF", 400),
        ("cards/..%2f..%2fetc", 404),
        ("runs?cursor=nosuch", 422),
        ("runs/%00", 404),
        ("reports/nosuch", 404),
        ("reports/nosuch/html", 404),
        ("cards/" + "x" * 10_000, 404),
    ],
)
async def test_odd_paths_are_answered_and_break_nothing(api: Api, path: str, status: int) -> None:
    answer = await api.get(path)
    assert answer.status == status
    if status >= 400:
        assert set(answer.json) == {"code", "message", "hint", "request_id"}
        assert len(answer.json["message"]) < 300


async def test_a_workspace_with_a_nul_in_its_path_is_not_found(api: Api) -> None:
    answer = await api.ask("GET", "workspaces/%00/cards")
    assert (answer.status, answer.json["code"]) == (404, "not_found")


async def test_verbs_that_a_route_does_not_know_are_refused(api: Api) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        answer = await api.ask(method, "workspaces", b"")
        assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")


async def test_every_answer_says_that_it_is_no_page(api: Api) -> None:
    for answer in (await api.get("cards"), await api.get("cards/nosuch"), await api.ask("GET", "health", login=False)):
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Request-Id"]


async def test_an_error_carries_the_id_of_its_request(api: Api) -> None:
    answer = await api.get("cards/nosuch")
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]


async def test_a_bug_is_answered_without_its_text_and_logged_with_the_id(
    api: Api, extension: PromptCards, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> int:
        raise ValueError("secret detail")

    (await extension.ready(30)).doorbell.waiting = broken  # type: ignore[method-assign]
    with caplog.at_level(logging.ERROR):
        answer = await api.ask("GET", "health")

    assert answer.status == 500
    assert answer.json["code"] == "internal_error"
    assert b"secret" not in answer.raw
    assert b"Traceback" not in answer.raw
    assert "secret detail" in caplog.text
    assert answer.json["request_id"] in caplog.text


async def test_a_service_that_is_away_is_503_with_the_time_to_wait(api: Api, extension: PromptCards) -> None:
    def away() -> int:
        raise Unavailable("The queue does not answer.", code="queue_unavailable")

    (await extension.ready(30)).doorbell.waiting = away  # type: ignore[method-assign]
    answer = await api.ask("GET", "health")
    assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "queue_unavailable", "2")
