"""What a simulated model is like: a profile, and options as in a URL (``steady?latency_ms=5&error_rate=0.1``)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, cast
from urllib.parse import parse_qsl

from promptcard_ext.core.errors import UnknownModel


@dataclass(frozen=True)
class Profile:
    """How a simulated model behaves.

    Attributes:
        latency_ms: Median latency; 0 answers at once.
        spread: Spread of the latency (sigma of a log-normal distribution).
        error_rate: Share of first calls that are refused with 429 or 503; a repeated call succeeds.
        slips: Probability of a spoiled answer under a prompt that fixes the form of the answer; of a judge, that it is
            not satisfied.
        looseness: How many times likelier a spoiled answer is under a prompt that does not.
        rpm: Calls a minute before it refuses with 429; 0 never does.
        kind: What it answers: what it knows of the starter cards, the last message, JSON that fits the schema asked
            for, a call of a tool, or vectors.
    """

    latency_ms: float = 120.0
    spread: float = 0.35
    error_rate: float = 0.0
    slips: float = 0.08
    looseness: float = 4.0
    rpm: float = 0.0
    kind: Literal["starter", "echo", "judge", "tools", "embed"] = "starter"


PROFILES = {
    "steady": Profile(),
    "hasty": Profile(latency_ms=55.0, spread=0.6, error_rate=0.05, slips=0.2, looseness=2.5),
    "echo": Profile(latency_ms=0.0, spread=0.0, kind="echo"),
    "judge": Profile(latency_ms=80.0, slips=0.25, kind="judge"),
    "tools": Profile(latency_ms=80.0, kind="tools"),
    "embed": Profile(latency_ms=20.0, kind="embed"),
}

# The most that each option may be.
_OPTIONS = {
    "latency_ms": 600_000.0,
    "spread": 3.0,
    "error_rate": 1.0,
    "slips": 1.0,
    "looseness": 100.0,
    "rpm": 1_000_000.0,
}


@lru_cache(maxsize=256)
def profile(name: str) -> Profile:
    """Return the profile that ``name`` (with its options) describes.

    Raises:
        UnknownModel: There is no such profile or option, or an option is not a number or out of range.
    """
    base, _, options = name.partition("?")
    if base not in PROFILES:
        raise UnknownModel(
            f"There is no simulated model '{base:.60}'.", hint=f"There are: {', '.join(sorted(PROFILES))}."
        )
    numbers: dict[str, float] = {}
    for key, value in parse_qsl(options, keep_blank_values=True):
        if key not in _OPTIONS:
            raise UnknownModel(f"simulated:{base} has no option '{key:.40}'.")
        try:
            numbers[key] = float(value)
        except ValueError:
            raise UnknownModel(f"Option '{key}' of simulated:{base} is no number: {value!r:.40}.") from None
        if not 0 <= numbers[key] <= _OPTIONS[key]:
            raise UnknownModel(f"Option '{key}' of simulated:{base} is {value:.40}, not 0 to {_OPTIONS[key]:g}.")
    return replace(PROFILES[base], **cast("Any", numbers))
