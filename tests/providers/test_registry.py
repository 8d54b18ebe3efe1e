"""From a model reference to a provider."""

import asyncio

import pytest

from promptcard_ext.core.errors import ProviderError, UnknownModel
from promptcard_ext.providers import Providers, model, reachable_models, registry
from promptcard_ext.providers.ollama import Ollama
from promptcard_ext.providers.openai_compatible import OpenAICompatible
from promptcard_ext.providers.simulated import Simulated
from tests.run_async import run_async
from tests.stub_server import Stub


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("openai:gpt-4o", ("openai", "gpt-4o")),
        ("ollama:llama3.2:1b", ("ollama", "llama3.2:1b")),
        ("simulated:steady?latency_ms=5", ("simulated", "steady?latency_ms=5")),
        ("openai/eu:gpt-4o", ("openai", "gpt-4o")),
        ("openai:meta-llama/llama-3", ("openai", "meta-llama/llama-3")),
    ],
)
def test_a_reference_is_provider_and_model(reference: str, parts: tuple[str, str]) -> None:
    assert model(reference) == parts


@pytest.mark.parametrize(
    ("reference", "code", "hint"),
    [
        ("openai", "unknown_model", "PROVIDER:MODEL"),
        ("openai:", "unknown_model", "PROVIDER:MODEL"),
        ("openai:  ", "unknown_model", "PROVIDER:MODEL"),
        (":gpt-4o", "unknown_model", "PROVIDER:MODEL"),
        ("openai/:gpt-4o", "unknown_model", "PROVIDER/CONNECTION:MODEL"),
        ("openai/gpt-4o", "unknown_model", "PROVIDER:MODEL"),
        ("/eu:gpt-4o", "unknown_model", "PROVIDER:MODEL"),
        ("nope/eu:x", "unknown_provider", "There are: ollama, openai, simulated"),
        ("", "unknown_model", "openai"),
        ("nope:x", "unknown_provider", "There are: ollama, openai, simulated"),
        ("opnai:gpt-4o", "unknown_provider", "Did you mean 'openai'?"),
        ("simulated:nope", "unknown_model", "steady"),
    ],
)
def test_a_bad_reference_says_what_to_write(reference: str, code: str, hint: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        model(reference)
    assert caught.value.code == code
    assert hint in caught.value.hint
    assert not caught.value.retryable


def test_one_provider_serves_all_its_models() -> None:
    providers = Providers({"openai": {"base_url": "http://127.0.0.1:1/v1", "api_key": "k"}})
    first = providers("openai:a")
    assert isinstance(first, OpenAICompatible)
    assert first.endpoint == "http://127.0.0.1:1/v1"
    assert providers("openai:b") is first
    assert isinstance(providers("ollama:a"), Ollama)
    assert isinstance(providers("simulated:echo"), Simulated)
    run_async(providers.close())
    assert providers("openai:a") is not first


def test_a_provider_may_have_several_connections() -> None:
    providers = Providers({"openai/eu": {"base_url": "http://eu:1/v1"}, "openai": {"base_url": "http://us:1/v1"}})
    assert providers("openai/eu:a").endpoint == "http://eu:1/v1"
    assert providers("openai/eu:b") is providers("openai/eu:a")
    assert providers("openai:a").endpoint == "http://us:1/v1"
    with pytest.raises(UnknownModel) as caught:
        providers("openai/asia:a")
    assert caught.value.code == "credential_missing"


def test_providers_that_connect_take_credentials() -> None:
    assert [name for name in registry.provider_names() if registry.takes_credentials(name)] == ["ollama", "openai"]


def test_every_provider_is_asked_for_its_models(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{stub.url}/v1")
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    found = run_async(reachable_models())
    assert found["openai"] == ["stub-a", "stub-b"]
    assert found["simulated"] == ["echo", "embed", "hasty", "judge", "steady", "tools"]
    assert isinstance(found["ollama"], ProviderError)
    assert found["ollama"].code == "provider_unreachable"


def test_a_provider_that_breaks_or_hangs_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Simulated):
        async def list_models(self) -> list[str]:
            raise KeyError("its bug")

    class Slow(Simulated):
        async def list_models(self) -> list[str]:
            await asyncio.Event().wait()
            return []

    monkeypatch.setattr(registry, "provider_names", lambda: ("odd", "simulated", "slow"))
    monkeypatch.setattr(registry, "_factory", {"odd": Odd, "simulated": Simulated, "slow": Slow}.__getitem__)
    found = run_async(reachable_models(timeout_s=0.1))
    assert found["simulated"] == ["echo", "embed", "hasty", "judge", "steady", "tools"]
    codes = {name: error.code for name, error in found.items() if isinstance(error, ProviderError)}
    assert codes == {"odd": "provider_crashed", "slow": "timeout"}
