"""Every way in which a provider fails, at the first, the middle and the last call, with exactly what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from promptcard_ext.core.card import Card, ModelSettings
from promptcard_ext.core.engine import EngineOptions, execute
from promptcard_ext.core.events import ItemFinished
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.ports import Provider, Reply, Request
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.core.results import ItemResult, Outcome, Tokens
from promptcard_ext.providers.openai_compatible import OpenAICompatible
from tests.fault.referee import Referee
from tests.run_async import run_async
from tests.support import GREET, greetings

CASES = 5
POSITIONS = {"first": 0, "middle": CASES // 2, "last": CASES - 1}
ALWAYS = 99


class Expected(NamedTuple):
    """What becomes of the item that meets a fault.

    Attributes:
        reason: Why there is no verdict; None when the item passes.
        calls: How many calls the provider counts for it.
        times: How often the fault is met.
        tokens: What is known of the tokens.
    """

    reason: str | None
    calls: int
    times: int = ALWAYS
    tokens: Tokens = Tokens(5, 7)
    model: str = "m"


UNKNOWN = Tokens()
EXPECTED = {
    # The provider says that it did not do it: asked again, as it says and as often as the engine's limit lets.
    "429 seconds": Expected(None, 2, 1),
    "429 date": Expected(None, 2, 1),
    "429 absurd": Expected("provider_429_exhausted", 1),
    "500": Expected("provider_5xx_exhausted", 5),
    "502 html": Expected("provider_5xx_exhausted", 5),
    "503": Expected("provider_5xx_exhausted", 5),
    "200 error": Expected("provider_refused", 1),
    # It may have been done, and paid for: once more, not oftener.
    "silence": Expected("timeout", 2),
    "cut": Expected("broken_reply", 2),
    "stream stop": Expected("broken_reply", 2),
    "reset": Expected("broken_reply", 2),
    "invalid utf-8": Expected("broken_reply", 2),
    # Nobody was asked.
    "tls": Expected("provider_unreachable", 0),
    "dns": Expected("provider_unreachable", 0),
    # An answer of an odd kind is an answer.
    "10 MB": Expected("reply_too_long", 1),
    "gzip bomb": Expected("reply_too_long", 1),
    "nul": Expected(None, 1),
    "surrogate": Expected(None, 1),
    "nan": Expected(None, 1, tokens=UNKNOWN),
    "wrong model": Expected(None, 1, model="another-model"),
    "no usage": Expected(None, 1, tokens=UNKNOWN),
    "negative tokens": Expected(None, 1, tokens=UNKNOWN),
    "jitter": Expected(None, 1),
}


class ByCase:
    """A provider that has another address for one case."""

    name, price_key, endpoint = "openai", "", "by case"

    def __init__(self, url: str, mark: str, other_url: str) -> None:
        self._mark = mark
        self._usual, self._other = OpenAICompatible(url, "k"), OpenAICompatible(other_url, "k")

    async def generate(self, request: Request) -> Reply:
        marked = self._mark in str(request.messages[-1].content)
        return await (self._other if marked else self._usual).generate(request)

    async def list_models(self) -> list[str]:
        return ["m"]

    async def close(self) -> None:
        await self._usual.close()
        await self._other.close()


@pytest.fixture(scope="module")
def long_referee(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Referee]:
    """One referee for all of the matrix: what it counted before is subtracted."""
    with Referee(tmp_path_factory.mktemp("referee") / "calls.jsonl") as referee:
        yield referee


def run(provider: Provider, timeout_s: float, *, stream: bool) -> list[ItemResult]:
    """Run five cases, one after the other, and return their results in order."""
    settings = ModelSettings(stream=True) if stream else ModelSettings()
    plan = Plan([Card("greet", GREET.template, settings=settings)], ["openai:m"], greetings(CASES))
    options = EngineOptions(concurrency=1, timeout_s=timeout_s, backoff_s=0.01)

    async def work() -> list[ItemResult]:
        events = execute(plan.prepare(), lambda _: provider, prices=PriceBook([]), options=options)
        found = [event.result async for event in events if isinstance(event, ItemFinished)]
        await provider.close()
        return sorted(found, key=lambda result: result.ordinal)

    return run_async(work())


def provider_for(referee: Referee, fault: str, mark: str) -> Provider:
    url = referee.url
    referee.plan()
    if fault == "tls":
        return ByCase(url, mark, url.replace("http://", "https://"))
    if fault == "dns":
        return ByCase(url, mark, "http://nobody.invalid/v1")
    referee.plan((mark, fault, EXPECTED[fault].times))
    return OpenAICompatible(url, "k")


def seen(result: ItemResult) -> dict[str, Any]:
    answer = result.generation
    if answer is None or result.outcome is Outcome.ERROR:
        return {"outcome": result.outcome, "reason": result.reason}
    return {
        "outcome": result.outcome,
        "reason": result.reason,
        "tokens": answer.tokens,
        "model": answer.model_reported,
    }


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("fault", EXPECTED)
def test_a_fault_has_exactly_the_outcome_that_it_should(long_referee: Referee, fault: str, position: str) -> None:
    before = long_referee.calls()
    expected, hit = EXPECTED[fault], POSITIONS[position]
    mark = f"Ada {hit}."
    provider = provider_for(long_referee, fault, mark)
    timeout_s = {"silence": 0.5}.get(fault, 20.0)
    results = run(provider, timeout_s, stream=fault == "stream stop")
    calls = long_referee.calls() - before
    found = [(seen(result), calls["m", f"Say hello to Ada {n}."]) for n, result in enumerate(results)]
    well = {"outcome": Outcome.PASS, "reason": None, "tokens": Tokens(5, 7), "model": "m"}
    failed = {"outcome": Outcome.ERROR, "reason": expected.reason}
    passed = {**well, "tokens": expected.tokens, "model": expected.model}
    wanted = [(well, 1)] * CASES
    wanted[hit] = (failed if expected.reason else passed, expected.calls)
    assert found == wanted
