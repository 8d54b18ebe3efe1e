"""A card's settings in the words of each protocol."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Provider, Reply, Request
from promptcard_ext.providers.body import Bodies
from promptcard_ext.providers.ollama import Ollama
from promptcard_ext.providers.openai_compatible import OpenAICompatible
from tests.run_async import run_async
from tests.stub_server import Stub

PROVIDERS: dict[str, Callable[..., Any]] = {
    "openai": lambda url, **options: OpenAICompatible(f"{url}/v1", "k", **options),
    "ollama": Ollama,
}
both = pytest.mark.parametrize("protocol", ["openai", "ollama"])
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
F = {"type": "function", "function": {"name": "f"}}


def sent(stub: Stub, protocol: str, options: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """Return what arrives beside model, messages and the stream field."""

    async def main() -> Reply:
        provider: Provider = PROVIDERS[protocol](stub.url, **options or {})
        try:
            return await provider.generate(Request("m", (Message("user", "Hi"),), ModelSettings(**settings)))
        finally:
            await provider.close()

    run_async(main())
    body = dict(stub.calls[-1].body)
    assert (body.pop("model"), body.pop("messages")) == ("m", [{"role": "user", "content": "Hi"}])
    body.pop("stream", None)
    return body


@pytest.mark.parametrize(
    ("settings", "openai", "ollama"),
    [
        ({}, {}, {"options": {}}),
        (
            {"presence_penalty": 0.5, "frequency_penalty": -0.5},
            {"presence_penalty": 0.5, "frequency_penalty": -0.5},
            {"options": {"presence_penalty": 0.5, "frequency_penalty": -0.5}},
        ),
        ({"tools": TOOLS}, {"tools": TOOLS}, {"options": {}, "tools": TOOLS}),
        (
            {"tools": TOOLS, "tool_choice": "auto"},
            {"tools": TOOLS, "tool_choice": "auto"},
            {"options": {}, "tools": TOOLS},
        ),
        ({"logprobs": True}, {"logprobs": True}, {"options": {}, "logprobs": True}),
        ({"logprobs": False}, {"logprobs": False}, {"options": {}, "logprobs": False}),
        ({"reasoning_effort": "minimal"}, {"reasoning_effort": "minimal"}, {"options": {}, "think": "low"}),
        ({"reasoning_effort": "none"}, {"reasoning_effort": "none"}, {"options": {}, "think": False}),
        ({"reasoning_effort": "high"}, {"reasoning_effort": "high"}, {"options": {}, "think": "high"}),
        ({"extra": {"top_k": 5}}, {"top_k": 5}, {"options": {}, "top_k": 5}),
        (
            {"temperature": 0, "extra": {"options": {"top_k": 5}}},
            {"temperature": 0, "options": {"top_k": 5}},
            {"options": {"temperature": 0, "top_k": 5}},
        ),
    ],
)
def test_each_setting_goes_by_its_name_there(
    stub: Stub, settings: dict[str, Any], openai: dict[str, Any], ollama: dict[str, Any]
) -> None:
    assert sent(stub, "openai", **settings) == openai
    assert sent(stub, "ollama", **settings) == ollama


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_limit_of_tokens_has_the_name_that_the_server_knows(stub: Stub, name: str) -> None:
    assert sent(stub, "openai", {"max_tokens_field": name}, max_tokens=7) == {name: 7}


def test_at_openai_itself_it_has_the_name_that_all_its_models_know() -> None:
    assert OpenAICompatible(api_key="k")._fields(ModelSettings(max_tokens=7)) == {"max_completion_tokens": 7}


@pytest.mark.parametrize(
    ("protocol", "settings", "named"),
    [
        ("openai", {"temperature": 0.5, "extra": {"temperature": 1}}, "temperature"),
        ("ollama", {"extra": {"format": "json"}, "response_format": {"type": "json_object"}}, "format"),
        ("ollama", {"temperature": 0.5, "extra": {"options": {"temperature": 1}}}, "temperature"),
        ("ollama", {"extra": {"options": 5}}, "options"),
        ("ollama", {"tools": TOOLS, "tool_choice": "required"}, "tool_choice"),
        ("ollama", {"tools": TOOLS, "tool_choice": F}, "tool_choice"),
        ("ollama", {"reasoning_effort": "xhigh"}, "reasoning_effort"),
    ],
)
def test_what_a_protocol_cannot_carry_is_said_before_anything_is_sent(
    stub: Stub, protocol: str, settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(ProviderError) as caught:
        sent(stub, protocol, **settings)
    error = caught.value
    assert (error.code, error.sent, error.retryable) == ("setting_not_supported", False, False)
    assert f"'{named}'" in str(error)
    assert stub.calls == []
    with pytest.raises(ProviderError) as caught:
        PROVIDERS[protocol](stub.url).check_settings(ModelSettings(**settings))
    assert caught.value.code == "setting_not_supported"


@both
@pytest.mark.parametrize("settings", [{}, {"temperature": 1, "tools": TOOLS, "extra": {"top_k": 1}}])
def test_settings_that_can_be_sent_pass_the_check(protocol: str, settings: dict[str, Any]) -> None:
    PROVIDERS[protocol]("http://127.0.0.1:1").check_settings(ModelSettings(**settings))


@both
def test_many_settings_in_turn_are_never_mixed_up(stub: Stub, protocol: str) -> None:
    async def main() -> None:
        provider = PROVIDERS[protocol](stub.url)
        for number in range(300):
            # Made anew each time, so that ids of earlier ones may come again.
            settings = ModelSettings(seed=number % 150)
            await provider.generate(Request(f"m{number % 3}", (Message("user", "Hi"),), settings))
        await provider.close()

    run_async(main())
    for number, call in enumerate(stub.calls):
        seed = call.body["seed"] if protocol == "openai" else call.body["options"]["seed"]
        assert (call.body["model"], seed) == (f"m{number % 3}", number % 150)


def test_settings_that_are_used_again_are_encoded_once() -> None:
    encoded: list[ModelSettings] = []

    def fields(settings: ModelSettings) -> dict[str, Any]:
        encoded.append(settings)
        return {}

    bodies, settings = Bodies(fields), ModelSettings(temperature=1)
    for _ in range(10):
        assert bodies.of("m", settings, (Message("user", "Hi"),)) == (
            b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
        )
    assert len(encoded) == 1


@both
def test_a_prompt_of_megabytes_is_sent(stub: Stub, protocol: str) -> None:
    async def main() -> Reply:
        provider = PROVIDERS[protocol](stub.url)
        try:
            async with asyncio.timeout(20):
                return await provider.generate(Request("m", (Message("user", "é" * 2_000_000),), ModelSettings()))
        finally:
            await provider.close()

    assert run_async(main()).output
    assert stub.calls[0].body["messages"][0]["content"] == "é" * 2_000_000
