"""The tasks of one run and what they share."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice

from promptcard_ext.core.engine.contests import Contests
from promptcard_ext.core.engine.trial import Trials
from promptcard_ext.core.errors import Unavailable
from promptcard_ext.core.item import Item
from promptcard_ext.core.ports import Attempts
from promptcard_ext.core.results import ItemResult

# A provider that answers without waiting must not keep everybody else from the loop, who may want to stop.
_PAUSE_EVERY = 8


class Crew:
    """Works through a source of items. All of it lives on one event loop, so nothing is locked."""

    def __init__(self, trials: Trials, attempts: Attempts | None, source: Iterator[Item]) -> None:
        self.trials, self.attempts, self.source = trials, attempts, source
        self.reason: str | None = None
        self._contests = Contests(trials) if trials.prepared.has_contests else None
        self._seats = trials.caller.gates.seats
        self._stopped = asyncio.Event()
        self._claimed: deque[Item] = deque()
        self._claiming = asyncio.Lock()
        self._ahead: asyncio.Task[None] | None = None
        self._exhausted = False
        self._unannounced: Unavailable | None = None
        self._finished: list[ItemResult] = []
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._finishing: asyncio.TimerHandle | None = None
        self._since_pause = 0

    # -- controls ------------------------------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """Give up what has no result yet.

        At once, not when the caller comes back for the next result: it may be busy storing the last ones.
        """
        if self.reason is None:
            self.reason = reason
        self._stopped.set()
        self._halt()
        self._news.set()

    def finish(self, grace_s: float, reason: str) -> None:
        """Take up no further item; after ``grace_s`` seconds, give up what has no result by then.

        What waits for its turn to call was not paid for, and is given up at once.
        """
        if self._finishing is not None or self._stopped.is_set():
            return
        self.reason = reason
        self._finishing = asyncio.get_running_loop().call_later(grace_s, self.stop, reason)
        self._dismiss_waiting()

    def _dismiss_waiting(self) -> None:
        for task in self._tasks:
            if task not in self.trials.under_way:
                task.cancel()

    def hold(self, paused: bool) -> None:
        """Start no further calls, or go on."""
        self.trials.caller.hold(paused)

    def retune(self, concurrency: int) -> None:
        """Allow another number of calls in flight."""
        self.trials.caller.gates.retune(concurrency)
        self.staff(concurrency)

    def limits(self) -> dict[str, int]:
        """Return the calls admitted at once, per provider key."""
        return self.trials.caller.gates.limits()

    # -- work ----------------------------------------------------------------------------------------------------------

    def staff(self, concurrency: int, at_most: int | None = None) -> None:
        """Start the tasks that a concurrency takes, as far as they are not at work already."""
        # Judges take turns with answers: twice the tasks keep both busy, the limiters decide how many call.
        tasks = concurrency * (2 if self.trials.prepared.has_grades else 1)
        self._seats.offer(tasks)
        if at_most is not None:
            tasks = min(tasks, at_most)
        for _ in range(tasks - sum(not task.done() for task in self._tasks)):
            task = asyncio.create_task(self._work())
            task.add_done_callback(self._on_end)
            self._tasks.append(task)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        # One that broke (the right to the items was lost) means that the others must not call any more either.
        if not task.cancelled() and task.exception() is not None:
            self._halt()
        self._news.set()

    def _halt(self) -> None:
        for task in self._everybody():
            task.cancel()

    def _everybody(self) -> list[asyncio.Task[None]]:
        return self._tasks if self._ahead is None else [*self._tasks, self._ahead]

    async def next_batch(self) -> list[ItemResult]:
        """Wait for results; an empty list means that there will be no more."""
        while not self._finished:
            self._raise_failure()
            if self._stopped.is_set():
                break
            if all(task.done() for task in self._tasks):
                if self._unannounced is not None:
                    raise self._unannounced
                break
            await self._news.wait()
            self._news.clear()
        batch, self._finished = self._finished, []
        return batch

    def _raise_failure(self) -> None:
        for task in self._everybody():
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error

    async def disband(self) -> list[ItemResult]:
        """Cancel whatever still runs, wait until it is gone, and return what is left to tell."""
        if self._finishing is not None:
            self._finishing.cancel()
        self._halt()
        await asyncio.gather(*self._everybody(), return_exceptions=True)
        left, self._finished = self._finished, []
        return left + (self._contests.leftovers() if self._contests is not None else [])

    async def _work(self) -> None:
        async with self._seats:
            await self._work_through()

    async def _work_through(self) -> None:
        while (item := await self._take()) is not None:
            # In two steps: `_finished` is another list by the time the result is there.
            try:
                results = await self._try(item)
            finally:
                self.trials.answered.discard(asyncio.current_task())
            self._finished += results
            self._news.set()
            self._since_pause += 1
            if self._since_pause >= _PAUSE_EVERY:
                self._since_pause = 0
                await asyncio.sleep(0)

    async def _try(self, item: Item) -> list[ItemResult]:
        tried = await self.trials.run(item)
        compared = self._contests is not None and self._contests.concerns(item)
        results = await self._contests.enter(item, tried) if compared and self._contests else [tried.result]
        if tried.interrupted:
            self._finished += results
            raise asyncio.CancelledError
        return results

    async def _take(self) -> Item | None:
        if not self._claimed and not self._ends:
            async with self._claiming:
                if not self._claimed and not self._ends:
                    await self._claim()
        if self._ends:
            return None
        item = self._claimed.popleft() if self._claimed else None
        self._look_ahead()
        return item

    def _look_ahead(self) -> None:
        """Have more announced when no more than a portion is: nobody should have to wait for items."""
        if self.attempts is None or self._exhausted or len(self._claimed) > self._portion:
            return
        if self._ahead is None or self._ahead.done():
            self._ahead = asyncio.create_task(self._claim_ahead())
            self._ahead.add_done_callback(self._on_end)

    @property
    def _ends(self) -> bool:
        return self._finishing is not None or self._unannounced is not None

    @property
    def _portion(self) -> int:
        return self.trials.caller.options.claim

    async def _claim_ahead(self) -> None:
        async with self._claiming:
            if len(self._claimed) <= self._portion and not self._ends:
                await self._claim()

    async def _claim(self) -> None:
        chunk = list(islice(self.source, self._portion))
        self._exhausted = len(chunk) < self._portion
        if self._contests is not None and chunk:
            # A comparison needs to know how many are coming: a group is claimed whole.
            chunk += self._rest_of_group(chunk[-1])
            for item in chunk:
                self._contests.expect(item)
        if chunk and self.attempts is not None:
            try:
                await self.attempts.open(chunk)
            except Unavailable as error:
                # Nothing may be called that is not announced. What was called is paid for: its answers are waited for.
                self._unannounced = error
                return self._dismiss_waiting()
        self._claimed.extend(chunk)
        return None

    def _rest_of_group(self, last: Item) -> list[Item]:
        rest: list[Item] = []
        per_group = self.trials.prepared.plan.per_group
        for following in self.source:
            if following.ordinal // per_group != last.ordinal // per_group:
                self.source = chain([following], self.source)
                break
            rest.append(following)
        return rest
