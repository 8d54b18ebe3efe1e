"""About how many tokens a call will take: its prompt, and as long an answer as the model gave so far."""

from __future__ import annotations

from collections.abc import Callable

from promptcard_ext.core.budget import UNLIMITED_OUTPUT
from promptcard_ext.core.ports import Request
from promptcard_ext.core.results import Tokens
from promptcard_ext.core.token_range import prompt_tokens

# The mean is of about so many answers: one that suddenly are longer should not be expected short for long.
_REMEMBERED = 50


class Weight:
    """What one call is expected to take; as long as it waits, this changes with what is learnt meanwhile.

    Args:
        prompt: Tokens of its prompt.
        answer: Returns how many its answer is expected to have.

    Attributes:
        tokens: What it was expected to take when it was last reckoned.
    """

    __slots__ = ("_answer", "_prompt", "tokens")

    def __init__(self, prompt: float, answer: Callable[[], float] = float) -> None:
        self._prompt, self._answer = prompt, answer
        self.tokens = 0.0

    def reckon(self) -> float:
        """Return what it is expected to take by now."""
        self.tokens = self._prompt + self._answer()
        return self.tokens


class Weights:
    """What was learnt of the answers of each model; on one event loop."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[int, float]] = {}

    def of(self, request: Request) -> Weight:
        """Return about how many tokens a call will take, in and out.

        Until the first answer it is taken to be as long as it may be: it is better to begin late than to be refused.
        """
        return Weight(prompt_tokens(request.messages, request.settings).mid, lambda: self._output(request))

    def unused(self, request: Request, expected: float, tokens: Tokens) -> float:
        """Learn from an answer and return how many of the expected tokens it did not take; negative when it took more.

        It is 0 when the provider does not tell.
        """
        if tokens.output is not None:
            seen, mean = self._answers.get(request.model, (0, 0.0))
            seen = min(seen + 1, _REMEMBERED)
            self._answers[request.model] = (seen, mean + (tokens.output - mean) / seen)
        if tokens.input is None:
            return 0.0
        return expected - tokens.input - (tokens.output or 0)  # vectors take none

    def _output(self, request: Request) -> float:
        most = request.settings.max_tokens
        known = self._answers.get(request.model)
        if known is None:
            return float(UNLIMITED_OUTPUT if most is None else most)
        return known[1] if most is None else min(known[1], most)
