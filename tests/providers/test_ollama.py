"""Ollama's protocol against a server of our own, over real sockets."""

import asyncio
import json
from typing import Any

import pytest

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.core.results import Tokens
from promptcard_ext.providers.ollama import Ollama
from tests.run_async import run_async
from tests.stub_server import Behaviour, Stub, gzip_bomb, ollama_stream


def request(**settings: Any) -> Request:
    return Request("m:1b", (Message("user", "Hi"),), ModelSettings(**settings))


def ask(url: str, wanted: Request | None = None) -> Reply:
    async def main() -> Reply:
        provider = Ollama(url)
        try:
            async with asyncio.timeout(20):
                return await provider.generate(wanted or request())
        finally:
            await provider.close()

    return run_async(main())


def failure(stub: Stub, behaviour: Behaviour, **settings: Any) -> ProviderError:
    stub.next(behaviour)
    with pytest.raises(ProviderError) as caught:
        ask(stub.url, request(**settings))
    assert len(stub.calls) == 1
    return caught.value


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_is_read_whole(stub: Stub, stream: bool) -> None:
    reply = ask(stub.url, request(stream=stream))
    assert reply.output == "Hello from the stub."
    assert reply.tokens == Tokens(input=7, output=3)
    assert (reply.finish_reason, reply.model_reported) == ("stop", "stub-reported")
    assert (reply.ttft_ms is not None) == stream
    assert stub.calls[0].path == "/api/chat"
    assert stub.calls[0].body["stream"] is stream


def test_settings_go_by_their_names_at_ollama(stub: Stub) -> None:
    ask(stub.url, request(temperature=0.5, top_p=0.9, max_tokens=9, seed=3, stop=("END",)))
    assert stub.calls[0].body == {
        "model": "m:1b",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": False,
        "options": {"temperature": 0.5, "top_p": 0.9, "num_predict": 9, "seed": 3, "stop": ["END"]},
    }


SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, "json"),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}, SCHEMA),
        ({"type": "json_schema", "json_schema": "odd"}, "json"),
    ],
)
def test_the_response_format_is_translated(stub: Stub, wanted: dict[str, Any], sent: Any) -> None:
    ask(stub.url, request(response_format=wanted))
    assert stub.calls[0].body.get("format") == sent


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("text", ["nul \x00 inside", "half \ud83d an emoji", "ünïcödé 🎉", ""])
def test_odd_characters_of_an_answer_are_kept(stub: Stub, text: str, stream: bool) -> None:
    stub.next(Behaviour(text=text))
    assert ask(stub.url, request(stream=stream)).output == text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("usage", [None, {"prompt_tokens": -1, "completion_tokens": "3"}])
def test_a_count_that_makes_no_sense_is_unknown(stub: Stub, usage: Any, stream: bool) -> None:
    stub.next(Behaviour(usage=usage))
    assert ask(stub.url, request(stream=stream)).tokens == Tokens()


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "provider_refused"), (404, "unknown_model"), (429, "provider_429"), (500, "provider_5xx")],
)
def test_a_status_has_its_class_of_failure(stub: Stub, status: int, code: str) -> None:
    assert failure(stub, Behaviour(status=status)).code == code


def test_the_error_text_of_ollama_is_shown(stub: Stub) -> None:
    error = failure(stub, Behaviour(status=404, body=b'{"error": "model \'m:1b\' not found"}'))
    assert "model 'm:1b' not found" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nope",
        b"{}",
        b'{"done": true}',
        b'{"message": {"content": "x"}}',
        b'{"message": 5, "done": true}',
        b"\xff",
    ],
)
def test_a_reply_without_a_finished_message_is_broken(stub: Stub, body: bytes) -> None:
    assert failure(stub, Behaviour(body=body)).code == "broken_reply"


STREAM = ollama_stream(Behaviour())[0]


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(cut_at=STREAM.index(b"from")),
        Behaviour(body=STREAM[: STREAM.index(b"from")]),
        Behaviour(body=b"{oops\n"),
        Behaviour(body=b"[" * 200_000 + b"\n"),
        Behaviour(body=b'{"error": "out of memory"}\n'),
        Behaviour(body=b"[1]\n"),
    ],
    ids=["cut", "ends-in-mid-line", "not-json", "deep", "error", "list"],
)
def test_a_stream_that_does_not_end_well_is_broken(stub: Stub, behaviour: Behaviour) -> None:
    assert failure(stub, behaviour, stream=True).code == "broken_reply"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["long", "bomb"])
def test_more_than_ten_megabytes_are_not_read(stub: Stub, kind: str, stream: bool) -> None:
    behaviour = gzip_bomb(50_000_000) if kind == "bomb" else Behaviour(text="x" * 11_000_000)
    assert failure(stub, behaviour, stream=stream).code == "reply_too_long"


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        ("http://box:8080/", "http://box:8080"),
        ("https://box/ollama", "https://box/ollama"),
        ("box", "http://box:11434"),
        ("box:1234", "http://box:1234"),
        (":1234", "http://127.0.0.1:1234"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:99", "http://127.0.0.1:99"),
        ("[::]:99", "http://[::1]:99"),
        ("[fe80::1]", "http://[fe80::1]:11434"),
        ("http://me:pw@box:99", "http://box:99"),
    ],
)
def test_the_address_may_be_what_a_server_listens_on(monkeypatch: pytest.MonkeyPatch, host: str, endpoint: str) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert Ollama().endpoint == endpoint


def models(url: str) -> list[str]:
    async def main() -> list[str]:
        provider = Ollama(url)
        try:
            return await provider.list_models()
        finally:
            await provider.close()

    return run_async(main())


def test_models_are_listed_in_order(stub: Stub) -> None:
    assert models(stub.url) == ["stub-a:1b", "stub-b:1b"]
    assert stub.calls[0].path == "/api/tags"


def test_the_list_is_not_asked_through_a_proxy(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    with Stub() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        models(stub.url)
        assert proxy.calls == []


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (Behaviour(status=500), "provider_5xx"),
        (Behaviour(status=302, headers={"Location": "http://127.0.0.1:1/"}), "provider_refused"),
        (Behaviour(body=b"not json"), "broken_reply"),
        (Behaviour(body=json.dumps({"models": 5}).encode()), "broken_reply"),
        (Behaviour(body=b"[]"), "broken_reply"),
        (Behaviour(cut_at=5), "provider_unreachable"),
    ],
    ids=["500", "redirect", "not-json", "number", "list", "cut"],
)
def test_a_list_of_models_that_does_not_come_is_an_error_of_ours(stub: Stub, behaviour: Behaviour, code: str) -> None:
    stub.next(behaviour)
    with pytest.raises(ProviderError) as caught:
        models(stub.url)
    assert caught.value.code == code
    assert len(stub.calls) == 1


def test_a_closed_port_is_unreachable() -> None:
    with Stub() as gone:
        url = gone.url
    for use in (models, ask):
        with pytest.raises(ProviderError) as caught:
            use(url)
        assert caught.value.code == "provider_unreachable"
