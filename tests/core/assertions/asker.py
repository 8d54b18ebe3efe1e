"""An `Asker` that answers changed prompts and makes vectors, in place of the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.base import compiled
from promptcard_ext.core.assertions.judging import grade_one
from promptcard_ext.core.card import Card, Message, ModelSettings
from promptcard_ext.core.results import Generation, Verdict
from tests.run_async import run_async

SETTINGS = ModelSettings(temperature=0.5)


class Asks:
    """Answers a prompt with what ``say`` makes of it: a text, None, or an error to raise."""

    model = "fake:m"
    judges = ()

    def __init__(
        self, say: Callable[[str], Any] = str, vectors: Callable[[str], Any] | None = None, embedder: str | None = "e:m"
    ) -> None:
        self._say, self._vectors, self.embedder = say, vectors, embedder
        self.prompts: list[str] = []
        self.embedded: list[tuple[str, list[str]]] = []

    async def ask(
        self, model: str, messages: Sequence[Message], settings: ModelSettings = SETTINGS, *, purpose: str = "judge",
        repeat: int = 0,
    ) -> Generation:  # fmt: skip
        assert (model, settings, purpose, repeat) == ("fake:m", SETTINGS, "variant", 0)
        self.prompts.append(messages[-1].content)
        said = self._say(messages[-1].content)
        if isinstance(said, Exception):
            raise said
        return Generation("fake", "m", "h", said, 1.0)

    async def embed(self, model: str, texts: Sequence[str]) -> Any:
        assert self._vectors is not None
        self.embedded.append((model, list(texts)))
        found = [self._vectors(text) for text in texts]
        for one in found:
            if isinstance(one, Exception):
                raise one
        return tuple(one for one in found if one is not None)


def answered(card: Card, variables: Mapping[str, Any], output: str | None) -> Answer:
    """Return an answer to a card's prompt, with the way to change it."""
    values = card.fill(variables)

    def variant(changed: Mapping[str, Any]) -> tuple[Message, ...]:
        return card.render({**values, **changed})

    generation = Generation("fake", "m", "h", output, 1.0)
    return Answer(output, generation, values, card.render(values), SETTINGS, variant)


def text(output: str | None) -> Answer:
    return Answer(output, Generation("fake", "m", "h", output, 1.0), {})


def graded(assertion: Assertion, answer: Answer, asker: Asks) -> Verdict:
    """Return the verdict, negation included, as a run would."""
    return run_async(grade_one(compiled(assertion, answer.variables), answer, asker))
