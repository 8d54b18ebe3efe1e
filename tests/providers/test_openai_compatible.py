"""The OpenAI protocol against a server of our own, over real sockets."""

import asyncio
import base64
import json
import socket
import tracemalloc
from typing import Any

import pytest

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.errors import ProviderError, UnknownModel
from promptcard_ext.core.ports import Quota, Reply, Request
from promptcard_ext.core.results import Tokens
from promptcard_ext.providers import http
from promptcard_ext.providers.openai_compatible import OpenAICompatible
from tests.run_async import run_async
from tests.stub_server import Behaviour, Stub, gzip_bomb, openai, openai_stream

KEY = "sk-secret-of-the-test"


def request(**settings: Any) -> Request:
    return Request("m-1", (Message("system", "Be brief."), Message("user", "Hi")), ModelSettings(**settings))


def ask(url: str, wanted: Request | None = None, timeout_s: float = 20) -> Reply:
    async def main() -> Reply:
        provider = OpenAICompatible(f"{url}/v1", KEY)
        try:
            async with asyncio.timeout(timeout_s):
                return await provider.generate(wanted or request())
        finally:
            await provider.close()

    return run_async(main())


def failure(stub: Stub, behaviour: Behaviour, **settings: Any) -> ProviderError:
    stub.next(behaviour)
    with pytest.raises(ProviderError) as caught:
        ask(stub.url, request(**settings))
    assert KEY not in str(caught.value)
    assert len(stub.calls) == 1, "a provider makes one call; repeating is for the engine"
    return caught.value


def test_a_plain_reply_is_read_whole(stub: Stub) -> None:
    reply = ask(stub.url)
    assert reply.output == "Hello from the stub."
    assert reply.tokens == Tokens(input=7, output=3)
    assert (reply.finish_reason, reply.model_reported, reply.fingerprint) == ("stop", "stub-reported", "fp_stub")
    assert reply.latency_ms > 0
    assert reply.ttft_ms is None


def test_the_request_holds_what_was_set_and_nothing_else(stub: Stub) -> None:
    ask(
        stub.url, request(temperature=0.5, max_tokens=9, seed=3, stop=("END",), response_format={"type": "json_object"})
    )
    call = stub.calls[0]
    assert (call.method, call.path) == ("POST", "/v1/chat/completions")
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert call.headers["content-type"] == "application/json"
    assert call.body == {
        "model": "m-1",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "max_tokens": 9,
        "seed": 3,
        "stop": ["END"],
        "response_format": {"type": "json_object"},
    }


def test_latency_is_that_of_the_call(stub: Stub) -> None:
    stub.next(Behaviour(latency_s=0.2))
    assert 200 <= ask(stub.url).latency_ms < 2000


def test_a_stream_is_joined_and_its_first_token_timed(stub: Stub) -> None:
    reply = ask(stub.url, request(stream=True))
    assert reply.output == "Hello from the stub."
    assert reply.tokens == Tokens(input=7, output=3)
    assert reply.finish_reason == "stop"
    assert reply.ttft_ms is not None
    assert 0 < reply.ttft_ms <= reply.latency_ms
    assert stub.calls[0].body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("text", ["nul \x00 inside", "half \ud83d an emoji", "ünïcödé 🎉", ""])
def test_odd_characters_of_an_answer_are_kept(stub: Stub, text: str, stream: bool) -> None:
    stub.next(Behaviour(text=text))
    assert ask(stub.url, request(stream=stream)).output == text


def test_a_prompt_with_a_lone_surrogate_is_sent_as_an_escape(stub: Stub) -> None:
    ask(stub.url, Request("m", (Message("user", "half \ud83d"),), ModelSettings()))
    assert stub.calls[0].body["messages"][0]["content"] == "half \ud83d"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, Tokens()),
        ({}, Tokens()),
        ({"prompt_tokens": -5, "completion_tokens": 3}, Tokens(output=3)),
        ({"prompt_tokens": 1.5, "completion_tokens": True}, Tokens()),
        ({"prompt_tokens": 10**30, "completion_tokens": "7"}, Tokens()),
        (
            {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4},
             "completion_tokens_details": {"reasoning_tokens": 2}},
            Tokens(input=9, output=5, cached=4, reasoning=2),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 900}},
            Tokens(input=9, output=5),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": None}, Tokens(input=9, output=5)),
    ],
)  # fmt: skip
def test_a_count_that_makes_no_sense_is_unknown(stub: Stub, usage: Any, tokens: Tokens, stream: bool) -> None:
    stub.next(Behaviour(usage=usage))
    assert ask(stub.url, request(stream=stream)).tokens == tokens


def test_an_answer_of_only_tool_calls_has_no_text(stub: Stub) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    stub.next(Behaviour(body=json.dumps({"choices": [{"message": message}]}).encode()))
    reply = ask(stub.url)
    assert reply.output is None
    assert reply.tool_calls == calls


def test_a_stream_without_any_text_has_no_text(stub: Stub) -> None:
    event = {"choices": [{"delta": {"tool_calls": []}, "finish_reason": "tool_calls"}]}
    stub.next(Behaviour(body=b"data: " + json.dumps(event).encode() + b"\n\ndata: [DONE]\n\n"))
    assert ask(stub.url, request(stream=True)).output is None


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


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_are_read(stub: Stub, stream: bool) -> None:
    logs = [{"token": token, "logprob": value} for token, value in (("Hel", -0.25), ("lo", -1.5))]
    text = {"content": "Hello"}
    if stream:
        choices = [{"delta": {"content": log["token"]}, "logprobs": {"content": [log]}} for log in logs]
        choices.append({"delta": {}, "finish_reason": "stop"})
        events = [b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n" for choice in choices]
        body = b"".join(events) + b"data: [DONE]\n\n"
    else:
        body = json.dumps({"choices": [{"message": text, "logprobs": {"content": logs, "refusal": None}}]}).encode()
    stub.next(Behaviour(body=body))
    assert ask(stub.url, request(stream=stream, logprobs=True)).logprobs == (-0.25, -1.5)
    assert stub.calls[0].body["logprobs"] is True


@pytest.mark.parametrize("logprobs", [None, 5, [], {"content": None}, {"content": [{"logprob": None}]}, {"content": 5}])
def test_log_probabilities_that_are_none_are_unknown(stub: Stub, logprobs: Any) -> None:
    choice = {"message": {"content": "Hello"}, "logprobs": logprobs}
    stub.next(Behaviour(body=json.dumps({"choices": [choice]}).encode()))
    reply = ask(stub.url)
    assert (reply.output, reply.logprobs) == ("Hello", None)


def test_200_with_an_error_in_it_is_an_error(stub: Stub) -> None:
    error = failure(stub, Behaviour(body=b'{"error": {"message": "no quota"}}'))
    assert error.code == "provider_refused"
    assert "no quota" in str(error)


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(cut_at=40),
        Behaviour(cut_at=0),
        Behaviour(body=b"not json"),
        Behaviour(body=b"[]"),
        Behaviour(body=b"{}"),
        Behaviour(body=b'{"choices": []}'),
        Behaviour(body=b'{"choices": [5]}'),
        Behaviour(body=b'{"choices": [{"message": "text"}]}'),
        Behaviour(body=b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'),
        Behaviour(body=b'{"choices": NaN}'),
        Behaviour(body=b"[" * 200_000),
        Behaviour(body=b""),
    ],
    ids=["cut", "nothing", "text", "list", "empty", "no-choice", "number", "message", "utf8", "nan", "deep", "no-body"],
)
def test_a_broken_reply_may_be_repeated_and_may_have_been_paid(stub: Stub, behaviour: Behaviour) -> None:
    error = failure(stub, behaviour)
    assert (error.code, error.retryable, error.sent) == ("broken_reply", True, True)


STREAM = openai_stream(Behaviour())[0]


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(cut_at=STREAM.index(b"from")),
        Behaviour(body=STREAM[: STREAM.index(b"from")]),
        Behaviour(body=b"data: {oops\n\n"),
        Behaviour(body=b"data: \xff\n\n"),
        Behaviour(body=b"data: " + b"[" * 200_000 + b"\n\n"),
        Behaviour(body=b'data: {"error": {"message": "overloaded"}}\n\n'),
        Behaviour(body=b""),
    ],
    ids=["cut", "ends-in-mid-event", "not-json", "utf8", "deep", "error", "empty"],
)
def test_a_stream_that_does_not_end_well_is_broken(stub: Stub, behaviour: Behaviour) -> None:
    assert failure(stub, behaviour, stream=True).code == "broken_reply"


@pytest.mark.parametrize(
    "event",
    [b"{}", b'{"choices": 5}', b'{"choices": [{"delta": {"content": 5}}]}', b'{"choices": [{"delta": null}]}'],
)
def test_events_without_text_are_passed_over(stub: Stub, event: bytes) -> None:
    stub.next(Behaviour(body=b": comment\r\ndata: " + event + b"\r\n\r\n" + STREAM))
    assert ask(stub.url, request(stream=True)).output == "Hello from the stub."


@pytest.mark.parametrize("stream", [False, True])
def test_more_than_ten_megabytes_are_not_read(stub: Stub, stream: bool) -> None:
    make = openai_stream if stream else openai
    error = failure(stub, Behaviour(body=make(Behaviour(text="x" * 11_000_000))[0]), stream=stream)
    assert (error.code, error.retryable) == ("reply_too_long", False)


def test_a_reply_of_unknown_length_is_capped_too(stub: Stub) -> None:
    body = b"%x\r\n" % 11_000_000 + b"x" * 11_000_000 + b"\r\n0\r\n\r\n"
    behaviour = Behaviour(body=body, headers={"Transfer-Encoding": "chunked", "Content-Length": ""})
    assert failure(stub, behaviour).code == "reply_too_long"


@pytest.mark.parametrize("stream", [False, True])
def test_a_gzip_bomb_does_not_fill_the_memory(stub: Stub, stream: bool) -> None:
    bomb = gzip_bomb()
    tracemalloc.start()
    try:
        error = failure(stub, bomb, stream=stream)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.code == "reply_too_long"
    assert peak < 60_000_000
    assert stub.calls[0].headers["accept-encoding"] == "identity"


def test_a_redirect_is_not_followed(stub: Stub) -> None:
    with Stub() as elsewhere:
        target = f"{elsewhere.url}/v1/chat/completions"
        error = failure(stub, Behaviour(status=307, headers={"Location": target}))
        assert error.code == "provider_refused"
        assert elsewhere.calls == []


def test_proxies_of_the_environment_are_not_used(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    with Stub() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        ask(stub.url)
        models(stub.url)
        assert proxy.calls == []
    assert len(stub.calls) == 2


def test_silence_lasts_until_the_caller_gives_up(stub: Stub) -> None:
    stub.next(Behaviour(silent=True))
    with pytest.raises(TimeoutError):
        ask(stub.url, timeout_s=0.2)


def test_a_closed_port_is_unreachable_and_nothing_was_sent() -> None:
    with Stub() as gone:
        url = gone.url
    with pytest.raises(ProviderError) as caught:
        ask(url)
    assert (caught.value.code, caught.value.retryable, caught.value.sent) == ("provider_unreachable", True, False)


def test_a_host_that_takes_no_connection_in_time_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    # A listener that never accepts, its queue full, leaves the next connection hanging.
    monkeypatch.setattr(http, "CONNECT_TIMEOUT_S", 0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        queue = []
        for _ in range(8):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
            queue.append(waiting)
        with pytest.raises(ProviderError) as caught:
            ask(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=10)
        for waiting in queue:
            waiting.close()
    assert (caught.value.code, caught.value.sent) == ("provider_unreachable", False)


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://host", "http://", "not an address"])
def test_an_address_that_is_none_is_said_at_once(address: str) -> None:
    with pytest.raises(ProviderError) as caught:
        ask(address)
    assert not caught.value.retryable


def test_a_password_in_the_address_is_shown_nowhere(stub: Stub) -> None:
    async def main() -> str:
        provider = OpenAICompatible(stub.url.replace("//", "//me:hunter2@") + "/v1")
        assert "hunter2" not in provider.endpoint
        try:
            with pytest.raises(ProviderError) as caught:
                await provider.generate(request())
        finally:
            await provider.close()
        return str(caught.value)

    stub.next(Behaviour(status=400))
    assert "hunter2" not in run_async(main())
    assert stub.calls[0].headers["authorization"].startswith("Basic ")


def test_a_key_that_ends_with_a_line_break_works(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1\n")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{stub.url}/v1/")

    async def main() -> None:
        provider = OpenAICompatible()
        await provider.generate(request())
        await provider.close()

    run_async(main())
    assert stub.calls[0].headers["authorization"] == "Bearer sk-1"


@pytest.mark.parametrize("key", ["sk-\u2019quoted\u2019", "sk-two\nlines", "sk-\x00nul", "sk-tab\tbed"])
def test_a_key_that_no_header_can_have_is_said_to_be_wrong_and_not_shown(stub: Stub, key: str) -> None:
    provider = OpenAICompatible(f"{stub.url}/v1", key)
    with pytest.raises(ProviderError) as caught:
        run_async(provider.generate(request()))
    assert (caught.value.code, caught.value.sent) == ("provider_auth", False)
    assert key not in f"{caught.value}{provider!r}{provider.limit_key}{vars(caught.value)}"
    assert stub.calls == []


def test_a_name_and_password_in_the_address_are_preferred_to_a_key_of_the_environment(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    url = stub.url.replace("//", "//me:p%40ss@") + "/v1"

    async def main(key: str | None) -> None:
        provider = OpenAICompatible(url, key)
        await provider.generate(request())
        await provider.close()

    run_async(main(None))
    run_async(main("sk-given"))
    sent = [call.headers["authorization"] for call in stub.calls]
    assert sent == [f"Basic {base64.b64encode(b'me:p@ss').decode()}", "Bearer sk-given"]


def test_without_a_key_openai_is_not_called() -> None:
    async def main() -> ProviderError:
        provider = OpenAICompatible()
        with pytest.raises(ProviderError) as caught:
            await provider.generate(request())
        await provider.close()
        return caught.value

    error = run_async(main())
    assert (error.code, error.sent) == ("provider_auth", False)
    assert "OPENAI_API_KEY" in error.hint


@pytest.mark.parametrize(
    ("url", "key"), [(None, "openai"), ("https://api.openai.com/v1", "openai"), ("http://127.0.0.1:1/v1", "")]
)
def test_only_openai_itself_has_openai_prices(url: str | None, key: str) -> None:
    assert OpenAICompatible(url, "k").price_key == key


def test_connections_are_used_again(stub: Stub) -> None:
    async def main() -> None:
        provider = OpenAICompatible(f"{stub.url}/v1", KEY)
        for stream in (False, True, False):
            await provider.generate(request(stream=stream))
        await provider.close()
        await provider.close()

    run_async(main())
    assert (len(stub.calls), stub.connections) == (3, 1)


def models(url: str) -> list[str]:
    async def main() -> list[str]:
        provider = OpenAICompatible(f"{url}/v1", KEY)
        try:
            return await provider.list_models()
        finally:
            await provider.close()

    return run_async(main())


def test_models_are_listed_in_order(stub: Stub) -> None:
    assert models(stub.url) == ["stub-a", "stub-b"]
    assert stub.calls[0].path == "/v1/models"


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (Behaviour(status=401), "provider_auth"),
        (Behaviour(status=500), "provider_5xx"),
        (Behaviour(status=302, headers={"Location": "http://127.0.0.1:1/"}), "provider_refused"),
        (Behaviour(body=b"<html>hello</html>", headers={"Content-Type": "text/html"}), "broken_reply"),
        (Behaviour(body=b"[]"), "broken_reply"),
        (Behaviour(body=b"not json"), "broken_reply"),
        (Behaviour(cut_at=5), "provider_unreachable"),
    ],
    ids=["401", "500", "redirect", "html", "list", "not-json", "cut"],
)
def test_a_list_of_models_that_does_not_come_is_an_error_of_ours(stub: Stub, behaviour: Behaviour, code: str) -> None:
    stub.next(behaviour)
    with pytest.raises(ProviderError) as caught:
        models(stub.url)
    assert caught.value.code == code
    assert len(stub.calls) == 1
