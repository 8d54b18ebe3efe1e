"""The OpenAI protocol against a server of our own, over real sockets: replies."""

import json
import tracemalloc
from typing import Any

import pytest

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.ports import Request
from promptcard_ext.core.results import Tokens
from tests.providers.asking import KEY, ask, failure, request
from tests.stub_server import Behaviour, Stub, gzip_bomb, openai, openai_stream


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
