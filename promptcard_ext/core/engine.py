"""The engine: makes the calls of a plan, judges the answers, says what happens. It stores nothing.

One asyncio task per slot of concurrency takes items from a shared source; nothing is created per item. The caller
iterates over events; whatever must be durable happens in the ports it passes in.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from msgspec.structs import replace

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.judging import judge
from promptcard_ext.core.assertions.sets import explain
from promptcard_ext.core.composition import combine
from promptcard_ext.core.errors import ProviderError, RunError
from promptcard_ext.core.events import ItemFinished, RunEvent, RunFinished, RunStarted
from promptcard_ext.core.identity import digest
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Prepared
from promptcard_ext.core.ports import Attempts, Provider, Reply, Request
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.core.results import Counts, Generation, ItemResult, Outcome, Verdict


@dataclass(frozen=True)
class EngineOptions:
    """How to call.

    Attributes:
        concurrency: Most calls in flight.
        timeout_s: Longest time for one call.
        max_calls: Most calls for one item, the first included.
        max_unclear: Most repetitions after a call whose fate is not known (timeout, broken reply): it may have been
            paid for.
        backoff_s: First wait after a failure; doubled each time, up to ``max_wait_s``, with full jitter.
        max_wait_s: A provider that asks for a longer wait is given up for that item.
        claim: How many items are announced to the `Attempts` port at once.
    """

    concurrency: int = 16
    timeout_s: float = 120.0
    max_calls: int = 5
    max_unclear: int = 1
    backoff_s: float = 0.5
    max_wait_s: float = 60.0
    claim: int = 64

    def __post_init__(self) -> None:
        for name in ("concurrency", "timeout_s", "max_calls", "claim"):
            if not getattr(self, name) > 0:
                problem = f"A run's {name} is {getattr(self, name)!r}; it must be more than 0."
                raise RunError(problem, code="run_options")


class Control:
    """Stops a run from any thread."""

    def __init__(self) -> None:
        self._cancelled = False
        self._wake: Callable[[], object] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to stop."""
        return self._cancelled

    def cancel(self) -> None:
        """Give up what has no result yet; calls in flight are aborted at once."""
        self._cancelled = True
        wake = self._wake
        if wake is not None:
            with suppress(RuntimeError):  # the loop is closed: the run is over anyway
                wake()

    def bind(self, loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
        """Connect to the loop that runs the engine."""
        self._wake = lambda: loop.call_soon_threadsafe(event.set)
        if self._cancelled:
            event.set()


async def execute(
    prepared: Prepared,
    provider_of: Callable[[str], Provider],
    *,
    prices: PriceBook,
    options: EngineOptions | None = None,
    control: Control | None = None,
    attempts: Attempts | None = None,
    items: Iterable[Item] | None = None,
) -> AsyncIterator[RunEvent]:
    """Run the items of a plan and yield what happens.

    Args:
        prepared: The plan, rendered and compiled.
        provider_of: Gives the provider of a model reference.
        attempts: Told before items are called.
        items: The items to run, when not all of the plan.

    Yields:
        One `RunStarted`, one `ItemFinished` per item in order of completion, one `RunFinished`.

    Raises:
        RunError: From the ``attempts`` port. Failures of single calls are results, not exceptions.
    """
    options, control = options or EngineOptions(), control or Control()
    some = None if items is None else list(items)
    total = prepared.plan.total if some is None else len(some)
    source = prepared.plan.items() if some is None else iter(some)
    crew = _Crew(prepared, provider_of, prices, options, attempts, source)
    counts = Counts(total=total)
    yield RunStarted(total)
    control.bind(asyncio.get_running_loop(), crew.stop)
    crew.start(min(options.concurrency, total))
    try:
        while batch := await crew.next_batch():
            for result in batch:
                counts.add(result)
                yield ItemFinished(result)
    finally:
        await crew.disband()
    yield RunFinished(counts, cancelled=counts.done < counts.total)


class _Crew:
    """The tasks of one run and what they share; all of it lives on one event loop, so nothing is locked."""

    def __init__(
        self,
        prepared: Prepared,
        provider_of: Callable[[str], Provider],
        prices: PriceBook,
        options: EngineOptions,
        attempts: Attempts | None,
        source: Iterator[Item],
    ) -> None:
        self.caller = _Caller(prepared, provider_of, prices, options)
        self.options, self.attempts, self.source = options, attempts, source
        self.stop = asyncio.Event()
        self._claimed: deque[Item] = deque()
        self._claiming = asyncio.Lock()
        self._finished: list[ItemResult] = []
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, slots: int) -> None:
        """Start ``slots`` tasks."""
        self._tasks = [asyncio.create_task(self._work()) for _ in range(slots)]
        self._stopper = asyncio.create_task(self.stop.wait())
        for task in self._tasks:
            task.add_done_callback(self._on_end)
        self._stopper.add_done_callback(self._on_stop)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        # One that broke (the right to the items was lost) means that the others must not call any more either.
        if not task.cancelled() and task.exception() is not None:
            self._halt()
        self._news.set()

    def _on_stop(self, _: asyncio.Task[bool]) -> None:
        # At once, not when the caller comes back for the next result: it may be busy storing the last ones.
        self._halt()
        self._news.set()

    def _halt(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def next_batch(self) -> list[ItemResult]:
        """Wait for results; an empty list means that there will be no more."""
        while not self._finished:
            self._raise_failure()
            if self.stop.is_set() or all(task.done() for task in self._tasks):
                break
            await self._news.wait()
            self._news.clear()
        batch, self._finished = self._finished, []
        return batch

    def _raise_failure(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error

    async def disband(self) -> None:
        """Cancel whatever still runs and wait until it is gone."""
        tasks = [*self._tasks, self._stopper]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        while (item := await self._take()) is not None:
            # In two steps: `_finished` is another list by the time the call returns.
            result = await self.caller.run(item)
            self._finished.append(result)
            self._news.set()
            # A provider that answers without waiting must not keep everybody else from the loop, who may want to stop.
            await asyncio.sleep(0)

    async def _take(self) -> Item | None:
        if not self._claimed:
            async with self._claiming:
                if not self._claimed:
                    chunk = list(islice(self.source, self.options.claim))
                    if chunk and self.attempts is not None:
                        await self.attempts.open(chunk)
                    self._claimed.extend(chunk)
        return self._claimed.popleft() if self._claimed else None


class _Caller:
    """Turns one item into one result: calls, retries, price, verdicts."""

    def __init__(
        self,
        prepared: Prepared,
        provider_of: Callable[[str], Provider],
        prices: PriceBook,
        options: EngineOptions,
    ) -> None:
        self.prepared, self.prices, self.options = prepared, prices, options
        self.providers = [provider_of(model) for model in prepared.plan.models]
        self.names = [model.partition(":")[2] or model for model in prepared.plan.models]
        self.labels = [card.label for card in prepared.plan.cards]
        # When a provider says "later", everybody who calls it waits, not only the call that was refused.
        self.not_before: dict[str, float] = {}
        # Waiting times need no secret; a fixed seed keeps a simulated run the same each time.
        self.chance = random.Random(0)  # noqa: S311

    async def run(self, item: Item) -> ItemResult:
        try:
            generation = await self._generate(item)
        except ProviderError as error:
            return self._result(item, Outcome.ERROR, reason=error.code, message=str(error))
        except Exception as error:  # noqa: BLE001  A provider may come from anybody; its bug is the end of one item.
            message = f"The provider of {self.prepared.plan.models[item.model]} broke: {type(error).__name__}: {error}"
            return self._result(item, Outcome.ERROR, reason="provider_crashed", message=f"{message:.500}")
        messages = self.prepared.messages(item)
        case = self.prepared.case(item.case)
        verdicts = judge(case.checks, Answer(generation.output, generation, case.case.variables, messages))
        outcome, _ = combine(verdicts, case.case.threshold)
        reason, message = explain(outcome, verdicts)
        return self._result(item, outcome, reason, message, verdicts, generation)

    def _result(
        self,
        item: Item,
        outcome: Outcome,
        reason: str | None = None,
        message: str = "",
        verdicts: tuple[Verdict, ...] = (),
        generation: Generation | None = None,
    ) -> ItemResult:
        plan = self.prepared.plan
        card, case = plan.cards[item.card], plan.cases[item.case]
        return ItemResult(
            ordinal=item.ordinal,
            card=card.name,
            version=card.version,
            label=self.labels[item.card],
            model=plan.models[item.model],
            case=case.name,
            case_uid=self.prepared.case(item.case).uid,
            repeat=item.repeat,
            outcome=outcome,
            reason=reason,
            message=message,
            verdicts=verdicts,
            generation=generation,
        )

    async def _generate(self, item: Item) -> Generation:
        provider = self.providers[item.model]
        request = self._request(item)
        unclear = 0
        for call in range(1, self.options.max_calls + 1):
            await self._wait_for(provider)
            try:
                reply = await self._call(provider, request)
            except ProviderError as error:
                unclear += error.sent and error.code in _UNCLEAR
                if call == self.options.max_calls or unclear > self.options.max_unclear or not error.retryable:
                    raise _exhausted(error, call) from None
                await self._back_off(provider, error, call)
            else:
                return self._generation(provider, request, reply, call)
        raise AssertionError("the loop above returns or raises")

    async def _call(self, provider: Provider, request: Request) -> Reply:
        try:
            async with asyncio.timeout(self.options.timeout_s):
                return await provider.generate(request)
        except TimeoutError:
            raise ProviderError(
                f"{provider.name}:{request.model} did not answer within {self.options.timeout_s:g} s.",
                code="timeout",
                retryable=True,
                hint="Give the run a longer timeout, or a smaller concurrency.",
            ) from None

    async def _wait_for(self, provider: Provider) -> None:
        while (wait := self.not_before.get(provider.endpoint, 0.0) - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    async def _back_off(self, provider: Provider, error: ProviderError, call: int) -> None:
        options = self.options
        # "Retry after 0 seconds" names no time: it waits like any other failure, or five calls would go out at once.
        if error.retry_after_s:
            if error.retry_after_s > options.max_wait_s:
                raise _exhausted(error, call)
            until = time.monotonic() + error.retry_after_s
            self.not_before[provider.endpoint] = max(until, self.not_before.get(provider.endpoint, 0.0))
        else:
            longest = min(options.max_wait_s, options.backoff_s * 2 ** (call - 1))
            await asyncio.sleep(longest * self.chance.random())

    def _request(self, item: Item) -> Request:
        plan = self.prepared.plan
        settings = plan.cards[item.card].settings
        if settings.seed is not None and item.repeat:
            settings = replace(settings, seed=settings.seed + item.repeat)
        messages = self.prepared.messages(item)
        return Request(self.names[item.model], messages, settings, self.prepared.nonce(item))

    def _generation(self, provider: Provider, request: Request, reply: Reply, calls: int) -> Generation:
        price = self.prices.find(provider.price_key, request.model, datetime.now(UTC).date())
        tokens, cost = reply.tokens, None
        if price is not None and tokens.input is not None and tokens.output is not None:
            cost = price.cost(tokens.input, tokens.output, tokens.cached or 0)
        return Generation(
            provider=provider.name,
            model=request.model,
            request_hash=request_hash(provider, request),
            output=reply.output,
            latency_ms=reply.latency_ms,
            tokens=tokens,
            finish_reason=reply.finish_reason,
            ttft_ms=reply.ttft_ms,
            model_reported=reply.model_reported,
            fingerprint=reply.fingerprint,
            cost_usd=cost,
            price_id=price.id if price is not None and cost is not None else None,
            attempts=calls,
            tool_calls=reply.tool_calls,
        )


# After these the request may have been carried out, and paid for.
_UNCLEAR = frozenset({"timeout", "broken_reply"})


def _exhausted(error: ProviderError, calls: int) -> ProviderError:
    if calls > 1:
        error.message = f"{error.message} (after {calls} calls)"
        error.args = (error.message,)
    return error


def request_hash(provider: Provider, request: Request) -> str:
    """Return the identity of a call: endpoint, model, messages and settings."""
    settings = request.settings
    sent = {name: value for name in settings.__struct_fields__ if (value := getattr(settings, name)) not in (None, ())}
    return digest(
        [
            provider.name,
            provider.endpoint,
            request.model,
            [[m.role, m.content] for m in request.messages],
            sent,
        ]
    )
