"""What looks after the calls of many runs at once, as the engine sees it."""

from __future__ import annotations

from typing import Protocol

from promptcard_ext.core.engine.breaker import Outage
from promptcard_ext.core.engine.limiter import Limiter


class Traffic(Protocol):
    """Hears which provider keys a run calls, and may hold it back; called on the event loop."""

    def begun(self, key: str, provider: str, limiter: Limiter) -> None:
        """Hear of a provider key before its first call; `Limiter.entrust` says how many it may have in flight,
        and `Limiter.regulate` how many may begin in a minute."""

    def told(self, outage: Outage) -> None:
        """Hear that a provider went down, or came back."""
