"""How a run calls its models."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from promptcard_ext.core.errors import RunError
from promptcard_ext.core.per_minute import PerMinute

TWO_WEEKS_S = 14 * 86_400.0


class Mode(StrEnum):
    """Where answers come from.

    ``live`` calls always and keeps nothing. ``cache`` takes what is stored and not too old, and stores what it calls.
    ``replay`` takes what is stored, whatever its age, and never calls. ``record_new`` takes what is stored, whatever
    its age, and calls and stores only what is new.
    """

    LIVE = "live"
    CACHE = "cache"
    REPLAY = "replay"
    RECORD_NEW = "record_new"

    @property
    def reads(self) -> bool:
        """Whether stored answers are taken."""
        return self is not Mode.LIVE

    @property
    def writes(self) -> bool:
        """Whether new answers are stored."""
        return self in (Mode.CACHE, Mode.RECORD_NEW)


@dataclass(frozen=True)
class EngineOptions:
    """How to call.

    Attributes:
        concurrency: Most calls in flight.
        start_concurrency: Calls in flight per provider key at the beginning; grows up to ``concurrency`` while the
            provider answers, and is cut when it refuses.
        requests_per_minute, tokens_per_minute: Most calls that begin in a minute, and most tokens that they take, for
            each provider key (`core.per_minute`); None sets no limit.
        timeout_s: Longest time for one call; waiting for its turn is not part of it.
        deadline_s: Longest time for the run; what has no result by then gets none.
        max_calls: Most calls for one item, the first included.
        max_unclear: Most repetitions after a call whose fate is not known (timeout, broken reply): it may have been
            paid for.
        backoff_s: First wait after a failure; doubled each time, up to ``max_wait_s``, with full jitter.
        max_wait_s: A provider that asks for a longer wait is given up for that item.
        outage_s: How long calls wait, without failing, for a provider that is down (`core.engine.breaker`); 0 takes
            none to be down.
        claim: How many items are announced to the `Attempts` port at once.
        mode: Where answers come from.
        max_age_s: Oldest stored answer that ``cache`` takes.
        judges: Model references for assertions that need a judge and name none.
        embedder: Model reference for assertions that need embeddings and name none.

    Raises:
        RunError: A number is not more than 0 (``run_options``).
    """

    concurrency: int = 16
    start_concurrency: int = 20
    timeout_s: float = 120.0
    deadline_s: float | None = None
    max_calls: int = 5
    max_unclear: int = 1
    backoff_s: float = 0.5
    max_wait_s: float = 60.0
    outage_s: float = 0.0
    claim: int = 64
    mode: Mode = Mode.LIVE
    max_age_s: float = TWO_WEEKS_S
    judges: tuple[str, ...] = ()
    embedder: str | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def __post_init__(self) -> None:
        for name in (
            "concurrency", "start_concurrency", "timeout_s", "deadline_s", "max_calls", "claim", "max_age_s",
            "requests_per_minute", "tokens_per_minute",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise RunError(f"A run's {name} is {value!r}; it must be more than 0.", code="run_options")

    @property
    def per_minute(self) -> PerMinute:
        """Both limits by the minute."""
        return PerMinute(self.requests_per_minute, self.tokens_per_minute)
