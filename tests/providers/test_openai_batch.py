"""OpenAI's Batch API against a server that behaves like it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.providers.openai_batch import Batch, OpenAIBatches
from promptcard_ext.providers.openai_compatible import OpenAICompatible
from tests.providers.batch_stub import BatchStub, answered, failed, result
from tests.run_async import run_async

MADE_BY = {"promptcards_batch": "one"}


@pytest.fixture
def stub() -> Iterator[BatchStub]:
    with BatchStub() as stub:
        yield stub


def asked(text: str, **settings: object) -> Request:
    return Request("gpt-4.1-mini", (Message("user", text),), ModelSettings(**settings))  # type: ignore[arg-type]


async def submitted(batches: OpenAIBatches, requests: dict[str, Request]) -> Batch:
    return await batches.create(await batches.upload(batches.lines(requests)), MADE_BY)


def test_results_find_their_requests_whatever_their_order(stub: BatchStub) -> None:
    async def use() -> None:
        provider = OpenAICompatible(stub.url, "sk-key")
        batches = provider.batches()
        batch = await submitted(
            batches, {"0": asked("zero", temperature=0.5), "1": asked("one"), "2": asked("zwei ü\n")}
        )
        assert (batch.status, batch.ended, batch.metadata) == ("validating", False, MADE_BY)
        stub.end()
        done = await batches.get(batch.id)
        found = await batches.results(done)
        await provider.close()
        assert done.ended
        replies = {key: reply for key, reply in found.items() if isinstance(reply, Reply)}
        assert {key: reply.output for key, reply in replies.items()} == {"0": "zero", "1": "one", "2": "zwei ü\n"}
        assert (replies["0"].tokens.input, replies["0"].tokens.output) == (1000, 500)
        assert replies["0"].latency_ms == 60_000

    run_async(use())
    (lines,) = stub.inputs.values()
    assert lines[0]["body"] == {
        "model": "gpt-4.1-mini", "temperature": 0.5, "messages": [{"role": "user", "content": "zero"}]
    }  # fmt: skip
    assert stub.batches[0]["completion_window"] == "24h"


def test_each_failed_line_is_an_error_of_its_own(stub: BatchStub) -> None:
    def answer(line: dict[str, object]) -> dict[str, object] | None:
        kinds = {
            "0": answered(line),
            "1": result(line, 400, {"error": {"message": "bad setting"}}),
            "2": result(line, 429, {"error": {"message": "slow down"}}),
            "3": failed(line, "batch_expired", "too late"),
            "4": failed(line, "invalid_request_error", "no such model"),
            "5": result(line, 200, {"choices": []}),
            "6": None,
        }
        return kinds[str(line["custom_id"])]

    async def use() -> dict[str, Reply | ProviderError]:
        provider = OpenAICompatible(stub.url, "sk-key")
        batches = provider.batches()
        batch = await submitted(batches, {str(n): asked("x") for n in range(7)})
        stub.end(answer=answer)
        found = await batches.results(await batches.get(batch.id))
        await provider.close()
        return found

    found = run_async(use())
    codes = {key: one.code for key, one in found.items() if isinstance(one, ProviderError)}
    assert codes == {
        "1": "provider_refused", "2": "provider_429", "3": "batch_expired", "4": "provider_refused",
        "5": "broken_reply",
    }  # fmt: skip
    assert isinstance(found["0"], Reply)
    assert "6" not in found


def test_a_batch_whose_making_was_not_answered_is_found_by_its_metadata(stub: BatchStub) -> None:
    async def use() -> None:
        provider = OpenAICompatible(stub.url, "sk-key")
        batches = provider.batches()
        file_id = await batches.upload(batches.lines({"0": asked("x")}))
        stub.fault("POST /batches", "lost")
        with pytest.raises(ProviderError) as lost:
            await batches.create(file_id, MADE_BY)
        for _ in range(5):
            await batches.create(file_id, {"promptcards_batch": "another"})
        found = await batches.find(MADE_BY, 0)
        none = await batches.find({"promptcards_batch": "unknown"}, 0)
        await provider.close()
        assert lost.value.sent
        assert found is not None
        assert (found.id, none) == ("batch_1", None)

    run_async(use())


def test_a_batch_that_failed_as_a_whole_says_why(stub: BatchStub) -> None:
    async def use() -> Batch:
        provider = OpenAICompatible(stub.url, "sk-key")
        batches = provider.batches()
        batch = await submitted(batches, {"0": asked("x")})
        stub.refuse("This line is not JSON.")
        failed = await batches.get(batch.id)
        await provider.close()
        return failed

    batch = run_async(use())
    assert (batch.status, batch.ended, batch.problem) == ("failed", True, "This line is not JSON.")


def test_a_card_that_streams_does_not_in_a_batch(stub: BatchStub) -> None:
    provider = OpenAICompatible(stub.url, "sk-key")
    lines = provider.batches().lines({"0": asked("x", stream=True)})
    assert "stream" not in json.loads(lines)["body"]
    run_async(provider.close())
