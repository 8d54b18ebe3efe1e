"""The limits that all workers share, as the calls of one shard meet them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple
from uuid import UUID

from promptcard_ext.core.engine.breaker import Outage, Role
from promptcard_ext.core.engine.limiter import Limiter
from promptcard_ext.core.errors import Unavailable
from server_ext.jobs.context import Context
from server_ext.jobs.shared_rates import SharedRates
from server_ext.limits.portions import Demand, Grant, Portions
from server_ext.limits.shares import START, Share, Shares, Wish
from server_ext.redis_line import RedisAway, RedisLine

log = logging.getLogger("promptcards.worker")
TICK_S = 0.25
# While wishes or shares grow with each look, looking is worth more than it costs.
QUICK_S = 0.05
# Without Redis each worker goes on with its last share, or with this part of what all start with.
LOCAL_PART = 4


class _Key(NamedTuple):
    """A provider key that this shard calls."""

    name: str
    provider: str
    limiter: Limiter


class SharedLimits:
    """An asynchronous context manager and `Traffic`: holds a shard's limiters to this worker's shares.

    Args:
        workspace_id: Whose shard it is.
        record: Writes down an outage; called from another thread.

    Attributes:
        rates: The limits by the minute.
    """

    def __init__(
        self,
        context: Context,
        workspace_id: UUID,
        asker: str,
        record: Callable[[Outage], None] | None = None,
    ) -> None:
        self._record = record
        self._outages: list[Outage] = []
        self._down: set[tuple[str, Role]] = set()
        self._context, self._workspace_id = context, workspace_id
        # The workspace comes first, so that its own calls can be told from those of others.
        whose, line = f"{workspace_id}:{asker}", RedisLine(context.redis_url)
        self._shares = Shares(line, context.installation, whose)
        self._portions = Portions(line, context.installation, whose)
        self._keys: list[_Key] = []
        self._last: dict[str, Share] = {}
        self._wanted = 0
        self._wake = asyncio.Event()
        overall = (("total", context.rates.total), (f"workspace:{workspace_id}", context.rates.workspace))
        self.rates = SharedRates(overall, self._wake.set)
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def begun(self, key: str, provider: str, limiter: Limiter) -> None:
        """Hold a new limiter to the share that is asked for at once."""
        limiter.entrust(0)
        self.rates.begun(key, provider, limiter)
        limiter.refusal_heard = self._wake.set
        self._keys.append(_Key(key, provider, limiter))
        self._wake.set()

    def told(self, outage: Outage) -> None:
        """Take note of an outage, or of its end; it is written down at once."""
        log.warning("%s (%s) %s.", outage.provider, outage.role, "is down" if outage.down else "is back")
        (self._down.add if outage.down else self._down.discard)((outage.key, outage.role))
        self._outages.append(outage)
        self._wake.set()

    async def __aenter__(self) -> SharedLimits:
        self._task = asyncio.create_task(self._look_after())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        # Not cancelled: a question on its way would take again what is given back below.
        self._closing = True
        self._wake.set()
        await self._task
        wishes = [wish._replace(wanted=0, in_flight=0, down="") for wish in self._wishes({})]
        await asyncio.to_thread(self._ask, wishes, self.rates.ends(), ends=True)
        self._shares.close()

    async def _look_after(self) -> None:
        pause = TICK_S
        while not self._closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()
            await self._write_down()
            if self._keys and not self._closing:
                pause = QUICK_S if await self._look() else TICK_S

    async def _write_down(self) -> None:
        while self._outages and self._record is not None:
            try:
                await asyncio.to_thread(self._record, self._outages[0])
            except Unavailable as error:
                log.warning("%s An outage is not written down.", error)
            self._outages.pop(0)

    async def _look(self) -> bool:
        """Ask for shares and hold the limiters to them; tell whether more was wanted or given than before."""
        demands, soon = self.rates.demands()
        wishes = self._wishes(soon)
        shares, grants = await asyncio.to_thread(self._ask, wishes, demands)
        before, self._last = self._last, {wish.name: share for wish, share in zip(wishes, shares, strict=True)}
        self._distribute()
        self.rates.fill(demands, grants)
        # What waits for its minute only gets no more from looking.
        growing = [wish for wish in wishes if not self.rates.bound(wish.name)]
        wanted, self._wanted = self._wanted, sum(wish.wanted for wish in growing)
        nothing = Share(0, 0, 0.0, 0)
        return self._wanted > wanted or any(
            self._last[wish.name].granted > before.get(wish.name, nothing).granted for wish in growing
        )

    def _wishes(self, soon: Mapping[str, int]) -> list[Wish]:
        """Return what to ask for; what waits for its minute wants no slot until it may begin ``soon``."""
        now = asyncio.get_running_loop().time()
        wishes = []
        for name, provider, limiter in self._keys:
            news = limiter.news()
            wanted = limiter.in_flight + min(limiter.waiting, soon.get(name, limiter.waiting))
            if wanted and name not in self._last:
                # Others are about to follow the first call.
                wanted = max(wanted, int(limiter.limit))
            wishes.append(
                Wish(
                    name, provider, wanted, limiter.in_flight, news.answers, news.refusals, news.cut,
                    now - news.began, news.hold_s, down=self._down_as(name),
                )
            )  # fmt: skip
        wanted, flying = sum(wish.wanted for wish in wishes), sum(wish.in_flight for wish in wishes)
        for name, limit in self._overall():
            wishes.append(Wish(name, "", wanted, flying, limit=limit))
        return wishes

    def _down_as(self, name: str) -> str:
        return ",".join(sorted(role for key, role in self._down if key == name))

    def _overall(self) -> list[tuple[str, int]]:
        """Return the fixed limits for all provider keys together, by name."""
        found = []
        if self._context.calls_total is not None:
            found.append(("total", self._context.calls_total))
        if self._context.calls_per_workspace is not None:
            found.append((f"workspace:{self._workspace_id}", self._context.calls_per_workspace))
        return found

    def _ask(
        self, wishes: Sequence[Wish], demands: list[Demand], *, ends: bool = False
    ) -> tuple[list[Share], Sequence[Grant | None]]:
        shares = [self._ask_one(wish) for wish in wishes]
        try:
            return shares, self._portions.ask(demands, ends=ends) if demands else []
        except RedisAway:
            return shares, [None] * len(demands)

    def _ask_one(self, wish: Wish) -> Share:
        try:
            return self._shares.ask(wish)
        except RedisAway:
            last = self._last.get(wish.name)
            if last is not None:
                return Share(max(1, math.floor(last.limit / max(1, last.askers))), last.limit, 0.0, last.askers)
            limit = wish.limit or START
            return Share(max(1, limit // LOCAL_PART), limit, 0.0, LOCAL_PART)

    def _distribute(self) -> None:
        """Give each limiter its share, all of them together no more than this worker may have."""
        overall = [self._last[name].granted for name, _ in self._overall()]
        if self._context.most_calls is not None:
            overall.append(self._context.most_calls)
        left = min(overall, default=None)
        # Those with the least calls first; what they leave is for the others.
        keys = sorted(self._keys, key=lambda key: key.limiter.in_flight + key.limiter.waiting)
        for place, (name, _, limiter) in enumerate(keys):
            # A key that was begun while Redis was being asked has its turn at the next look.
            share = self._last.get(name)
            if share is None:
                continue
            if share.hold_s:
                limiter.hold(share.hold_s)
            granted = share.granted
            if left is not None:
                granted = min(granted, math.ceil(left / (len(keys) - place)))
                left -= min(left, max(min(granted, limiter.in_flight + limiter.waiting), limiter.in_flight))
            limiter.entrust(granted)
