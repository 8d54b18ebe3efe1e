"""Controls a run from any thread: cancel, pause, resume, another concurrency."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from promptcard_ext.core.errors import RunError


class Controlled(Protocol):
    """What a `Control` steers; its methods are called on the event loop."""

    def stop(self, reason: str) -> None:
        """Give up what has no result yet."""

    def finish(self, grace_s: float, reason: str) -> None:
        """Take up no further item; after ``grace_s`` seconds, give up what has no result by then."""

    def hold(self, paused: bool) -> None:
        """Start no further calls, or go on."""

    def retune(self, concurrency: int) -> None:
        """Allow another number of calls in flight."""

    def limits(self) -> dict[str, int]:
        """Return the calls admitted at once, per provider key."""


class Control:
    """Steers a run; may be used before it has begun, and does nothing once it has ended."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._paused = False
        self._concurrency: int | None = None
        self._target: Controlled | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to stop."""
        return self._reason is not None

    @property
    def paused(self) -> bool:
        """Whether the run starts no further calls for now."""
        return self._paused

    def cancel(self, reason: str = "cancelled") -> None:
        """Give up what has no result yet; calls in flight are aborted at once."""
        self._reason = reason
        self._send(lambda target: target.stop(reason))

    def finish(self, grace_s: float, reason: str = "finished early") -> None:
        """End early: what is in flight is answered and judged, for ``grace_s`` seconds at most; nothing else begins.

        Before the run has begun it is the same as `cancel`.
        """
        self._reason = reason
        self._send(lambda target: target.finish(grace_s, reason))

    def pause(self) -> None:
        """Start no further calls; those in flight finish and their results are kept."""
        self._paused = True
        self._send(lambda target: target.hold(True))

    def resume(self) -> None:
        """Go on after `pause`."""
        self._paused = False
        self._send(lambda target: target.hold(False))

    def retune(self, concurrency: int) -> None:
        """Allow another number of calls in flight, from now on.

        Raises:
            RunError: It is not 1 or more (``run_options``).
        """
        if concurrency < 1:
            raise RunError(f"A run's concurrency is {concurrency!r}; it must be more than 0.", code="run_options")
        self._concurrency = concurrency
        self._send(lambda target: target.retune(concurrency))

    def limits(self) -> dict[str, int]:
        """Return how many calls each provider key is trusted with at the moment."""
        return {} if self._target is None else self._target.limits()

    def bind(self, loop: asyncio.AbstractEventLoop, target: Controlled) -> None:
        """Connect to a run that begins; what was asked before holds from its start."""
        self._loop, self._target = loop, target
        if self._concurrency is not None:
            target.retune(self._concurrency)
        if self._paused:
            target.hold(True)
        if self._reason is not None:
            target.stop(self._reason)

    def _send(self, order: Callable[[Controlled], None]) -> None:
        loop, target = self._loop, self._target
        if loop is not None and target is not None:
            with suppress(RuntimeError):  # the loop is closed: the run is over anyway
                loop.call_soon_threadsafe(order, target)
