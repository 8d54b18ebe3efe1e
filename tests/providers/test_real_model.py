"""Both protocols against a real model, when there is one."""

import os

import pytest

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.ports import Provider, Reply, Request
from promptcard_ext.providers.ollama import Ollama
from promptcard_ext.providers.openai_compatible import OpenAICompatible
from tests.run_async import run_async

URL = os.environ.get("PROMPTCARDS_REAL_MODEL_URL", "").rstrip("/")
pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(not URL, reason="PROMPTCARDS_REAL_MODEL_URL is not set: no server with a real model"),
]


def provider_at(protocol: str) -> Provider:
    return Ollama(URL) if protocol == "ollama" else OpenAICompatible(f"{URL}/v1", "none")


def ask(protocol: str, settings: ModelSettings) -> Reply:
    async def main() -> Reply:
        provider = provider_at(protocol)
        try:
            name = (await provider.list_models())[0]
            return await provider.generate(Request(name, (Message("user", "The capital of France is"),), settings))
        finally:
            await provider.close()

    return run_async(main())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("protocol", ["openai", "ollama"])
def test_a_real_model_answers(protocol: str, stream: bool) -> None:
    reply = ask(protocol, ModelSettings(max_tokens=4, temperature=0, stream=stream))
    assert reply.output
    assert reply.tokens.input is not None
    assert reply.tokens.output is not None
    assert 0 < reply.tokens.output <= 8 < reply.tokens.input + 8
    assert reply.latency_ms > 1
    assert reply.finish_reason in ("stop", "length")
    assert (reply.ttft_ms is not None) == stream
    assert reply.ttft_ms is None or reply.ttft_ms <= reply.latency_ms


def test_a_stream_says_what_a_plain_reply_says() -> None:
    plain, streamed = (
        ask("openai", ModelSettings(max_tokens=4, temperature=0, stream=s)).output for s in (False, True)
    )
    assert plain is not None
    assert streamed is not None
    assert plain.strip() == streamed.strip()
