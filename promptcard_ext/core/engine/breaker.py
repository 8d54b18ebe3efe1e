"""Stops calling a provider that is down, and finds out when it is back.

Calls wait meanwhile and do not fail: an outage of minutes should not cost a run its items, nor a provider that comes
back the flood of all that was tried in vain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, NamedTuple

from promptcard_ext.core.errors import ProviderError

Role = Literal["task", "judge"]
# What says that nobody there answers; a refusal (429) or a wrong request does not.
DOWN = frozenset({"provider_5xx", "provider_unreachable", "timeout"})
FAILURES = 5
# Of so many calls: one prompt that a provider breaks on, again and again, is no outage.
CALLS = 3
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class Outage(NamedTuple):
    """That a provider went down, or came back.

    Attributes:
        key: What shares a limit: endpoint and credential.
        provider: Its name.
        role: Whether as the one that is tested or as a judge; each is watched for itself.
        down: False when it came back.
        code: The failure that it went down with.
        lasted_s: How long it was down; 0 when it went down just now.
    """

    key: str
    provider: str
    role: Role
    down: bool
    code: str
    lasted_s: float = 0.0


class Breaker:
    """The switch of one provider key in one role, on one event loop.

    Closed, everything passes. Five failures in a row, of three calls at least, open it when they say that the provider
    is down: then one call at a
    time is let through to try, after 1 s, 2 s and so on up to 30 s; the first that succeeds closes it.

    Args:
        outage_s: How long calls wait for the provider; then they fail until it is back. 0 never opens it.
        changed: Told when it opens and when it closes.
    """

    def __init__(
        self, key: str, provider: str, role: Role, outage_s: float, changed: Callable[[Outage], None] | None = None
    ) -> None:
        self.key, self.provider, self.role = key, provider, role
        self._outage_s, self._changed = outage_s, changed
        self._loop = asyncio.get_running_loop()
        self._failures = 0
        self._failing: set[object] = set()
        self._opened: float | None = None
        self._code = ""
        self._pause_s = FIRST_PAUSE_S
        self._next_probe = self._last_probe = float("-inf")
        self._closed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether the provider is taken to be down."""
        return self._opened is not None

    @property
    def has_patience(self) -> bool:
        """Whether calls wait for it still."""
        return self._opened is not None and self._loop.time() < self._opened + self._outage_s

    async def admit(self, longest_call_s: float) -> bool:
        """Wait until the provider is back, or until it is this call's turn to try, and tell whether it is.

        Args:
            longest_call_s: When a try has no end by then, the next one is let through.

        Raises:
            ProviderError: It has been down for too long (``provider_down``).
        """
        while self._opened is not None:
            now = self._loop.time()
            if now >= self._next_probe:
                self._last_probe, self._next_probe = now, now + longest_call_s + self._pause_s
                return True
            left = self._opened + self._outage_s - now
            if left <= 0:
                raise self._given_up(now - self._opened)
            try:
                async with asyncio.timeout(min(left, self._next_probe - now)):
                    await self._closed.wait()
            except TimeoutError:
                continue
        return False

    def succeeded(self) -> None:
        """Close it: the provider answers. A refusal is an answer, too."""
        self._failures = 0
        self._failing.clear()
        if self._opened is None:
            return
        lasted_s = self._loop.time() - self._opened
        self._opened, self._pause_s = None, FIRST_PAUSE_S
        self._closed.set()
        self._tell(down=False, lasted_s=lasted_s)

    def failed(self, error: ProviderError, started: float, call: object) -> None:
        """Take note of a failure.

        Args:
            call: The same for all tries of one call.
            started: When the call began, in seconds of the event loop. Of those that were on their way when the switch
                opened, nothing new is learnt.
        """
        if error.code not in DOWN:
            if error.sent:
                self.succeeded()
            return
        now = self._loop.time()
        if self._opened is not None:
            if started >= self._last_probe:
                self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)
                self._next_probe = now + self._pause_s
            return
        self._failures += 1
        self._failing.add(call)
        if self._failures >= FAILURES and len(self._failing) >= CALLS and self._outage_s:
            self._opened, self._code, self._failures = now, error.code, 0
            self._failing.clear()
            self._next_probe, self._last_probe = now + self._pause_s, float("inf")
            self._closed.clear()
            self._tell(down=True)

    def _tell(self, *, down: bool, lasted_s: float = 0.0) -> None:
        if self._changed is not None:
            self._changed(Outage(self.key, self.provider, self.role, down, self._code, lasted_s))

    def _given_up(self, seconds: float) -> ProviderError:
        return ProviderError(
            f"{self.provider} has not answered for {seconds:.0f} s ({self._code}).",
            code="provider_down",
            sent=False,
            hint="Look at the provider's status page; ask the failed items again when it is back.",
        )
