"""An event that is encoded when it is written has the very bytes that reading it has, or is left to readers."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from promptcard_ext.core.results import Call, Generation, ItemResult, Outcome, Tokens, Verdict
from server_ext.db.ids import new_id
from server_ext.services import items, storing
from server_ext.services import tasks as task_service
from server_ext.services.answers import override_price_id
from server_ext.services.fresh_events import FreshEvent, encode_fresh, encoded
from server_ext.services.recording import Recorded
from server_ext.services.storing import Stored
from server_ext.services.tasks import Lease
from tests.services.test_leases import lease_of, task_of
from tests.services.test_recording import begin, expire, result_of
from tests.support import Tenant

BOUND = 1_000_000
Change = Callable[[ItemResult], ItemResult]


def read(tenant: Tenant, run_id: str, seq: int) -> bytes:
    """Return an event as a server sends it that reads it."""
    with tenant.scope() as scope:
        events, run = items.events_after(scope, run_id, seq - 1)
    return encoded(seq, events[0].kind, run.status, events[0].payload, events[0].items)


def check(tenant: Tenant, run_id: str, stored: Stored) -> int:
    """Compare what is known of the events of a batch with what is read; return how many were encoded at once."""
    found = {event.seq: encode_fresh(event, BOUND) for event in stored.events}
    for seq, message in found.items():
        if message is not None:
            assert message == read(tenant, run_id, seq)
    return sum(message is not None for message in found.values())


def changed(one: Recorded, change: Change) -> Recorded:
    result = change(one.result)
    return replace(one, result=result, answer_ids=tuple(new_id() for _ in range(1 + len(result.calls))))


def store(tenant: Tenant, change: Change) -> int:
    """Store two results of a run, one of them changed; return how many events were encoded at once."""
    run_id, lease, shard = begin(tenant, 4)
    batch = [result_of(shard, 3), changed(result_of(shard, 1), change)]
    return check(tenant, run_id, storing.store(tenant.database, lease, batch))


def answer(**changes: Any) -> Change:
    def change(result: ItemResult) -> ItemResult:
        assert result.generation is not None
        return replace(result, generation=replace(result.generation, **changes))

    return change


def verdict(**more: Any) -> Change:
    return lambda result: replace(result, verdicts=(Verdict("u", "contains", Outcome.FAIL, "missing", **more),))


def calls(result: ItemResult) -> ItemResult:
    judge = Generation("simulated", "judge", "b" * 64, "fine \ud800", 5.5, cost_usd=Decimal("0.00010"))
    embedding = Generation("simulated", "embed", "c" * 64, None, 1.25, tokens=Tokens(7, cache_write=3))
    return replace(result, calls=(Call("judge", judge), Call("embedding", embedding, cached=True)))


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


OPENAI_CALL = [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"b":1e400}'}}]
AT_ONCE: dict[str, Change] = {
    "as it is": lambda result: result,
    "an error": lambda result: replace(
        result, outcome=Outcome.ERROR, reason="provider_429", message="too\x00much", generation=None
    ),
    "judges and embeddings": calls,
    "verdicts with parts": verdict(score=0.25, weight=2.5, parts=(Verdict("v", "regex", Outcome.PASS, score=1e-7),)),
    "odd text": answer(output="a\x00b\ud800c\ufdd0nan\ufdd00000", raw="\udfff\x00", finish_reason="\x00"),
    "a score that is none": lambda result: replace(result, score=math.nan),
    "a latency that is none": answer(ttft_ms=math.nan),
    "a negative zero in a column": answer(latency_ms=-0.0),
    "tokens that are not known": answer(tokens=Tokens()),
    "tokens that nobody spoke of": lambda result: replace(
        result, generation=Generation("simulated", "echo", "a" * 64, "x", 1.0)
    ),
    "tokens that are not stored": answer(tokens=Tokens(2**40, 0, 3, 4, cache_write=5)),
    "calls of tools": answer(output=None, tool_calls=OPENAI_CALL),
    "keys in another order": answer(tool_calls={"zz": 1, "b": {"é": None, "a": True}, "aa": [0.5, -3, {}]}),
    "logprobs": answer(logprobs=(-0.5, -1e-300, -9999.0, 0.0)),
    "no logprobs": answer(logprobs=()),
    "a small cost": answer(cost_usd=Decimal("1E-9")),
    "a cost with zeros": answer(cost_usd=Decimal("0.0010")),
    "no cost": answer(cost_usd=None),
    "from a store": lambda result: replace(result, cached=True),
}
LEFT: dict[str, Change] = {
    "a large float in a tool's call": answer(tool_calls=[1e22]),
    "a large number in a tool's call": answer(tool_calls=[2**63]),
    "a negative zero in a tool's call": answer(tool_calls=[-0.0]),
    "infinity in a tool's call": answer(tool_calls=[{"x": math.inf}]),
    "an odd key": answer(tool_calls={"\x00": 1}),
    "keys that are numbers": answer(tool_calls={1: 1}),
    "a negative zero among logprobs": answer(logprobs=(-0.0,)),
    "a verdict's score that is none": verdict(score=math.nan),
    "a weight without a point": verdict(weight=2),
    "a score without a point": lambda result: replace(result, score=1),
    "a latency without a point": answer(latency_ms=20),
    "a cost in thousands": answer(cost_usd=Decimal("1E+3")),
    "a card of another name": lambda result: replace(result, card="other", label="other@1"),
}


@pytest.mark.parametrize("change", AT_ONCE.values(), ids=AT_ONCE)
def test_what_comes_back_as_it_was_is_encoded_at_once(tenant: Tenant, change: Change) -> None:
    assert store(tenant, change) == 1


@pytest.mark.parametrize("change", LEFT.values(), ids=LEFT)
def test_what_comes_back_in_another_form_is_left_to_readers(tenant: Tenant, change: Change) -> None:
    assert store(tenant, change) == 0


@pytest.mark.parametrize("refused", [answer(tokens=Tokens(2**63)), answer(tool_calls=nested(5000))])
def test_what_the_database_refuses_is_told_as_the_error_that_stands_in_its_place(
    tenant: Tenant, refused: Change
) -> None:
    assert store(tenant, refused) == 2  # and the other result with an event of its own


numbers = st.floats() | st.integers(-(2**70), 2**70)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
costs = (
    st.none()
    | st.decimals(0, 10**6, allow_nan=False, places=9)
    | st.integers(-12, 6).map(lambda n: Decimal((0, (7,), n)))
)
answers = st.builds(
    Generation,
    provider=st.text(max_size=5),
    model=st.text(max_size=5),
    request_hash=st.just("d" * 64),
    output=st.none() | st.text(),
    latency_ms=st.floats(0, 1e9) | st.integers(0, 10**9),
    ttft_ms=st.none() | numbers,
    tokens=st.builds(Tokens, *[st.none() | st.integers(0, 2**62)] * 5),
    cost_usd=costs,
    tool_calls=json_values,
    logprobs=st.none() | st.lists(numbers, max_size=3).map(tuple),
    raw=st.none() | st.text(st.characters()),
    attempts=st.integers(1, 1000),
    fingerprint=st.none() | st.text(),
)
verdicts = st.builds(
    Verdict, uid=st.text(), type=st.text(), outcome=st.sampled_from(Outcome), reason=st.none() | st.text(),
    message=st.text(), score=st.none() | numbers, weight=st.just(1.0) | numbers, metric=st.none() | st.text(),
)  # fmt: skip


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    generation=st.none() | answers,
    said=st.lists(verdicts, max_size=2).map(tuple),
    made=st.lists(st.builds(Call, st.text(), answers, st.booleans()), max_size=2).map(tuple),
    outcome=st.sampled_from(Outcome),
    score=st.none() | numbers,
    message=st.text(),
)
def test_no_result_is_told_in_two_ways(
    tenant: Tenant,
    generation: Generation | None,
    said: tuple[Verdict, ...],
    made: tuple[Call, ...],
    outcome: Outcome,
    score: float | None,
    message: str,
) -> None:
    store(
        tenant,
        lambda result: replace(
            result, generation=generation, verdicts=said, calls=made, outcome=outcome, score=score, message=message
        ),
    )


def test_an_event_is_known_only_if_it_brings_all_of_its_batch(tenant: Tenant) -> None:
    run_id, slow, shard = begin(tenant, 4)
    task_service.open_attempts(tenant.database, slow, [0, 1, 2])
    expire(tenant, task_of(tenant, run_id))
    quick = lease_of(tenant, task_of(tenant, run_id), "quick")
    first = storing.store(tenant.database, quick, [result_of(shard, 0)])
    assert check(tenant, run_id, first) == 1
    late = storing.store(tenant.database, slow, [result_of(shard, 0, "late")])
    assert (late.seq, late.events) == (0, ())
    partly = storing.store(tenant.database, slow, [result_of(shard, 0, "late"), result_of(shard, 1)])
    assert partly.seq == first.seq + 1
    assert partly.events == ()
    # An answer that is not final is stored, and is no result.
    cut_short = replace(result_of(shard, 2), final=False)
    assert check(tenant, run_id, storing.store(tenant.database, slow, [result_of(shard, 3), cut_short])) == 1


def test_a_run_that_has_ended_is_read(tenant: Tenant) -> None:
    run_id, lease, shard = begin(tenant, 2)
    assert task_service.finish(tenant.database, lease, "failed")
    late = storing.store(tenant.database, lease, [result_of(shard, 0)])
    assert late.seq == tenant.run(run_id).event_seq
    assert late.events == ()


def test_workers_of_one_run_know_their_events_each(tenant: Tenant) -> None:
    run_id, lease, shard = begin(tenant, 60)
    others = [replace(lease, worker=f"w{n}") for n in range(6)]

    def work(turn: tuple[int, Lease]) -> Stored:
        first = turn[0] * 10
        return storing.store(
            tenant.database, turn[1], [result_of(shard, n) for n in reversed(range(first, first + 10))]
        )

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(work, enumerate(others)))
    assert [check(tenant, run_id, stored) for stored in found] == [1] * 6


def test_prices_are_named_as_they_are_read(tenant: Tenant) -> None:
    _, _, shard = begin(tenant, 2)
    one = result_of(shard, 1)
    price = uuid4()
    for name, at_once in ((str(price), True), (str(price).upper(), False), (override_price_id(price), True)):
        event = _event(answer(price_id=name)(one.result))
        assert (encode_fresh(event, BOUND) is not None) == at_once


def test_a_large_event_is_left_to_readers(tenant: Tenant) -> None:
    _, _, shard = begin(tenant, 2)
    event = _event(result_of(shard, 1, "x" * 500).result)
    message = encode_fresh(event, BOUND)
    assert message is not None
    assert encode_fresh(event, len(message)) == message
    assert encode_fresh(event, len(message) - 1) is None
    assert encode_fresh(event, 499) is None


def _event(*results: ItemResult) -> FreshEvent:
    return FreshEvent(3, "running", {"items": len(results)}, "greet", results)
