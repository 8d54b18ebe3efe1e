"""A real model that is far too small to judge: it ends as unscored, and nothing breaks."""

from __future__ import annotations

import os

import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.engine import EngineOptions, execute
from promptcard_ext.core.events import ItemFinished
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.providers.openai_compatible import OpenAICompatible
from tests.core.fakes import Fake
from tests.run_async import run_async

URL = os.environ.get("PROMPTCARDS_REAL_MODEL_URL", "").rstrip("/")
pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(not URL, reason="PROMPTCARDS_REAL_MODEL_URL is not set: no server with a real model"),
    pytest.mark.timeout(600),
]
JUDGED = [Assertion("llm-rubric", "Is a number."), Assertion("factuality", "It is 1."), Assertion("g-eval", "Is kind.")]


def run(assertions: list[Assertion]) -> ItemResult:
    async def main() -> ItemResult:
        judge = OpenAICompatible(f"{URL}/v1", "none")
        try:
            model = (await judge.list_models())[0]
            events = execute(
                Plan([Card("c", "{{ n }}")], ["fake:m"], [Case({"n": 1}, tuple(assertions))]).prepare(),
                lambda reference: Fake() if reference == "fake:m" else judge,
                prices=PriceBook([]),
                options=EngineOptions(judges=(f"openai:{model}",), timeout_s=60, max_calls=1),
            )
            (result,) = [event.result async for event in events if isinstance(event, ItemFinished)]
            return result
        finally:
            await judge.close()

    return run_async(main())


def test_a_poor_judge_is_no_judge_and_breaks_nothing() -> None:
    result = run(JUDGED)
    for verdict in result.verdicts:
        if verdict.outcome in (Outcome.PASS, Outcome.FAIL):
            assert verdict.message  # it did manage a judgement, and says why
        else:
            assert verdict.reason in {"judge_parse_error", "judge_no_text", "timeout"}
    assert result.reason != "assertion_crashed"
