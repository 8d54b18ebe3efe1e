"""The simulated provider."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.errors import ProviderError, UnknownModel
from promptcard_ext.core.ports import Embedder, Embeddings, Quota, Reply, Request
from promptcard_ext.providers.simulated import Simulated
from promptcard_ext.providers.simulated.allowance import Allowance
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
     "steady?latency_ms=-1", "judge?rpm=-1", "steady?kind=1", "steady?error_rate=1.5", "steady?spread=1e9",
     "steady?latency_ms="],
)  # fmt: skip
def test_an_option_that_does_not_exist_or_fit_is_refused(name: str) -> None:
    with pytest.raises(UnknownModel):
        profile(name)
    with pytest.raises(UnknownModel):
        Simulated.check_model(name)


def test_its_profiles_are_its_models() -> None:
    assert [profile(name) for name in run_async(Simulated().list_models())]


def shaped(model: str, nonce: str = "n", **settings: Any) -> Reply:
    return ask(Request(model, (Message("user", "Is it good?"),), ModelSettings(**settings), nonce))


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": properties}}}


def test_a_judge_answers_with_what_the_schema_asks_for() -> None:
    wanted = schema(
        reason={"type": "string"},
        verdict={"type": "string", "enum": ["A", "B"]},
        score={"type": "number", "minimum": 1, "maximum": 5},
        steps={"type": "array", "items": {"type": "string"}},
        detail={"type": "object", "properties": {"fine": {"type": ["boolean", "null"]}, "version": {"const": 2}}},
    )
    value = json.loads(shaped("judge?latency_ms=0", response_format=wanted).output or "")
    assert set(value) == {"reason", "verdict", "score", "steps", "detail"}
    assert value["reason"].startswith("(simulated)")
    assert value["verdict"] in ("A", "B")
    assert 1 <= value["score"] <= 5
    assert all(isinstance(step, str) for step in value["steps"])
    assert value["detail"] == {"fine": value["detail"]["fine"], "version": 2}
    assert isinstance(value["detail"]["fine"], bool)


def test_a_judge_is_satisfied_as_often_as_it_is_told_and_says_so_consistently() -> None:
    fields = {"score": {"type": "number"}, "pass": {"type": "boolean"}, "evasive": {"type": "boolean"}}
    wanted = schema(**fields)
    drawn = [shaped("judge?latency_ms=0&slips=0.4", str(n), response_format=wanted) for n in range(300)]
    values = [json.loads(reply.output or "") for reply in drawn]
    assert all((value["score"] >= 0.5) == value["pass"] != value["evasive"] for value in values)
    assert 140 < sum(value["pass"] for value in values) < 220
    assert shaped("judge?latency_ms=0", "7").output == shaped("judge?latency_ms=0", "7").output
    sure = [json.loads(shaped("judge?latency_ms=0&slips=0", str(n)).output or "")["pass"] for n in range(20)]
    assert all(sure)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.just(10**400) | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "properties", "items", "enum", "const", "minimum", "json_schema", "schema", "a"]
                ),
                inner | st.sampled_from(["object", "array", "number", "integer", "boolean", "null", "string"]),
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_a_judge_answers_json_whatever_the_schema_is(anything: Any) -> None:
    for wanted in ({"json_schema": anything}, {"json_schema": {"schema": anything}}):
        json.loads(shaped("judge?latency_ms=0", response_format=wanted).output or "")


CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": CITY}} for name in ("weather", "time")]


@pytest.mark.parametrize(
    ("choice", "name"), [(None, "weather"), ({"type": "function", "function": {"name": "time"}}, "time")]
)
def test_tools_are_called_with_arguments_that_fit(choice: Any, name: str) -> None:
    reply = shaped("tools?latency_ms=0", tools=TOOLS, tool_choice=choice)
    (call,) = reply.tool_calls
    assert (reply.output, reply.finish_reason, call["function"]["name"]) == (None, "tool_calls", name)
    assert isinstance(json.loads(call["function"]["arguments"])["city"], str)


@pytest.mark.parametrize("settings", [{}, {"tools": TOOLS, "tool_choice": "none"}])
def test_without_a_tool_there_is_a_sentence(settings: dict[str, Any]) -> None:
    reply = shaped("tools?latency_ms=0", **settings)
    assert (reply.tool_calls, reply.finish_reason) == (None, "stop")
    assert reply.output


def vectors(texts: list[str], model: str = "embed?latency_ms=0") -> Embeddings:
    assert isinstance(Simulated(), Embedder)
    return run_async(Simulated().embed(model, texts))


@given(st.lists(st.text(), max_size=5))
def test_every_text_has_a_vector_of_length_one(texts: list[str]) -> None:
    found = vectors(texts).vectors
    assert len(found) == len(texts)
    assert all(math.isclose(math.hypot(*vector), 1.0) for vector in found)
    assert found == vectors(texts).vectors


def test_texts_with_the_same_words_are_closer_than_others() -> None:
    one, same, other = vectors(["The cat sat on the mat", "on the mat sat the cat!", "Quarterly figures rose"]).vectors
    assert one == same
    assert sum(a * b for a, b in zip(one, other, strict=True)) < 0.5


def test_vectors_and_answers_come_from_different_models() -> None:
    with pytest.raises(ProviderError) as caught:
        vectors(["a"], "steady")
    assert (caught.value.code, caught.value.sent) == ("no_embeddings", False)
    with pytest.raises(UnknownModel):
        shaped("embed")


def test_a_stream_has_a_first_token_and_log_probabilities_come_when_asked_for() -> None:
    reply = shaped("steady?latency_ms=1", stream=True, logprobs=True)
    assert reply.ttft_ms is not None
    assert 0 < reply.ttft_ms < reply.latency_ms
    assert reply.logprobs is not None
    assert len(reply.logprobs) == reply.tokens.output
    assert all(value < 0 for value in reply.logprobs)
    assert (shaped("echo").ttft_ms, shaped("echo").logprobs) == (None, None)


def test_a_limit_admits_a_tenth_at_once_and_then_as_time_goes_by() -> None:
    now = [100.0]
    allowance = Allowance(60, lambda: now[0])
    assert [allowance.take().remaining for _ in range(6)] == pytest.approx([5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0])
    with pytest.raises(ProviderError) as caught:
        allowance.take()
    error = caught.value
    assert (error.code, error.retryable, error.quota) == ("provider_429", True, Quota(0.0, 6.0))
    assert error.retry_after_s == pytest.approx(1.0)
    now[0] += 1.0
    assert allowance.take() == Quota(0.0, 6.0)
    now[0] += 1000.0
    assert allowance.take().remaining == pytest.approx(5 / 6)


def test_calls_beyond_the_limit_are_refused_per_model() -> None:
    async def main() -> list[str]:
        provider, outcomes = Simulated(), []
        for name in ("echo?rpm=20", "echo?rpm=20", "echo?rpm=20", "echo", "echo?rpm=10"):
            try:
                reply = await provider.generate(request(model=name))
                outcomes.append("limited" if reply.quota else "free")
            except ProviderError as error:
                outcomes.append(error.code)
        return outcomes

    assert run_async(main()) == ["limited", "limited", "provider_429", "free", "limited"]
