"""Judges that speak from a script, in place of the engine that would call them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.base import Contender, compiled
from promptcard_ext.core.assertions.judging import grade_one, verdict
from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.results import Generation, Verdict
from tests.run_async import run_async


class Asked(NamedTuple):
    """One call."""

    model: str
    messages: tuple[Message, ...]
    settings: ModelSettings
    repeat: int

    @property
    def about(self) -> str:
        """The name of the schema: which question it is."""
        wanted = self.settings.response_format or {}
        return str(wanted.get("json_schema", {}).get("name", ""))

    @property
    def text(self) -> str:
        return "\n".join(message.content for message in self.messages)

    def material(self, name: str) -> str:
        """Return what stands between the marks with this name."""
        seen = next(message.content for message in self.messages if message.role == "user")
        return seen[seen.index(f"<<begin {name} ") :].split("\n", 1)[1].split(f"\n<<end {name} ", 1)[0]


Say = Callable[[Asked], Any]


class Bench:
    """An `Asker` whose judges do what ``say`` says: a text, None, a mapping (as JSON), a generation, or an error."""

    model = "fake:answerer"

    def __init__(
        self,
        say: Say,
        judges: Sequence[str] = ("a:judge",),
        embedder: str | None = None,
        vectors: Callable[[str], tuple[float, ...]] = lambda text: (1.0, 0.0),
    ) -> None:
        self.judges, self.embedder = tuple(judges), embedder
        self.asked: list[Asked] = []
        self.embedded: list[str] = []
        self._say, self._vectors = say, vectors

    async def ask(
        self,
        model: str,
        messages: Sequence[Message],
        settings: ModelSettings = ModelSettings(),  # noqa: B008
        *,
        purpose: str = "judge",
        repeat: int = 0,
    ) -> Generation:
        assert purpose == "judge"
        asked = Asked(model, tuple(messages), settings, repeat)
        self.asked.append(asked)
        await asyncio.sleep(0)
        said = self._say(asked)
        if isinstance(said, Exception):
            raise said
        if isinstance(said, Generation):
            return said
        return Generation("a", model, "h", json.dumps(said) if isinstance(said, dict) else said, 1.0)

    async def embed(self, model: str, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        assert model == self.embedder
        self.embedded += texts
        return tuple(self._vectors(text) for text in texts)


def saying(*answers: Any) -> Say:
    """Return a script of answers, one call after the other; the last one is repeated."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def each(answers: dict[str, Any]) -> Say:
    """Return a script by model."""
    return lambda asked: answers[asked.model]


def outage(code: str = "provider_5xx_exhausted") -> ProviderError:
    return ProviderError("It is down.", code=code)


def an_answer(text: str | None, *prompt: Message, raw: str | None = None, **variables: Any) -> Answer:
    generation = Generation("fake", "answerer", "h", raw or text, 1.0)
    return Answer(text, generation, variables, prompt or (Message("user", "What is the capital of France?"),))


def judged(assertion: Assertion, answer: Answer | str | None, bench: Bench) -> Verdict:
    """Return the verdict on an answer, negation included, as a run would."""
    seen = answer if isinstance(answer, Answer) else an_answer(answer)
    return run_async(grade_one(compiled(assertion, seen.variables), seen, bench))


def contest(assertion: Assertion, contenders: Sequence[Contender], bench: Bench) -> list[Verdict]:
    """Return the verdicts on answers that compete."""
    one = compiled(assertion)
    assert one.contest is not None
    return [verdict(one, finding) for finding in run_async(_awaited(one.contest(contenders, bench)))]


async def _awaited(found: Any) -> Any:
    return await found
