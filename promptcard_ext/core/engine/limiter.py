"""How many calls one provider key takes at once: starts low, grows while it answers, is cut when it refuses.

Additive increase, multiplicative decrease, as in TCP (V. Jacobson, "Congestion avoidance and control", 1988), with a
slow start: until the first refusal every answer admits one call more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import NamedTuple

from promptcard_ext.core.engine.pace import Pace
from promptcard_ext.core.engine.weights import Weight
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Quota

SCARCE = 0.1
_CUT_REFUSED = 0.5
_CUT_TROUBLE = 0.75
_TROUBLE = frozenset({"provider_5xx", "provider_try_again", "provider_unreachable", "timeout", "broken_reply"})


class Change(NamedTuple):
    """A new limit and why; ``at`` is the time of the event loop, in seconds."""

    at: float
    limit: int
    why: str


class News(NamedTuple):
    """What a limiter has heard from its provider.

    Attributes:
        cut: By which factor the last refusal cut it; 1 without one.
        began: When the call began that was refused, by the time of the event loop.
        hold_s: For how many seconds the provider wants no calls.
    """

    answers: int
    refusals: int
    cut: float
    began: float
    hold_s: float


class _Turn(NamedTuple):
    """One who waits, and what the call is expected to take."""

    turn: asyncio.Future[None]
    weight: Weight | None


class Limiter:
    """The gate of one provider key on one event loop.

    Args:
        start: Calls admitted at first.
        ceiling: Calls admitted at most.
        max_wait_s: Longest time that a used-up quota holds everybody back.

    Attributes:
        pace: Says how many calls may begin in a minute; None sets no limit. Who waits for it has no slot.
    """

    def __init__(self, start: int, ceiling: int, max_wait_s: float = 60.0) -> None:
        self.ceiling = ceiling
        self.limit = float(min(start, ceiling))
        self.in_flight = 0
        self.max_wait_s = max_wait_s
        self.history: deque[Change] = deque(maxlen=500)
        self.refusal_heard: Callable[[], None] | None = None
        self.pace: Pace | None = None
        self._share: int | None = None
        self._answers = self._refusals = 0
        self._cut_by, self._cut_began = 1.0, 0.0
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Turn] = deque()
        self._slow_start = True
        self._last_cut = float("-inf")
        self._not_before = float("-inf")
        self._alarm: asyncio.TimerHandle | None = None
        self._pace_alarm: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many calls wait for a slot."""
        return len(self._waiting)

    @property
    def room(self) -> int:
        """How many calls it admits at once."""
        limit = int(self.limit)
        return limit if self._share is None else min(limit, self._share)

    def regulate(self, pace: Pace | None) -> None:
        """Let calls begin at another pace from now on."""
        self.pace = pace
        self.admit()

    def entrust(self, share: int | None) -> None:
        """Admit no more than ``share`` calls at once, whatever the limit: the others are somebody else's."""
        self._share = share
        self.admit()

    def news(self) -> News:
        """Return what was heard since the last time."""
        found = News(
            self._answers, self._refusals, self._cut_by, self._cut_began,
            max(0.0, self._not_before - self._loop.time()),
        )  # fmt: skip
        self._answers = self._refusals = 0
        self._cut_by = 1.0
        return found

    def enter(self, weight: Weight | None = None) -> bool:
        """Take a slot when one is free right now and the call may begin.

        Args:
            weight: What the call is expected to take; needed where the pace counts tokens.
        """
        if self._waiting or self.in_flight >= self.room or self._loop.time() < self._not_before:
            return False
        if self.pace is not None and _begin(self.pace, weight):
            return False
        self.in_flight += 1
        return True

    async def wait(self, weight: Weight | None = None) -> None:
        """Wait until the call may begin and take a slot, first come, first served; see `enter`."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(_Turn(turn, weight))
        self.admit()
        try:
            await turn
        except asyncio.CancelledError:
            # Cancelled at the very moment it was admitted: the slot is somebody else's.
            if turn.done() and not turn.cancelled():
                self.withdraw(weight)
            else:
                self.admit()  # whoever comes next may need less
            raise

    def leave(self, unused_tokens: float = 0.0) -> None:
        """Give the slot back, with what the call did not take; negative when it took more than was expected."""
        self.in_flight -= 1
        if unused_tokens and self.pace is not None:
            self.pace.put_back(0, unused_tokens)
        self.admit()

    def withdraw(self, weight: Weight | None = None) -> None:
        """Give the slot back without having called."""
        self.in_flight -= 1
        if self.pace is not None:
            self.pace.put_back(1, 0.0 if weight is None else weight.tokens)
        self.admit()

    def hold(self, seconds: float) -> None:
        """Admit nobody for a while: the provider said "later", which goes for everybody who calls it."""
        self._not_before = max(self._not_before, self._loop.time() + seconds)
        self._wake_later()

    def answered(self, quota: Quota | None = None) -> None:
        """Grow after an answer, unless the provider says that little is left."""
        self._answers += 1
        if quota is not None and quota.remaining < SCARCE:
            self.warned(quota)
        elif self.limit < self.ceiling:
            before = int(self.limit)
            self.limit = min(float(self.ceiling), self.limit + (1.0 if self._slow_start else 1.0 / self.limit))
            if int(self.limit) > before:
                self._note("answers")
                self.admit()

    def refused(self, error: ProviderError, started: float) -> None:
        """Cut after a refusal or trouble.

        Args:
            started: When the call began. Calls that were in flight at the last cut say nothing new.
        """
        cut = _CUT_REFUSED if error.code == "provider_429" else _CUT_TROUBLE if error.code in _TROUBLE else None
        if cut is None:
            return
        self._refusals += 1
        if started < self._last_cut:
            return
        self._cut(cut, "429" if error.code == "provider_429" else error.code)
        self._cut_by, self._cut_began = cut, started
        if self.refusal_heard is not None:
            self.refusal_heard()

    def retune(self, ceiling: int) -> None:
        """Give it another ceiling; calls in flight beyond it finish."""
        self.ceiling = ceiling
        if self.limit > ceiling:
            self.limit = float(ceiling)
        else:
            self._slow_start = True
        self._note("retuned")
        self.admit()

    def warned(self, quota: Quota) -> None:
        """Slow down because little is left, and wait when nothing is."""
        if quota.remaining >= SCARCE:
            return
        if quota.remaining <= 0 and quota.reset_s:
            self.hold(min(quota.reset_s, self.max_wait_s))
        if self._loop.time() - self._last_cut > 1.0:
            self._cut(1 - 2 * SCARCE, "little quota left")

    def _cut(self, share: float, why: str) -> None:
        self.limit = max(1.0, self.limit * share)
        self._slow_start = False
        self._last_cut = self._loop.time()
        self._note(why)

    def _note(self, why: str) -> None:
        self.history.append(Change(self._loop.time(), int(self.limit), why))

    def admit(self) -> None:
        """Admit those who wait, as far as they may begin."""
        if self._loop.time() < self._not_before:
            self._wake_later()
            return
        while self._waiting and self.in_flight < self.room:
            turn, weight = self._waiting[0]
            if not turn.done():
                if self.pace is not None and (wait_s := _begin(self.pace, weight)):
                    self._look_again(wait_s)
                    return
                self.in_flight += 1
                turn.set_result(None)
            self._waiting.popleft()

    def _wake_later(self) -> None:
        if self._alarm is None or self._alarm.when() < self._not_before:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_at(self._not_before, self._woken)

    def _woken(self) -> None:
        self._alarm = None
        self.admit()

    def _look_again(self, wait_s: float) -> None:
        if self._pace_alarm is not None:
            self._pace_alarm.cancel()
        self._pace_alarm = self._loop.call_later(wait_s, self.admit) if wait_s < inf else None


def _begin(pace: Pace, weight: Weight | None) -> float:
    return pace.begin(0.0 if weight is None else weight.reckon())
