"""The simulated provider."""

import pytest

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.errors import ProviderError, UnknownModel
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.providers.simulated import Simulated
from promptcard_ext.providers.simulated.profile import profile
from tests.run_async import run_async


def request(text: str = "Hi", model: str = "steady?latency_ms=0", nonce: str = "n", seed: int | None = None) -> Request:
    return Request(model, (Message("user", text),), ModelSettings(seed=seed), nonce)


def ask(wanted: Request) -> Reply:
    return run_async(Simulated().generate(wanted))


def test_the_same_call_gives_the_same_reply() -> None:
    wanted = request(model="steady?latency_ms=1")
    assert ask(wanted) == ask(wanted)


def test_another_repeat_or_seed_draws_another_latency() -> None:
    replies = [ask(request(model="steady?latency_ms=1", nonce=n, seed=s)) for n in ("a", "b") for s in (None, 1, 2)]
    assert len({reply.latency_ms for reply in replies}) == 6


def test_echo_answers_with_the_last_message_at_once() -> None:
    reply = ask(request("lone \ud83d and nul \x00", model="echo"))
    assert (reply.output, reply.latency_ms) == ("lone \ud83d and nul \x00", 0)


def test_a_refused_call_succeeds_when_repeated() -> None:
    provider = Simulated()
    wanted = request(model="steady?latency_ms=0&error_rate=1")
    with pytest.raises(ProviderError) as caught:
        run_async(provider.generate(wanted))
    assert caught.value.retryable
    assert caught.value.code in ("provider_429", "provider_5xx")
    assert run_async(provider.generate(wanted)).output


@pytest.mark.parametrize(
    "name",
    ["nope", "", "steady?speed=1", "steady?latency_ms=fast", "steady?latency_ms=nan", "steady?latency_ms=inf",
     "steady?latency_ms=-1", "steady?error_rate=1.5", "steady?spread=1e9", "steady?latency_ms="],
)  # fmt: skip
def test_an_option_that_does_not_exist_or_fit_is_refused(name: str) -> None:
    with pytest.raises(UnknownModel):
        profile(name)
    with pytest.raises(UnknownModel):
        Simulated.check_model(name)


def test_its_profiles_are_its_models() -> None:
    assert [profile(name) for name in run_async(Simulated().list_models())]
