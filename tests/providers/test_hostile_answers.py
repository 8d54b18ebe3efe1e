"""Answers that are odd or hostile, over real sockets: each ends, and none that was received is lost."""

import asyncio
import contextlib
import gzip
import json
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Provider, Reply, Request
from promptcard_ext.providers.ollama import Ollama
from promptcard_ext.providers.openai_compatible import OpenAICompatible
from promptcard_ext.providers.refusal import MAX_RAW
from tests.run_async import run_async
from tests.stub_server import Behaviour, Stub, ollama, ollama_stream, openai, openai_stream

PROTOCOLS: dict[str, tuple[Callable[[str], Provider], Callable[..., Any], Callable[..., Any]]] = {
    "openai": (lambda url: OpenAICompatible(f"{url}/v1", "sk-of-the-test"), openai, openai_stream),
    "ollama": (Ollama, ollama, ollama_stream),
}
HELLO = "Hello from the stub."


def ask(
    stub: Stub, behaviour: Behaviour, protocol: str = "openai", stream: bool = False, deadline_s: float = 20
) -> Reply:
    async def main() -> Reply:
        provider = PROTOCOLS[protocol][0](stub.url)
        wanted = Request("m", (Message("user", "Hi"),), ModelSettings(stream=stream))
        try:
            async with asyncio.timeout(deadline_s):
                return await provider.generate(wanted)
        finally:
            await provider.close()

    stub.next(behaviour)
    return run_async(main())


def failure(stub: Stub, behaviour: Behaviour, **how: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(stub, behaviour, **how)
    assert "sk-of-the-test" not in f"{caught.value}{caught.value.raw}"
    return caught.value


def body_of(protocol: str, stream: bool, text: str = HELLO) -> bytes:
    return PROTOCOLS[protocol][2 if stream else 1](Behaviour(text=text))[0]


def message(**fields: Any) -> Behaviour:
    choice = {"message": {"role": "assistant"} | fields, "finish_reason": "stop"}
    return Behaviour(body=json.dumps({"choices": [choice]}).encode())


both = pytest.mark.parametrize("protocol", ["openai", "ollama"])
either = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@both
@either
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_http_is_understood(stub: Stub, protocol: str, stream: bool, version: str) -> None:
    behaviour = Behaviour(body=body_of(protocol, stream), http=version)
    assert ask(stub, behaviour, protocol, stream).output == HELLO


@both
@either
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_is_compressed_unasked_is_unpacked(stub: Stub, protocol: str, stream: bool, encoding: str) -> None:
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    behaviour = Behaviour(body=pack(body_of(protocol, stream)), headers={"Content-Encoding": encoding})
    assert ask(stub, behaviour, protocol, stream).output == HELLO


@both
@either
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_body_that_is_not_packed_as_said_is_broken(stub: Stub, protocol: str, stream: bool, encoding: str) -> None:
    behaviour = Behaviour(body=body_of(protocol, stream), headers={"Content-Encoding": encoding})
    assert failure(stub, behaviour, protocol=protocol, stream=stream).code == "broken_reply"


@both
@either
def test_more_announced_than_sent_is_broken_and_what_came_is_kept(stub: Stub, protocol: str, stream: bool) -> None:
    body = body_of(protocol, stream)
    part = body[: body.index(b"stub.")]
    behaviour = Behaviour(body=part, headers={"Content-Length": str(len(body))}, cut_at=len(part))
    error = failure(stub, behaviour, protocol=protocol, stream=stream)
    assert (error.code, error.retryable) == ("broken_reply", True)
    assert error.raw is not None
    assert "the" in error.raw


@both
@either
def test_less_announced_than_sent_is_broken(stub: Stub, protocol: str, stream: bool) -> None:
    behaviour = Behaviour(body=body_of(protocol, stream), headers={"Content-Length": "30"}, cut_at=100_000)
    assert failure(stub, behaviour, protocol=protocol, stream=stream).code == "broken_reply"


@pytest.mark.parametrize("body", [b"", b"HTTP/1.1 200\r\n\r\n", b"SSH-2.0-OpenSSH\r\n\r\n", b"\x16\x03\x01" * 50])
def test_what_does_not_speak_http_is_broken(body: bytes) -> None:
    async def main() -> str:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(body)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        provider = OpenAICompatible(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", "k")
        with pytest.raises(ProviderError) as caught:
            await provider.generate(Request("m", (Message("user", "Hi"),), ModelSettings()))
        await provider.close()
        server.close()
        return caught.value.code

    assert run_async(main()) == "broken_reply"


@both
@either
@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body[:-9],
        lambda body: body.replace(b"Hello", b"Hell\xf6"),
        lambda body: b"<html>Sign in, Hello</html>",
        lambda body: b"[" * 100_000 + b"Hello",
        lambda body: b'"Hello"',
        lambda body: b"Hello",
        lambda body: b'{"Hello": 1}',
    ],
    ids=["cut-json", "latin-1", "html", "deep", "text", "no-json", "other-object"],
)
def test_what_cannot_be_read_is_kept(stub: Stub, protocol: str, stream: bool, spoil: Callable[[bytes], bytes]) -> None:
    spoilt = spoil(body_of(protocol, False))
    if stream:
        spoilt = (b"data: " if protocol == "openai" else b"") + spoilt.replace(b"\n", b"") + b"\n\n"
    error = failure(stub, Behaviour(body=spoilt), protocol=protocol, stream=stream)
    assert (error.code, error.retryable, error.sent) == ("broken_reply", True, True)
    assert error.raw is not None
    assert "Hell" in error.raw


@both
@either
def test_of_a_reply_that_is_too_long_a_megabyte_is_kept(stub: Stub, protocol: str, stream: bool) -> None:
    error = failure(stub, Behaviour(body=b"x" * 11_000_000), protocol=protocol, stream=stream)
    assert error.code == "reply_too_long"
    assert error.raw == "x" * MAX_RAW


def test_nine_megabytes_are_an_answer(stub: Stub) -> None:
    for stream in (False, True):
        assert ask(stub, Behaviour(text="x" * 9_000_000), stream=stream).output == "x" * 9_000_000


@both
@pytest.mark.parametrize("charset", ["latin-1", "utf-8", "x-unknown"])
def test_a_charset_that_lies_does_no_harm(stub: Stub, protocol: str, charset: str) -> None:
    body = (
        body_of(protocol, False, "café 🎉").decode("unicode-escape").encode("utf-16", "surrogatepass").decode("utf-16")
    )
    headers = {"Content-Type": f"application/json; charset={charset}"}
    assert ask(stub, Behaviour(body=body.encode(), headers=headers), protocol).output == "café 🎉"


@both
@pytest.mark.parametrize(("encoding", "charset"), [("utf-16", ""), ("utf-16-le", ""), ("latin-1", "iso-8859-1")])
def test_another_encoding_is_read(stub: Stub, protocol: str, encoding: str, charset: str) -> None:
    body = body_of(protocol, False, "cafe").decode().replace("cafe", "café").encode(encoding)
    headers = {"Content-Type": f"application/json; charset={charset}"}
    assert ask(stub, Behaviour(body=body, headers=headers), protocol).output == "café"


@both
@either
def test_a_number_that_is_none_does_not_cost_the_answer(stub: Stub, protocol: str, stream: bool) -> None:
    body = body_of(protocol, stream).replace(b'{"model"', b'{"score": NaN, "much": 1e999, "model"')
    if protocol == "openai" and not stream:
        body = body_of(protocol, stream).replace(b'{"id"', b'{"score": NaN, "much": 1e999, "id"')
    reply = ask(stub, Behaviour(body=body), protocol, stream)
    assert reply.output == HELLO
    assert reply.raw is not None
    assert "Hello" in reply.raw


def test_a_mark_before_the_json_and_keys_given_twice_are_read(stub: Stub) -> None:
    body = b'\xef\xbb\xbf{"choices": 5, "choices": [{"message": {"content": "no", "content": "yes"}}]}'
    reply = ask(stub, Behaviour(body=body))
    assert (reply.output, reply.raw) == ("yes", None)


@pytest.mark.parametrize(
    ("fields", "output", "finish", "kept"),
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab", "stop", False),
        ({"content": [{"type": "text", "text": "a"}, {"type": "image"}]}, "a", "stop", True),
        ({"content": None, "refusal": "I will not."}, "I will not.", "refusal", False),
        ({"content": "", "refusal": "I will not."}, "I will not.", "refusal", False),
        ({"content": "a", "refusal": None}, "a", "stop", False),
        ({"content": None}, None, "stop", True),
        ({"content": None, "reasoning_content": "Let me think"}, None, "stop", True),
        ({"content": {"odd": 1}}, None, "stop", True),
        ({}, None, "stop", True),
        ({"content": ""}, "", "stop", False),
    ],
)
def test_what_a_message_may_hold(stub: Stub, fields: dict[str, Any], output: Any, finish: str, kept: bool) -> None:
    reply = ask(stub, message(**fields))
    assert (reply.output, reply.finish_reason, reply.raw is not None) == (output, finish, kept)


def test_a_refusal_in_a_stream_is_the_output(stub: Stub) -> None:
    events = [{"delta": {"content": None, "refusal": part}} for part in ("I will", " not.")]
    events.append({"delta": {}, "finish_reason": "stop"})
    body = b"".join(b"data: " + json.dumps({"choices": [event]}).encode() + b"\n\n" for event in events)
    reply = ask(stub, Behaviour(body=body + b"data: [DONE]\n\n"), stream=True)
    assert (reply.output, reply.finish_reason, reply.raw) == ("I will not.", "refusal", None)
    assert reply.ttft_ms is not None


@pytest.mark.parametrize(
    "calls",
    [
        [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": '}}],
        [{"function": {"name": "f", "arguments": {"a": 1}}}],
        {"name": "f"},
        "f()",
        [1, None],
    ],
)
def test_tool_calls_that_do_not_parse_are_kept_as_they_are(stub: Stub, calls: Any) -> None:
    reply = ask(stub, message(content=None, tool_calls=calls))
    assert (reply.output, reply.tool_calls, reply.raw) == (None, calls, None)


@both
@either
def test_tool_calls_that_nothing_could_store_are_kept_as_text(stub: Stub, protocol: str, stream: bool) -> None:
    deep = '"tool_calls": [{"function": {"arguments": ' + "[" * 300 + "]" * 300 + "}}]"
    if protocol == "ollama":
        text = '{"message": {"content": "", ' + deep + '}, "done": true}'
    else:
        text = '{"choices": [{"%s": {"content": null, ' % ("delta" if stream else "message") + deep + "}}]}"
        text = f"data: {text}\n\n" if stream else text
    error = failure(stub, Behaviour(body=text.encode()), protocol=protocol, stream=stream)
    assert error.code == "broken_reply"
    assert "[" * 300 in (error.raw or "")


def test_a_stream_of_tool_calls_is_put_together(stub: Stub) -> None:
    parts = [
        [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}],
        [{"index": 0, "function": {"arguments": '{"x"'}}],
        [{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "oops"}}],
        [{"index": 0, "function": {"arguments": ": 1}"}}],
    ]
    events = [{"choices": [{"delta": {"tool_calls": part}}]} for part in parts]
    events.append({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    reply = ask(stub, Behaviour(body=body + b"data: [DONE]\n\n"), stream=True)
    assert reply.tool_calls == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "oops"}},
    ]
    assert (reply.output, reply.finish_reason) == (None, "tool_calls")
    assert reply.ttft_ms is not None


def test_tool_calls_of_an_ollama_stream_are_kept_from_every_line(stub: Stub) -> None:
    calls = [{"function": {"name": name, "arguments": {"x": 1}}} for name in ("f", "g")]
    lines = [{"message": {"content": "", "tool_calls": [call]}, "done": False} for call in calls]
    lines.append({"message": {"content": ""}, "done": True, "done_reason": "stop"})
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    assert ask(stub, Behaviour(body=body), "ollama", stream=True).tool_calls == calls


STREAMS = {protocol: body_of(protocol, True, "Hällo 🎉 from\nthe \x00 stub.") for protocol in PROTOCOLS}


@both
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 2000), max_size=40), st.booleans())
def test_a_stream_is_the_same_wherever_it_is_cut(stub: Stub, protocol: str, places: list[int], crlf: bool) -> None:
    whole = STREAMS[protocol].replace(b"\n", b"\r\n") if crlf else STREAMS[protocol]
    edges = [0, *sorted({place % len(whole) for place in places}), len(whole)]
    parts = tuple(whole[start:end] for start, end in pairwise(edges))
    reply = ask(stub, Behaviour(parts=parts), protocol, stream=True)
    assert (reply.output, reply.finish_reason, reply.tokens.output) == ("Hällo 🎉 from\nthe \x00 stub.", "stop", 3)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b"data: [DONE]\n\n", b""),
        lambda body: body.replace(b"data: [DONE]\n\n", b"data: [DONE]"),
        lambda body: body.replace(b"\n\n", b"\n"),
        lambda body: body.replace(b"\n\n", b"\r\r"),
        lambda body: body.replace(b"data: ", b": keep-alive\n\nevent: x\ndata:"),
        lambda body: body + b"data: {after the end\n\n",
        lambda body: b"\xef\xbb\xbf" + body,
    ],
    ids=["no-done", "no-last-line-feed", "no-empty-lines", "cr", "comments", "after-done", "bom"],
)
def test_streams_that_are_a_little_different_are_read(stub: Stub, change: Callable[[bytes], bytes]) -> None:
    assert ask(stub, Behaviour(body=change(body_of("openai", True))), stream=True).output == HELLO


def test_a_server_that_does_not_stream_has_answered_all_the_same(stub: Stub) -> None:
    for body in (body_of("openai", False), json.dumps(json.loads(body_of("openai", False)), indent=2).encode()):
        reply = ask(stub, Behaviour(body=body), stream=True)
        assert (reply.output, reply.ttft_ms, reply.tokens.output) == (HELLO, None, 3)


@both
def test_an_error_after_text_keeps_the_text_and_may_be_paid(stub: Stub, protocol: str) -> None:
    body = body_of(protocol, True)
    start = body.index(b"data: " if protocol == "openai" else b"{", body.index(b"the "))
    event = b'{"error": {"message": "overloaded", "code": 529}}'
    broken = body[:start] + (b"data: " + event + b"\n\n" if protocol == "openai" else event + b"\n")
    error = failure(stub, Behaviour(body=broken), protocol=protocol, stream=True)
    assert error.code == "broken_reply"
    assert "overloaded" in str(error)
    assert (error.raw or "").startswith("Hello from the")


def test_an_error_before_any_text_is_what_it_says(stub: Stub) -> None:
    for status, code in ((429, "provider_429"), (503, "provider_5xx"), (400, "broken_reply")):
        event = json.dumps({"error": {"message": "x", "code": status}}).encode()
        assert failure(stub, Behaviour(body=b"data: " + event + b"\n\n"), stream=True).code == code


@both
@either
def test_a_trickle_ends_with_the_deadline_and_what_came_is_there(stub: Stub, protocol: str, stream: bool) -> None:
    body = body_of(protocol, stream)
    place = body.index(b"stub.")
    with pytest.raises(TimeoutError) as caught:
        ask(stub, Behaviour(parts=(body[:place], body[place:]), pause_s=30), protocol, stream, deadline_s=0.5)
    kept = getattr(caught.value.__cause__, "raw", None)
    assert "the " in kept
    assert kept.startswith("Hello from") == stream


def test_after_the_end_of_a_stream_the_connection_is_used_again(stub: Stub) -> None:
    async def main() -> None:
        provider = OpenAICompatible(f"{stub.url}/v1", "k")
        wanted = Request("m", (Message("user", "Hi"),), ModelSettings(stream=True))
        for _ in range(3):
            await provider.generate(wanted)
        await provider.close()

    body = body_of("openai", True)
    stub.rule = lambda _: Behaviour(parts=(body[:-14], body[-14:]), pause_s=0.01)
    run_async(main())
    assert (len(stub.calls), stub.connections) == (3, 1)


def test_a_server_that_keeps_a_stream_open_after_its_end_holds_nobody_up(stub: Stub) -> None:
    body = body_of("openai", True)
    reply = ask(stub, Behaviour(parts=(body, b": still here\n\n"), pause_s=30), stream=True, deadline_s=10)
    assert reply.output == HELLO
    assert reply.latency_ms < 5000


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.booleans(), st.sampled_from(["openai", "ollama"]))
def test_any_body_is_an_answer_or_an_error_of_ours(stub: Stub, body: bytes, stream: bool, protocol: str) -> None:
    with contextlib.suppress(ProviderError):
        ask(stub, Behaviour(body=body), protocol, stream)
