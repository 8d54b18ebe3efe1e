"""``simulated:NAME`` - deterministic answers, latencies and failures, drawn from the case and the prompt.

NAME is one of the profiles below; options follow as in a URL: ``simulated:steady?latency_ms=5&error_rate=0.1``.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast
from urllib.parse import parse_qsl

from promptcard_ext.core.errors import ProviderError, UnknownModel
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.core.results import Tokens
from promptcard_ext.providers.simulated import answers


@dataclass(frozen=True)
class Profile:
    """How a simulated model behaves.

    Attributes:
        latency_ms: Median latency; 0 answers at once.
        spread: Spread of the latency (sigma of a log-normal distribution).
        error_rate: Share of first calls that are refused with 429 or 503; a repeated call succeeds.
        slips: Probability of a spoiled answer under a prompt that fixes the form of the answer.
        looseness: How many times likelier that is under one that does not.
        echo: Answer with the last message instead.
    """

    latency_ms: float = 120.0
    spread: float = 0.35
    error_rate: float = 0.0
    slips: float = 0.08
    looseness: float = 4.0
    echo: bool = False


PROFILES = {
    "steady": Profile(),
    "hasty": Profile(latency_ms=55.0, spread=0.6, error_rate=0.05, slips=0.2, looseness=2.5),
    "echo": Profile(latency_ms=0.0, spread=0.0, echo=True),
}


class Simulated:
    """The simulated endpoint; it lives in this process and makes no connection."""

    name = "simulated"
    price_key = "simulated"
    endpoint = "simulated"

    def __init__(self) -> None:
        self._refused: set[tuple[str, str]] = set()

    @staticmethod
    def check_model(name: str) -> None:
        """Raise `UnknownModel` when ``name`` is no profile or has an option that does not exist."""
        profile(name)

    async def generate(self, request: Request) -> Reply:
        """Answer after the drawn latency; see `core.ports.Provider`."""
        behaviour = profile(request.model)
        text = "\n\n".join(message.content for message in request.messages)
        chance = random.Random(_seed(request, text))  # noqa: S311  reproducible, and nothing here is secret
        latency_ms = behaviour.latency_ms * chance.lognormvariate(0, behaviour.spread)
        if behaviour.latency_ms:
            await asyncio.sleep(latency_ms / 1000)
        self._maybe_refuse(request, behaviour, chance)
        output = request.messages[-1].content if behaviour.echo else answers.answer(text, behaviour, chance)
        return Reply(
            output=output,
            latency_ms=latency_ms,
            tokens=Tokens(input=_tokens(text), output=_tokens(output)),
            finish_reason="stop",
            model_reported=f"simulated:{request.model}",
        )

    def _maybe_refuse(self, request: Request, behaviour: Profile, chance: random.Random) -> None:
        key = (request.model, _seed(request, ""))
        if chance.random() < behaviour.error_rate and key not in self._refused:
            self._refused.add(key)
            code = "provider_429" if chance.random() < 0.5 else "provider_5xx"
            raise ProviderError(
                f"simulated:{request.model} refuses this call, as it was told to.", code=code, retryable=True
            )

    async def list_models(self) -> list[str]:
        """Return the profiles."""
        return sorted(PROFILES)

    async def close(self) -> None:
        """Nothing to close."""


# The most that each option may be.
_OPTIONS = {"latency_ms": 600_000.0, "spread": 3.0, "error_rate": 1.0, "slips": 1.0, "looseness": 100.0}


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


def _seed(request: Request, text: str) -> str:
    drawn_from = f"{request.model}|{request.nonce}|{request.settings.seed}|{text}"
    return hashlib.sha256(drawn_from.encode("utf-8", "surrogatepass")).hexdigest()


def _tokens(text: str) -> int:
    # Four characters a token is the usual rule of thumb for English.
    return max(1, len(text) // 4)
