"""Putting a question: schema where the model takes one, one repair, then no judgement."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.judges import asking
from promptcard_ext.core.judges.asking import Juror, put, together
from promptcard_ext.core.judges.prompts import CLOSED_QA
from promptcard_ext.core.judges.question import NotJudged, Question, ask_about
from promptcard_ext.core.judges.reading import truth
from promptcard_ext.core.results import Generation
from tests.core.judges.script import Asked, Bench, outage, saying
from tests.run_async import run_async

GOOD = {"reason": "It is.", "pass": True}


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    asking._refused.clear()
    yield
    asking._refused.clear()


def question() -> Question[bool]:
    def read(value: Mapping[str, Any]) -> bool:
        return truth(value, "pass")

    return ask_about(CLOSED_QA, {"output": "Paris", "criteria": "Names a city."}, read)


def asked(bench: Bench, model: str = "a:judge", repeat: int = 0) -> bool:
    return run_async(put(question(), Juror(model, repeat), bench))


def refusing(*names: str) -> Any:
    """Return a judge that refuses requests with these settings, as endpoints do."""

    def say(request: Asked) -> Any:
        for name in names:
            if getattr(request.settings, name) is not None:
                return ProviderError(
                    f"It refuses the request (400): '{name}' is not supported.", code="provider_refused"
                )
        return GOOD

    return say


def test_it_is_asked_by_schema_and_without_chance() -> None:
    bench = Bench(saying(GOOD))
    assert asked(bench, repeat=2)
    (call,) = bench.asked
    assert call.settings.temperature == 0
    assert call.settings.response_format == CLOSED_QA.response_format
    assert call.repeat == 2


@pytest.mark.parametrize(
    ("names", "first_calls"),
    [(("response_format",), 2), (("temperature",), 3), (("response_format", "temperature"), 4)],
)
def test_what_a_model_refuses_is_left_out_and_remembered(names: tuple[str, ...], first_calls: int) -> None:
    bench = Bench(refusing(*names[::-1]))
    assert asked(bench)
    assert len(bench.asked) == first_calls
    assert asked(bench)
    assert len(bench.asked) == first_calls + 1
    last = bench.asked[-1].settings
    assert all(getattr(last, name) is None for name in names)
    assert asked(Bench(refusing(*names)), "b:other")
    assert asking._refused["b:other"] == frozenset(names)


def test_a_request_that_is_refused_either_way_is_the_providers_error_and_nothing_is_remembered() -> None:
    bench = Bench(saying(ProviderError("The prompt is too long.", code="provider_refused")))
    with pytest.raises(ProviderError, match="too long"):
        asked(bench)
    assert len(bench.asked) == 2
    assert asking._refused == {}


def test_a_replay_finds_what_was_recorded_without_the_schema() -> None:
    def say(request: Asked) -> Any:
        recorded = request.settings.response_format is None and request.settings.temperature is None
        return GOOD if recorded else ProviderError("No record.", code="not_recorded")

    assert asked(Bench(say))


def test_an_outage_is_not_asked_again() -> None:
    bench = Bench(saying(outage()))
    with pytest.raises(ProviderError, match="down"):
        asked(bench)
    assert len(bench.asked) == 1


def test_a_bad_answer_is_shown_to_the_judge_once() -> None:
    bench = Bench(saying("It passes!", GOOD))
    assert asked(bench)
    first, second = bench.asked
    assert second.messages[:2] == first.messages
    assert [message.role for message in second.messages[2:]] == ["assistant", "user"]
    assert second.messages[2].content == "It passes!"
    assert "there is no JSON object in it" in second.messages[3].content
    assert CLOSED_QA.shape in second.messages[3].content


def test_a_second_bad_answer_is_no_judgement() -> None:
    bench = Bench(saying("It passes!", '{"pass": "perhaps\x00"}'))
    with pytest.raises(NotJudged, match=r'true or false\. It said: \{"pass": "perhaps') as error:
        asked(bench)
    assert error.value.reason == "judge_parse_error"
    assert len(bench.asked) == 2


@pytest.mark.parametrize(
    "said", [None, "", " \n", Generation("a", "judge", "h", '{"pass": true}', 1.0, finish_reason="content_filter")]
)
def test_a_judge_without_text_is_not_pressed(said: Any) -> None:
    bench = Bench(saying(said))
    with pytest.raises(NotJudged) as error:
        asked(bench)
    assert error.value.reason == "judge_no_text"
    assert len(bench.asked) == 1


def test_a_huge_answer_is_quoted_in_part() -> None:
    bench = Bench(saying("x" * 1_000_000, GOOD))
    assert asked(bench)
    assert len(bench.asked[1].messages[2].content) == asking.MAX_QUOTED_CHARS


def test_all_calls_end_before_the_first_failure_is_told() -> None:
    ended = []

    async def one(name: str, calls: int) -> str:
        for _ in range(calls):
            await asyncio.sleep(0)
        ended.append(name)
        if name == "bad":
            raise outage()
        return name

    with pytest.raises(ProviderError):
        run_async(_all(one))
    assert ended == ["bad", "slow"]


async def _all(one: Any) -> Any:
    return await together((one("bad", 1), one("slow", 5)))
