"""The engine: one result per item, whatever happens to the calls."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.base import Compiled
from promptcard_ext.core.card import Card, ModelSettings
from promptcard_ext.core.case import Case
from promptcard_ext.core.engine import Control, EngineOptions, execute
from promptcard_ext.core.errors import ProviderError, RunError
from promptcard_ext.core.events import ItemFinished, RunFinished, RunStarted
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.ports import Quota, Reply, Request
from promptcard_ext.core.pricing import Price, PriceBook
from promptcard_ext.core.results import Outcome, Tokens
from promptcard_ext.providers.openai_compatible import OpenAICompatible
from tests.core.fakes import Fake, cases, consistent, only, plan, run
from tests.run_async import run_async
from tests.stub_server import Behaviour, Stub


def failing(*errors: ProviderError) -> Callable[[Request, int], Awaitable[Reply]]:
    """Fail with each of ``errors`` in turn, then answer."""

    async def behave(request: Request, call: int) -> Reply:
        if call <= len(errors):
            raise errors[call - 1]
        return Reply("ok", 1.0)

    return behave


def refused(code: str = "provider_429", **more: Any) -> ProviderError:
    return ProviderError("no", code=code, **{"retryable": True} | more)


def wait_until(condition: Callable[[], bool], deadline_s: float = 5) -> None:
    limit = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.005)


class TestEveryItemHasOneResult:
    @given(
        number=st.integers(1, 30),
        repeats=st.integers(1, 3),
        concurrency=st.integers(1, 40),
        claim=st.integers(1, 50),
        pauses=st.lists(st.integers(0, 3), min_size=1, max_size=7),
        bad=st.sets(st.integers(0, 30)),
    )
    @settings(max_examples=40, deadline=None)
    def test_under_any_concurrency(
        self, number: int, repeats: int, concurrency: int, claim: int, pauses: list[int], bad: set[int]
    ) -> None:
        async def behave(request: Request, call: int) -> Reply:
            for _ in range(pauses[call % len(pauses)]):
                await asyncio.sleep(0)
            if int(request.messages[-1].content) in bad:
                raise refused(retryable=False)
            return Reply("1", 1.0)

        provider = Fake(behave)
        results, last = run(plan(number, Assertion("contains", "1"), repeats=repeats), provider,
                            concurrency=concurrency, claim=claim)  # fmt: skip
        assert sorted(result.ordinal for result in results) == list(range(number * repeats))
        assert provider.peak <= concurrency
        assert (last.counts.total, last.counts.done) == (number * repeats, number * repeats)
        assert last.counts.errored == len(bad & set(range(number))) * repeats
        assert consistent(last.counts)
        assert not last.cancelled

    def test_also_when_fast_and_slow_calls_mix(self) -> None:
        """A result that was appended to a list already handed out was lost."""

        async def behave(request: Request, call: int) -> Reply:
            if call % 7 == 0:
                await asyncio.sleep(0.002)
            return Reply("x", 1.0)

        results, last = run(plan(600), Fake(behave), concurrency=16)
        assert sorted(result.ordinal for result in results) == list(range(600))
        assert last.counts.done == 600

    def test_also_for_a_caller_who_takes_his_time(self) -> None:
        async def main() -> list[int]:
            seen = []
            async for event in execute(plan(50).prepare(), lambda _: Fake(), prices=PriceBook([])):
                if isinstance(event, ItemFinished):
                    await asyncio.sleep(0)
                    seen.append(event.result.ordinal)
            return seen

        assert sorted(run_async(main())) == list(range(50))

    def test_of_the_items_it_is_given(self) -> None:
        what = plan(10)
        results, last = run(what, items=[what.item(7), what.item(2)])
        assert sorted(result.ordinal for result in results) == [2, 7]
        assert last.counts.total == 2
        assert not last.cancelled

    def test_no_item_is_a_run_too(self) -> None:
        results, last = run(plan(3), items=[])
        assert results == []
        assert not last.cancelled


def test_a_run_begins_and_ends_with_its_events() -> None:
    async def main() -> list[Any]:
        return [event async for event in execute(plan(2).prepare(), lambda _: Fake(), prices=PriceBook([]))]

    events = run_async(main())
    assert [type(event) for event in events] == [RunStarted, ItemFinished, ItemFinished, RunFinished]
    assert events[0].total == 2


def test_a_result_names_what_it_is_the_result_of() -> None:
    card = Card("greet", "Hi {{ n }}", version=3)
    result = only(run(plan(1, Assertion("contains", "Hi"), card=card)))
    assert (result.card, result.version, result.label) == ("greet", 3, "greet@3")
    assert (result.model, result.case_uid, result.repeat) == ("fake:m", Case({"n": 0}).uid, 0)
    assert (result.outcome, result.reason, result.message) == (Outcome.PASS, None, "")
    assert result.generation is not None
    assert (result.generation.output, result.generation.model, result.generation.attempts) == ("Hi 0", "m", 1)


class TestRepeatedCalls:
    def test_a_retryable_failure_is_repeated(self) -> None:
        result = only(run(plan(), Fake(failing(refused(), refused("provider_5xx")))))
        assert result.generation is not None
        assert (result.generation.output, result.generation.attempts) == ("ok", 3)

    def test_up_to_the_limit(self) -> None:
        provider = Fake(failing(*[refused() for _ in range(9)]))
        result = only(run(plan(), provider, max_calls=4))
        assert len(provider.requests) == 4
        assert (result.outcome, result.reason) == (Outcome.ERROR, "provider_429_exhausted")
        assert "(after 4 calls)" in result.message
        assert result.generation is None
        assert result.verdicts == ()

    def test_another_failure_ends_it_at_once(self) -> None:
        provider = Fake(failing(refused("provider_auth", retryable=False)))
        result = only(run(plan(1, Assertion("not-contains", "x")), provider))
        assert len(provider.requests) == 1
        assert (result.outcome, result.reason) == (Outcome.ERROR, "provider_auth")

    def test_it_waits_as_long_as_it_was_asked_to(self) -> None:
        started = time.monotonic()
        result = only(run(plan(), Fake(failing(refused(retry_after_s=0.15)))))
        assert result.outcome is Outcome.UNSCORED
        assert time.monotonic() - started >= 0.15

    def test_everybody_waits_not_only_the_one_who_was_refused(self) -> None:
        times: list[float] = []

        async def behave(request: Request, call: int) -> Reply:
            times.append(time.monotonic())
            if call == 1:
                raise refused(retry_after_s=0.15)
            await asyncio.sleep(0.01)
            return Reply("ok", 1.0)

        run(plan(30), Fake(behave), concurrency=2)
        in_the_pause = [at for at in times if times[0] + 0.02 < at < times[0] + 0.15]
        assert len(times) == 31
        assert in_the_pause == []

    def test_retry_after_nothing_still_waits_a_little(self) -> None:
        started = time.monotonic()
        run(plan(), Fake(failing(*[refused(retry_after_s=0.0) for _ in range(4)])), backoff_s=0.2)
        assert time.monotonic() - started > 0.1

    def test_a_wait_that_is_too_long_ends_the_item(self) -> None:
        provider = Fake(failing(refused(retry_after_s=3600)))
        started = time.monotonic()
        result = only(run(plan(), provider))
        assert (result.reason, len(provider.requests)) == ("provider_429_exhausted", 1)
        assert time.monotonic() - started < 5

    @pytest.mark.parametrize("code", ["broken_reply", "timeout"])
    def test_a_call_that_may_have_been_paid_is_repeated_once(self, code: str) -> None:
        provider = Fake(failing(*[refused(code) for _ in range(9)]))
        assert only(run(plan(), provider)).reason == code
        assert len(provider.requests) == 2

    def test_what_was_certainly_not_sent_does_not_count_as_paid(self) -> None:
        provider = Fake(failing(*[refused("broken_reply", sent=False) for _ in range(3)]))
        assert only(run(plan(), provider)).generation is not None

    def test_a_call_that_takes_too_long_is_given_up_and_repeated_once(self) -> None:
        async def behave(request: Request, call: int) -> Reply:
            await asyncio.Event().wait()
            raise AssertionError("never")

        provider = Fake(behave)
        result = only(run(plan(), provider, timeout_s=0.05))
        assert (result.outcome, result.reason) == (Outcome.ERROR, "timeout")
        assert "0.05 s" in result.message
        assert len(provider.requests) == 2
        assert provider.in_flight == 0

    def test_a_provider_with_a_bug_ends_the_item_and_not_the_run(self) -> None:
        async def behave(request: Request, call: int) -> Reply:
            if request.messages[-1].content == "1":
                raise KeyError("its bug")
            return Reply("ok", 1.0)

        results, last = run(plan(3), Fake(behave))
        assert sorted((r.ordinal, r.reason) for r in results if r.outcome is Outcome.ERROR) == [(1, "provider_crashed")]
        assert last.counts.done == 3


class TestOverRealSockets:
    def run(self, stub: Stub, number: int = 1, **options: Any) -> tuple[list[Any], RunFinished]:
        async def main() -> list[Any]:
            provider = OpenAICompatible(f"{stub.url}/v1")
            try:
                return [
                    event
                    async for event in execute(
                        plan(number, Assertion("contains", "Hello")).prepare(),
                        lambda _: provider,
                        prices=PriceBook([]),
                        options=EngineOptions(**{"backoff_s": 0.001} | options),
                    )
                ]
            finally:
                await provider.close()

        events = run_async(main())
        return [event.result for event in events if isinstance(event, ItemFinished)], events[-1]

    def test_the_server_counts_what_the_engine_says(self, stub: Stub) -> None:
        stub.rule = lambda call: Behaviour(latency_s=0.02)
        results, last = self.run(stub, 60, concurrency=20)
        assert len(stub.calls) == len(results) == last.counts.passed == 60
        assert 10 <= stub.peak <= 20

    def test_a_mix_of_failures_still_gives_every_item_its_result(self, stub: Stub) -> None:
        odd = [
            Behaviour(status=429, headers={"Retry-After": "0.01"}),
            Behaviour(status=500),
            Behaviour(status=502, body=b"<html>"),
            Behaviour(),
            Behaviour(status=429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        ]
        stub.rule = lambda call: odd[len(stub.calls) % 5]
        results, _ = self.run(stub, 40, concurrency=8, max_calls=30, max_wait_s=0.05)
        assert sorted(result.ordinal for result in results) == list(range(40))
        assert {result.outcome for result in results} == {Outcome.PASS}
        assert sum(result.generation.attempts for result in results) == len(stub.calls)

    @pytest.mark.parametrize(
        ("behaviour", "reason", "calls"),
        [
            (Behaviour(status=429, headers={"Retry-After": "86400"}), "provider_429_exhausted", 1),
            (Behaviour(cut_at=30), "broken_reply", 2),
            (Behaviour(body=b"{oops"), "broken_reply", 2),
            (Behaviour(silent=True), "timeout", 2),
            (Behaviour(status=500), "provider_5xx_exhausted", 5),
            (Behaviour(status=401), "provider_auth", 1),
            (Behaviour(body=b'{"error": "bad"}'), "provider_refused", 1),
        ],
        ids=["long-wait", "cut", "not-json", "silence", "500", "401", "200-error"],
    )
    def test_a_failure_costs_so_many_calls(self, stub: Stub, behaviour: Behaviour, reason: str, calls: int) -> None:
        stub.rule = lambda call: behaviour
        (result,), _ = self.run(stub, timeout_s=0.2)
        assert (result.outcome, result.reason) == (Outcome.ERROR, reason)
        assert len(stub.calls) == calls

    def test_cancelling_from_another_thread_closes_the_connections(self, stub: Stub) -> None:
        stub.rule = lambda call: Behaviour(silent=True)
        control = Control()
        finished: list[RunFinished] = []

        async def main() -> None:
            provider = OpenAICompatible(f"{stub.url}/v1")
            events = execute(
                plan(50).prepare(),
                lambda _: provider,
                prices=PriceBook([]),
                options=EngineOptions(concurrency=5),
                control=control,
            )
            finished.extend([event async for event in events if isinstance(event, RunFinished)])
            await provider.close()

        thread = threading.Thread(target=asyncio.run, args=(main(),))
        thread.start()
        wait_until(lambda: stub.in_flight == 5)
        asked = time.monotonic()
        control.cancel()
        thread.join(5)
        assert time.monotonic() - asked < 1
        assert finished[0].cancelled
        wait_until(lambda: stub.aborted == 5)
        assert len(stub.calls) == 5


class TestCancelling:
    def test_before_the_start_nothing_is_called(self) -> None:
        control, provider = Control(), Fake()
        control.cancel()
        results, last = run(plan(20), provider, control=control)
        assert (results, provider.requests, last.cancelled) == ([], [], True)

    def test_results_that_are_there_are_kept(self) -> None:
        control = Control()

        async def behave(request: Request, call: int) -> Reply:
            if call > 10:
                control.cancel()
                await asyncio.Event().wait()
            return Reply("x", 1.0)

        results, last = run(plan(100), Fake(behave), control=control, concurrency=1)
        assert sorted(result.ordinal for result in results) == list(range(10))
        assert last.cancelled
        assert last.counts.done == 10

    def test_no_further_call_is_made_while_the_caller_is_busy(self) -> None:
        """A caller who stores each result must not be overtaken by a fast provider for ever."""

        async def main() -> tuple[int, int]:
            control, provider = Control(), Fake()
            at_cancel = None
            async for event in execute(
                plan(2000).prepare(), lambda _: provider, prices=PriceBook([]), control=control,
                options=EngineOptions(concurrency=2),
            ):  # fmt: skip
                if isinstance(event, ItemFinished):
                    await asyncio.sleep(0)
                    if at_cancel is None:
                        control.cancel()
                        at_cancel = len(provider.requests)
            assert at_cancel is not None
            return at_cancel, len(provider.requests)

        at_cancel, at_end = run_async(main())
        assert at_cancel < 500, "a provider that answers at once must not keep the loop to itself"
        assert at_end - at_cancel < 50

    def test_cancelling_a_finished_run_is_fine(self) -> None:
        control = Control()
        _, last = run(plan(2), control=control)
        control.cancel()
        assert control.cancelled
        assert not last.cancelled

    def test_a_caller_who_goes_away_leaves_no_task(self) -> None:
        async def main() -> set[str]:
            async def behave(request: Request, call: int) -> Reply:
                if call > 3:
                    await asyncio.Event().wait()
                return Reply("x", 1.0)

            provider = Fake(behave)
            events = execute(plan(50).prepare(), lambda _: provider, prices=PriceBook([]))
            async for event in events:
                if isinstance(event, ItemFinished):
                    break
            await events.aclose()  # type: ignore[attr-defined]
            assert provider.in_flight == 0
            return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}

        assert run_async(main()) == set()


class Ledger:
    """An attempts port that writes down what it is told."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.opened: list[int] = []
        self.fail_at = fail_at

    async def open(self, items: Sequence[Item]) -> None:
        await asyncio.sleep(0)
        if self.fail_at is not None and any(item.ordinal >= self.fail_at for item in items):
            raise RunError("another worker has these items", code="lost")
        self.opened.extend(item.ordinal for item in items)


class TestAttemptsPort:
    @pytest.mark.parametrize("claim", [1, 7, 64])
    def test_it_is_told_of_each_item_once_and_before_its_call(self, claim: int) -> None:
        ledger = Ledger()

        async def behave(request: Request, call: int) -> Reply:
            assert int(request.messages[-1].content) in ledger.opened
            return Reply("x", 1.0)

        results, last = run(plan(40), Fake(behave), attempts=ledger, claim=claim, concurrency=8)
        assert last.counts.errored == 0
        assert ledger.opened == list(range(40))
        assert len(results) == 40

    def test_its_exception_ends_the_run(self) -> None:
        provider = Fake()
        with pytest.raises(RunError, match="another worker"):
            run(plan(100), provider, attempts=Ledger(fail_at=20), claim=10, concurrency=4)
        assert len(provider.requests) <= 20

    def test_calls_in_flight_are_given_up_with_it(self) -> None:
        async def behave(request: Request, call: int) -> Reply:
            if request.messages[-1].content == "0":
                return Reply("x", 1.0)
            await asyncio.Event().wait()
            raise AssertionError("never")

        provider = Fake(behave)
        with pytest.raises(RunError):
            run(plan(100), provider, attempts=Ledger(fail_at=4), claim=4, concurrency=4, deadline_s=5)
        assert provider.in_flight == 0


class TestWhatIsAsked:
    def test_each_repeat_has_its_own_seed(self) -> None:
        provider = Fake()
        card = Card("c", "{{ n }}", settings=ModelSettings(seed=40))
        run(plan(2, repeats=3, card=card), provider)
        assert sorted(request.settings.seed or 0 for request in provider.requests) == [40, 40, 41, 41, 42, 42]

    def test_without_a_seed_none_is_sent(self) -> None:
        provider = Fake()
        run(plan(2, repeats=2), provider)
        assert {request.settings.seed for request in provider.requests} == {None}

    def test_a_nonce_belongs_to_case_and_repeat_in_every_run(self) -> None:
        one, two = Fake(), Fake()
        run(plan(3, repeats=2), one)
        run(plan(3, repeats=2), two, concurrency=1)
        assert len({request.nonce for request in one.requests}) == 6
        assert {request.nonce for request in one.requests} == {request.nonce for request in two.requests}

    def test_each_model_is_asked_by_its_name(self) -> None:
        provider = Fake()
        run(Plan([Card("c", "{{ n }}")], ["fake:a", "fake:b:1"], cases(2)), provider)
        assert sorted(request.model for request in provider.requests) == ["a", "a", "b:1", "b:1"]

    def test_the_identity_of_a_call_depends_on_what_is_sent(self) -> None:
        def hash_of(**settings: Any) -> str:
            result = only(run(plan(card=Card("c", "{{ n }}", settings=ModelSettings(**settings)))))
            assert result.generation is not None
            return result.generation.request_hash

        assert hash_of() == hash_of()
        assert len({hash_of(), hash_of(seed=1), hash_of(temperature=0.0), hash_of(max_tokens=1)}) == 4


class TestJudging:
    def test_latency_is_that_of_the_provider(self) -> None:
        async def behave(request: Request, call: int) -> Reply:
            if call == 1:
                raise refused(retry_after_s=0.1)
            return Reply("x", 5.0)

        result = only(run(plan(1, Assertion("latency", threshold=50)), Fake(behave)))
        assert result.outcome is Outcome.PASS
        assert result.generation is not None
        assert result.generation.latency_ms == 5.0

    def test_a_check_that_crashes_is_an_error_and_not_a_fail(self) -> None:
        def crash(_: Any) -> Any:
            raise ZeroDivisionError("our bug")

        prepared = plan(1, Assertion("not-contains", "0")).prepare()
        checks = prepared.case(0).checklist
        checks.own = tuple(Compiled(one.assertion, one.uid, crash) for one in checks.checks)

        async def main() -> list[Any]:
            return [event async for event in execute(prepared, lambda _: Fake(), prices=PriceBook([]))]

        result = run_async(main())[1].result
        assert (result.outcome, result.reason) == (Outcome.ERROR, "assertion_crashed")
        assert result.generation is not None

    def test_the_reason_is_that_of_the_assertion_that_decided(self) -> None:
        checks = [Assertion("contains", "0"), Assertion("cost", threshold=1), Assertion("contains", "zzz")]
        result = only(run(plan(1, *checks)))
        assert (result.outcome, result.reason) == (Outcome.FAIL, "not_contained")
        assert [verdict.outcome for verdict in result.verdicts] == [Outcome.PASS, Outcome.UNSCORED, Outcome.FAIL]

    def test_a_case_without_assertions_is_unscored(self) -> None:
        result = only(run(plan()))
        assert (result.outcome, result.reason) == (Outcome.UNSCORED, "no_assertions")


class TestCost:
    async def _reply(self, request: Request, call: int) -> Reply:
        tokens = [Tokens(1000, 500), Tokens(None, 500), Tokens(1000, 500, cached=400)]
        return Reply("x", 1.0, tokens[int(request.messages[-1].content)])

    def book(self) -> PriceBook:
        price = Price(
            "fakeprice", "m", Decimal("0.15"), Decimal("0.60"), date(2020, 1, 1), "test",
            cached_input_per_mtok=Decimal("0.075"),
        )  # fmt: skip
        return PriceBook([price])

    def test_it_is_exact_and_only_where_everything_is_known(self) -> None:
        provider = Fake(self._reply)
        provider.price_key = "fakeprice"
        results, last = run(plan(3), provider, prices=self.book())
        costs = {r.ordinal: r.generation.cost_usd for r in results if r.generation}
        assert costs == {0: Decimal("0.00045"), 1: None, 2: Decimal("0.00042")}
        assert (last.counts.priced, last.counts.cost_usd) == (2, Decimal("0.00087"))
        assert {r.ordinal: r.generation.price_id is None for r in results if r.generation} == {0: 0, 1: 1, 2: 0}

    def test_without_a_price_nothing_is_free(self) -> None:
        _, last = run(plan(1), Fake(), prices=self.book())
        assert last.counts.priced == 0


@pytest.mark.parametrize("option", ["concurrency", "timeout_s", "max_calls", "claim"])
def test_an_option_of_nothing_is_refused(option: str) -> None:
    with pytest.raises(RunError, match=option):
        EngineOptions(**{option: 0})


class TestWhatWasPaidForIsKept:
    def test_a_reply_that_cannot_be_read_is_kept_with_the_error(self) -> None:
        provider = Fake(failing(refused("broken_reply", retryable=False, raw="{half an ans")))
        result = only(run(plan(), provider))
        assert (result.outcome, result.reason) == (Outcome.ERROR, "broken_reply")
        assert result.generation is not None
        assert (result.generation.output, result.generation.raw) == (None, "{half an ans")
        assert len(result.generation.request_hash) == 64

    def test_what_had_arrived_at_the_deadline_is_kept(self) -> None:
        async def trickle(request: Request, call: int) -> Reply:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                error.raw = "half a str"  # type: ignore[attr-defined]  as the providers do
                raise
            raise AssertionError

        result = only(run(plan(), Fake(trickle), timeout_s=0.02, max_calls=1))
        assert result.reason == "timeout"
        assert result.generation is not None
        assert result.generation.raw == "half a str"

    def test_a_refusal_that_tells_the_quota_slows_down(self) -> None:
        control = Control()
        provider = Fake(failing(refused(quota=Quota(0.0, reset_s=0.01))))
        run(plan(3), provider, concurrency=8, control=control)
        assert control.limits() == {"fake": 4}


def test_a_setting_that_a_provider_cannot_send_ends_the_run_before_the_first_call() -> None:
    class Picky(Fake):
        def check_settings(self, settings: ModelSettings) -> None:
            if settings.top_p is not None:
                raise ProviderError("no top_p here", code="setting_not_supported", sent=False)

    provider = Picky()
    with pytest.raises(ProviderError, match="top_p"):
        run(plan(card=Card("c", "{{ n }}", settings=ModelSettings(top_p=0.5))), provider)
    assert provider.requests == []
