"""``simulated:NAME`` - deterministic answers, latencies and failures, drawn from the case and the prompt."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Sequence
from typing import Any

from promptcard_ext.core.errors import ProviderError, UnknownModel
from promptcard_ext.core.ports import Embeddings, Quota, Reply, Request
from promptcard_ext.core.results import Tokens
from promptcard_ext.providers.simulated import answers, invention
from promptcard_ext.providers.simulated.allowance import Allowance
from promptcard_ext.providers.simulated.profile import PROFILES, Profile, profile
from promptcard_ext.providers.simulated.vectors import vector

_FIRST_TOKEN = 0.25


class Simulated:
    """The simulated endpoint; it lives in this process and makes no connection."""

    name = "simulated"
    price_key = "simulated"
    endpoint = "simulated"
    limit_key = "simulated"

    def __init__(self) -> None:
        self._refused: set[tuple[str, str]] = set()
        self._allowances: dict[str, Allowance] = {}

    @staticmethod
    def check_model(name: str) -> None:
        """Raise `UnknownModel` when ``name`` is no profile or has an option that does not exist."""
        profile(name)

    async def generate(self, request: Request) -> Reply:
        """Answer after the drawn latency; see `core.ports.Provider`."""
        behaviour = profile(request.model)
        if behaviour.kind == "embed":
            raise UnknownModel(f"simulated:{request.model} gives vectors, and answers nothing.")
        text = "\n\n".join(message.content for message in request.messages)
        chance = random.Random(_seed(request, text))  # noqa: S311  reproducible, and nothing here is secret
        quota = self._admit(request.model, behaviour)
        latency_ms = behaviour.latency_ms * chance.lognormvariate(0, behaviour.spread)
        if behaviour.latency_ms:
            await asyncio.sleep(latency_ms / 1000)
        self._maybe_refuse(request, behaviour, chance)
        output, call = _said(request, text, behaviour, chance)
        return Reply(
            output=output,
            latency_ms=latency_ms,
            tokens=Tokens(input=_tokens(text), output=_tokens(output or str(call))),
            finish_reason="tool_calls" if call else "stop",
            ttft_ms=latency_ms * _FIRST_TOKEN if request.settings.stream else None,
            model_reported=f"simulated:{request.model}",
            tool_calls=[call] if call else None,
            logprobs=_logprobs(output, chance) if request.settings.logprobs else None,
            quota=quota,
        )

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """Return vectors of hashed words; see `core.ports.Embedder`."""
        behaviour = profile(model)
        if behaviour.kind != "embed":
            raise ProviderError(
                f"simulated:{model} gives no vectors.", code="no_embeddings", sent=False, hint="Take simulated:embed."
            )
        self._admit(model, behaviour)
        started = time.perf_counter()
        if behaviour.latency_ms:
            await asyncio.sleep(behaviour.latency_ms / 1000)
        vectors = tuple(vector(text) for text in texts)
        used = Tokens(input=sum(map(_tokens, texts)), output=0)
        return Embeddings(vectors, (time.perf_counter() - started) * 1000, used, f"simulated:{model}")

    def _admit(self, model: str, behaviour: Profile) -> Quota | None:
        if not behaviour.rpm:
            return None
        allowance = self._allowances.get(model)
        if allowance is None:
            allowance = self._allowances[model] = Allowance(behaviour.rpm)
        return allowance.take()

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


def _said(
    request: Request, text: str, behaviour: Profile, chance: random.Random
) -> tuple[str | None, dict[str, Any] | None]:
    """Return the answer and the tool call; one of them is None."""
    settings = request.settings
    match behaviour.kind:
        case "echo":
            return request.messages[-1].content, None
        case "judge":
            return invention.judgement(text, settings.response_format, behaviour.slips, chance), None
        case "tools":
            call = invention.tool_call(text, settings.tools, settings.tool_choice, chance)
            return (None, call) if call else ("(simulated) There is no tool to call.", None)
    return answers.answer(text, behaviour, chance), None


def _logprobs(output: str | None, chance: random.Random) -> tuple[float, ...] | None:
    return tuple(-chance.expovariate(4.0) for _ in range(_tokens(output))) if output else None


def _seed(request: Request, text: str) -> str:
    drawn_from = f"{request.model}|{request.nonce}|{request.settings.seed}|{text}"
    return hashlib.sha256(drawn_from.encode("utf-8", "surrogatepass")).hexdigest()


def _tokens(text: str) -> int:
    # Four characters a token is the usual rule of thumb for English.
    return max(1, len(text) // 4)
