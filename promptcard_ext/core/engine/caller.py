"""Makes calls: store, budget, limits, deadline, retries, price. Answers, judges and embeddings all go through here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any, NamedTuple, TypeVar

from promptcard_ext.core.engine.breaker import Breaker, Role
from promptcard_ext.core.engine.gates import Gates
from promptcard_ext.core.engine.identity import request_hash, stored_under
from promptcard_ext.core.engine.limiter import Limiter
from promptcard_ext.core.engine.options import EngineOptions, Mode
from promptcard_ext.core.engine.purse import Purse
from promptcard_ext.core.engine.weights import Weight
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Embeddings, GenerationStore, Provider, Reply, Request
from promptcard_ext.core.pricing import Price, PriceBook
from promptcard_ext.core.results import Generation

# After these the request may have been carried out, and paid for.
UNCLEAR = frozenset({"timeout", "broken_reply"})
_EXHAUSTED = frozenset({"provider_429", "provider_5xx"})
T = TypeVar("T", Reply, Embeddings)


class Answered(NamedTuple):
    """An answer, and whether it came from the store."""

    generation: Generation
    cached: bool


class Caller:
    """What all calls of a run share. It lives on one event loop, so nothing is locked.

    Attributes:
        calling: Tasks that have a call in flight.
    """

    def __init__(
        self,
        provider_of: Callable[[str], Provider],
        prices: PriceBook,
        options: EngineOptions,
        store: GenerationStore | None,
        purse: Purse | None,
        gates: Gates | None = None,
    ) -> None:
        self.gates = gates or Gates(options)
        self.calling: set[asyncio.Task[Any] | None] = set()
        self.options, self.prices, self.purse = options, prices, purse
        self._provider_of = provider_of
        self._providers: dict[str, tuple[Provider, str]] = {}
        self._store = store
        self._reads = store is not None and options.mode.reads
        self._writes = store is not None and options.mode.writes
        self._max_age_s = options.max_age_s if options.mode is Mode.CACHE else None
        self._loop = asyncio.get_running_loop()
        self._open = asyncio.Event()
        self._open.set()
        # Waiting times need no secret; a fixed seed keeps a simulated run the same each time.
        self._chance = random.Random(0)  # noqa: S311

    def provider(self, reference: str) -> tuple[Provider, str]:
        """Return the provider of a model reference and the name of the model."""
        found = self._providers.get(reference)
        if found is None:
            name = reference.partition(":")[2] or reference
            found = self._providers[reference] = (self._provider_of(reference), name)
        return found

    def price(self, provider: Provider, model: str) -> Price | None:
        """Return today's price of a model, or None when it is not known."""
        return self.prices.find(provider.price_key, model, datetime.now(UTC).date(), endpoint=provider.endpoint)

    # -- controls ------------------------------------------------------------------------------------------------------

    def hold(self, paused: bool) -> None:
        """Start no further calls, or go on."""
        if paused:
            self._open.clear()
        else:
            self._open.set()

    # -- calls ---------------------------------------------------------------------------------------------------------

    async def generate(self, provider: Provider, request: Request, repeat: int = 0, role: Role = "task") -> Answered:
        """Return an answer, from the store or from the provider.

        Args:
            role: What the provider is asked as.

        Raises:
            ProviderError: All calls failed, the budget is spent, or a replay has no record of it.
        """
        asked = request_hash(provider, request)
        if (stored := self.stored(asked, repeat)) is not None:
            return Answered(stored, True)
        price = self.price(provider, request.model)
        reserve = None if self.purse is None else self.purse.for_request(price, request)
        reply, calls = await self.call(provider, request, lambda: provider.generate(request), reserve, price, role)
        generation = generation_of(provider, request.model, asked, reply, calls, price)
        self.keep(asked, repeat, generation)
        return Answered(generation, False)

    def stored(self, asked: str, repeat: int) -> Generation | None:
        """Return the stored answer, when there is one and the mode takes it.

        Raises:
            ProviderError: This is a replay, and there is none (``not_recorded``).
        """
        if self._reads and self._store is not None:
            found = self._store.get(stored_under(asked, repeat), self._max_age_s)
            if found is not None:
                return found
        if self.options.mode is Mode.REPLAY:
            raise ProviderError(
                "There is no record of this call, and a replay makes none.",
                code="not_recorded",
                sent=False,
                hint="Run once with mode record_new.",
            )
        return None

    def keep(self, asked: str, repeat: int, generation: Generation) -> None:
        """Store an answer, when the mode does."""
        if self._writes and self._store is not None:
            self._store.put(stored_under(asked, repeat), generation)

    async def call(
        self,
        provider: Provider,
        request: Request,
        make: Callable[[], Awaitable[T]],
        reserve_usd: Decimal | None,
        price: Price | None,
        role: Role = "task",
    ) -> tuple[T, int]:
        """Make a call, and again while that may help; return the reply and the number of calls."""
        limiter, breaker, weights = self.gates.limiter(provider), self.gates.breaker(provider, role), self.gates.weights
        options, failures, unclear = self.options, 0, 0
        for attempt in count(1):
            weight = weights.of(request) if limiter.pace is not None and limiter.pace.counts_tokens else None
            await self._admission(limiter, breaker, reserve_usd, weight)
            started = self._loop.time()
            try:
                async with asyncio.timeout(options.timeout_s):
                    reply = await self._noted(make)
            except TimeoutError as late:
                error = _too_slow(provider, request.model, options.timeout_s)
                # What had arrived by then is worth keeping: it may have been paid for.
                error.raw = getattr(late.__cause__, "raw", None)
            except ProviderError as refusal:
                error = refusal
            except BaseException:
                # Aborted or broken on its way: nobody knows whether it was paid for, so what was reserved is spent.
                await self._done(limiter, reserve_usd, reserve_usd)
                raise
            else:
                unused = 0.0 if weight is None else weights.unused(request, weight.tokens, reply.tokens)
                await self._done(limiter, reserve_usd, _cost(price, reply) if reserve_usd is not None else None, unused)
                limiter.answered(getattr(reply, "quota", None))
                breaker.succeeded()
                return reply, attempt
            fate_unknown = error.sent and error.code in UNCLEAR
            unclear += fate_unknown
            # What was refused counts as a call, and takes no tokens.
            back = 0.0 if fate_unknown or weight is None else weight.tokens
            await self._done(limiter, reserve_usd, reserve_usd if fate_unknown else Decimal(0), back)
            limiter.refused(error, started)
            breaker.failed(error, started, make)
            # What fails because the provider is down does not count against the item, as long as that is waited for.
            failures += not breaker.has_patience
            if error.quota is not None:
                limiter.warned(error.quota)
            if failures >= options.max_calls or unclear > options.max_unclear or not error.retryable:
                raise exhausted(error, attempt) from None
            if not breaker.is_open:
                await self._back_off(limiter, error, attempt)
        raise AssertionError("the loop above returns or raises")

    async def _noted(self, make: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.current_task()
        self.calling.add(task)
        try:
            return await make()
        finally:
            self.calling.discard(task)

    async def _admission(
        self, limiter: Limiter, breaker: Breaker, reserve_usd: Decimal | None, weight: Weight | None
    ) -> None:
        while True:
            if not self._open.is_set():
                await self._open.wait()
            tries = breaker.is_open and await breaker.admit(self.options.timeout_s)
            if not limiter.enter(weight):
                await limiter.wait(weight)
            if self._open.is_set() and (tries or not breaker.is_open):
                break
            limiter.withdraw(weight)  # paused, or the provider went down, while it waited for its turn
        if reserve_usd is not None and self.purse is not None:
            try:
                await self.purse.reserve(reserve_usd)
            except BaseException:
                limiter.withdraw(weight)
                raise

    async def _done(
        self, limiter: Limiter, reserved: Decimal | None, spent: Decimal | None, unused_tokens: float = 0.0
    ) -> None:
        limiter.leave(unused_tokens)
        if reserved is not None and self.purse is not None:
            await self.purse.settle(reserved, reserved if spent is None else spent)

    async def _back_off(self, limiter: Limiter, error: ProviderError, attempt: int) -> None:
        options = self.options
        # "Retry after 0 seconds" names no time: it waits like any other failure, or five calls would go out at once.
        if error.retry_after_s:
            if error.retry_after_s > options.max_wait_s:
                raise exhausted(error, attempt)
            limiter.hold(error.retry_after_s)
        else:
            longest = min(options.max_wait_s, options.backoff_s * 2 ** (attempt - 1))
            await asyncio.sleep(longest * self._chance.random())


def exhausted(error: ProviderError, calls: int) -> ProviderError:
    """Return the error as the end of all attempts."""
    if error.code in _EXHAUSTED:
        error.code = f"{error.code}_exhausted"
    if calls > 1:
        error.message = f"{error.message} (after {calls} calls)"
        error.args = (error.message,)
    return error


def _too_slow(provider: Provider, model: str, timeout_s: float) -> ProviderError:
    return ProviderError(
        f"{provider.name}:{model} did not answer within {timeout_s:g} s.",
        code="timeout",
        retryable=True,
        hint="Give the run a longer timeout, or a smaller concurrency.",
    )


def _cost(price: Price | None, reply: Reply | Embeddings) -> Decimal | None:
    return None if price is None else price.cost_of(reply.tokens)


def generation_of(
    provider: Provider, model: str, asked: str, reply: Reply, calls: int, price: Price | None
) -> Generation:
    """Return an answer with what it cost, by the hash of what was asked and the number of calls that it took."""
    cost = _cost(price, reply)
    return Generation(
        provider=provider.name,
        model=model,
        request_hash=asked,
        output=reply.output,
        latency_ms=reply.latency_ms,
        tokens=reply.tokens,
        finish_reason=reply.finish_reason,
        ttft_ms=reply.ttft_ms,
        model_reported=reply.model_reported,
        fingerprint=reply.fingerprint,
        cost_usd=cost,
        price_id=price.id if price is not None and cost is not None else None,
        attempts=calls,
        tool_calls=reply.tool_calls,
        logprobs=reply.logprobs,
        raw=reply.raw,
    )
