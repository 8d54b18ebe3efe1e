"""The OpenAI protocol against a server of our own: statuses, errors in replies, rate limits."""

import json
from typing import Any

import pytest

from promptcard_ext.core.errors import UnknownModel
from promptcard_ext.core.ports import Quota
from tests.providers.asking import ask, failure, request
from tests.stub_server import Behaviour, Stub, openai


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "provider_refused", False),
        (401, "provider_auth", False),
        (403, "provider_auth", False),
        (402, "provider_quota", False),
        (404, "unknown_model", False),
        (408, "provider_try_again", True),
        (409, "provider_try_again", True),
        (422, "provider_refused", False),
        (425, "provider_try_again", True),
        (429, "provider_429", True),
        (500, "provider_5xx", True),
        (501, "provider_5xx", False),
        (502, "provider_5xx", True),
        (503, "provider_5xx", True),
        (504, "provider_5xx", True),
        (529, "provider_5xx", True),
    ],
)
def test_a_status_has_its_class_of_failure(stub: Stub, status: int, code: str, retryable: bool) -> None:
    error = failure(stub, Behaviour(status=status))
    assert (error.code, error.retryable) == (code, retryable)
    assert "the stub was told to" in str(error)


def test_an_unknown_model_is_named_as_such(stub: Stub) -> None:
    assert isinstance(failure(stub, Behaviour(status=404)), UnknownModel)


def test_html_from_a_gateway_is_not_shown(stub: Stub) -> None:
    error = failure(stub, Behaviour(status=502, body=b"<html><h1>Bad Gateway</h1></html>"))
    assert "html" not in str(error)
    assert "an answer that is not JSON" in str(error)


def test_control_characters_of_an_error_do_not_reach_the_terminal(stub: Stub) -> None:
    body = json.dumps({"error": {"message": "a\x1b[31mred\x00 \ud800 line\nbreak" + "x" * 5000}}).encode()
    message = str(failure(stub, Behaviour(status=400, body=body)))
    assert message.isprintable()
    assert len(message) < 500


@pytest.mark.parametrize(
    ("header", "low", "high"), [("7", 7, 7), ("0.5", 0.5, 0.5), ("0", 0, 0), ("99999999999", 1e9, 1e12)]
)
def test_retry_after_in_seconds(stub: Stub, header: str, low: float, high: float) -> None:
    wait = failure(stub, Behaviour(status=429, headers={"Retry-After": header})).retry_after_s
    assert wait is not None
    assert low <= wait <= high


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (429, {"code": "insufficient_quota", "message": "You exceeded your current quota"}, "provider_quota"),
        (429, {"type": "insufficient_quota", "code": None}, "provider_quota"),
        (400, {"code": "billing_hard_limit_reached"}, "provider_quota"),
        (429, {"code": "rate_limit_exceeded", "type": "tokens"}, "provider_429"),
        (429, {"code": ["insufficient_quota"]}, "provider_429"),
        (429, "insufficient_quota", "provider_429"),
        (500, {"code": "insufficient_quota"}, "provider_5xx"),
    ],
)
def test_a_quota_that_is_used_up_is_not_asked_again(stub: Stub, status: int, error: Any, code: str) -> None:
    body = json.dumps({"error": error}).encode()
    found = failure(stub, Behaviour(status=status, body=body, headers={"Retry-After": "1"}))
    assert (found.code, found.retryable) == (code, code != "provider_quota")


LIMITS = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "15",
    "x-ratelimit-reset-requests": "1m30s",
}


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_left_of_the_rate_limit_comes_with_the_reply(stub: Stub, stream: bool) -> None:
    stub.next(Behaviour(headers=LIMITS), Behaviour())
    assert ask(stub.url, request(stream=stream)).quota == Quota(0.25, 90.0)
    assert ask(stub.url, request(stream=stream)).quota is None


@pytest.mark.parametrize("status", [429, 503, 402])
def test_what_is_left_of_the_rate_limit_comes_with_a_refusal(stub: Stub, status: int) -> None:
    error = failure(stub, Behaviour(status=status, headers=LIMITS | {"retry-after-ms": "250", "Retry-After": "1"}))
    assert error.quota == Quota(0.25, 90.0)
    assert error.retry_after_s == (None if status == 402 else 0.25)


@pytest.mark.parametrize("status", [200, 201, 206])
def test_every_success_is_one(stub: Stub, status: int) -> None:
    stub.next(Behaviour(body=openai(Behaviour())[0], status=status))
    assert ask(stub.url).output == "Hello from the stub."


def test_a_reply_without_content_is_broken(stub: Stub) -> None:
    assert failure(stub, Behaviour(status=204, headers={"Content-Length": ""}, body=b"")).code == "broken_reply"


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        ({"message": "slow down", "code": 429}, "provider_429", True),
        ({"message": "upstream", "code": 502}, "provider_5xx", True),
        ({"message": "no credit", "code": "insufficient_quota"}, "provider_quota", False),
        ({"message": "odd", "code": True}, "provider_refused", False),
        ({"message": "odd", "code": 200}, "provider_refused", False),
        ("just a text", "provider_refused", False),
    ],
)
def test_an_error_with_status_200_is_of_the_kind_it_says(stub: Stub, error: Any, code: str, retryable: bool) -> None:
    body = json.dumps({"error": error}).encode()
    found = failure(stub, Behaviour(body=body))
    assert (found.code, found.retryable, found.raw) == (code, retryable, body.decode())


def test_hints_say_what_to_do(stub: Stub) -> None:
    moved = failure(stub, Behaviour(status=308, headers={"Location": "https://elsewhere/v1"}))
    assert "final address" in moved.hint
    with Stub() as other:
        text = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        body = json.dumps({"error": {"message": text}}).encode()
        assert "max_tokens_field" in failure(other, Behaviour(status=400, body=body)).hint


def test_200_with_an_error_in_it_is_an_error(stub: Stub) -> None:
    error = failure(stub, Behaviour(body=b'{"error": {"message": "no quota"}}'))
    assert error.code == "provider_refused"
    assert "no quota" in str(error)
