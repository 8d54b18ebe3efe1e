"""Assertions on relevance: answer-relevance, conversation-relevance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, Assertion, Finding, Graded, register
from promptcard_ext.core.assertions.context import NO_QUERY
from promptcard_ext.core.assertions.jury import Jury, heard, jury_of, query_of
from promptcard_ext.core.card import Message
from promptcard_ext.core.judges import reading
from promptcard_ext.core.judges.asking import Juror, put, together
from promptcard_ext.core.judges.panel import Opinion
from promptcard_ext.core.judges.prompts import QUESTIONS, TURN
from promptcard_ext.core.judges.question import NotJudged
from promptcard_ext.core.ports import Asker
from promptcard_ext.core.results import Outcome

DEFAULT_WINDOW = 5
# The second is promptfoo's spelling.
WINDOW_SIZE = ("window_size", "windowSize")
MAX_QUESTIONS = 10
NO_EMBEDDER = Finding(
    Outcome.UNSCORED, "no_embedder", "There is no embedding model: name one for the run, or as 'options.embedder'."
)
NO_CONVERSATION = Finding(
    Outcome.UNSCORED,
    "no_conversation",
    "The messages before the answer are not known, so nothing can be relevant there.",
)


@register("answer-relevance", needs=("judge", "embedder", "variables"))
def answer_relevance(assertion: Assertion) -> Graded:
    """Questions that a judge makes from the answer are, on average, as similar to the real one as ``threshold`` (0).

    An evasive answer has score 0. After the answer relevance of Ragas (Es et al., 2023): mean cosine of embeddings.
    """
    jury = jury_of(assertion, 0.0, ("embedder",))
    named = assertion.options.get("embedder")
    if named is not None and not isinstance(named, str):
        raise assertion.invalid("'options.embedder' must be a model reference")

    async def grade(answer: Answer, asker: Asker) -> Finding:
        output, query, embedder = answer.output, query_of(answer), named or asker.embedder
        if output is None:
            return NO_TEXT
        if not query:
            return NO_QUERY
        if embedder is None:
            return NO_EMBEDDER
        return await heard(jury, asker, lambda juror: _answers(jury, answer, output, query, embedder, juror, asker))

    return Graded(grade)


async def _answers(
    jury: Jury, answer: Answer, output: str, query: str, embedder: str, juror: Juror, asker: Asker
) -> Opinion:
    question = jury.question(QUESTIONS, answer, {"output": output}, _questions)
    questions, evasive = await put(question, juror, asker)
    if evasive:
        return Opinion(jury.threshold <= 0, 0.0, "The answer is evasive.", "score_below_threshold")
    asked, *made = await asker.embed(embedder, [query, *questions])
    score = _mean_similarity(asked, made, len(questions))
    told = f"Similarity {score:.2f} to questions such as: {reading.excerpt(questions[0])}"
    return Opinion(score >= jury.threshold - 1e-9, score, told, "score_below_threshold")


def _questions(value: Mapping[str, Any]) -> tuple[list[str], bool]:
    questions, evasive = reading.texts(value, "questions"), reading.truth(value, "evasive")
    if not evasive and not 1 <= len(questions) <= MAX_QUESTIONS:
        raise reading.Unreadable(f"'questions' must have 1 to {MAX_QUESTIONS} questions")
    return questions, evasive


def _mean_similarity(asked: Sequence[float], made: Sequence[Sequence[float]], expected: int) -> float:
    found = [_cosine(asked, one) for one in made]
    if len(found) != expected or not all(map(math.isfinite, found)):
        raise NotJudged("embedding_invalid", "The embedding model's vectors cannot be compared.", broken=True)
    # Opposite directions are as far apart as a score can say.
    return min(1.0, max(0.0, sum(found) / len(found)))


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    length = math.hypot(*one) * math.hypot(*other)
    if len(one) != len(other) or not length:
        return math.nan
    return math.fsum(x * y for x, y in zip(one, other, strict=True)) / length


@register("conversation-relevance", needs=("judge", "variables"))
def conversation_relevance(assertion: Assertion) -> Graded:
    """The share of the assistant's turns that are relevant where they stand reaches ``threshold`` (0.5).

    Each is judged with the turns before it; ``options.window_size`` (5) is how many, its own included.
    """
    jury = jury_of(assertion, 0.5, WINDOW_SIZE)
    window = next((assertion.options[name] for name in WINDOW_SIZE if name in assertion.options), DEFAULT_WINDOW)
    if not isinstance(window, int) or isinstance(window, bool) or not 1 <= window <= 100:
        raise assertion.invalid("'options.window_size' must be a whole number from 1 to 100")

    async def grade(answer: Answer, asker: Asker) -> Finding:
        if answer.output is None:
            return NO_TEXT
        turns = _turns(answer.messages, answer.output, window)
        if not turns:
            return NO_CONVERSATION

        async def opinion(juror: Juror) -> Opinion:
            found = await together(_relevant(jury, answer, turn, juror, asker) for turn in turns)
            relevant = sum(good for good, _ in found)
            score = relevant / len(turns)
            why = next((reason for good, reason in found if not good), found[-1][1])
            told = f"{relevant} of {len(turns)} turns are relevant. {why}"
            return Opinion(score >= jury.threshold - 1e-9, score, told, "score_below_threshold")

        return await heard(jury, asker, opinion)

    return Graded(grade)


def _turns(messages: Sequence[Message], output: str, window: int) -> list[tuple[str, str]]:
    """Return the assistant's turns: what came before, as JSON so that no text can pose as a message, and the reply."""
    spoken = [message for message in messages if message.role != "system"]
    if not spoken:
        return []
    spoken.append(Message("assistant", output))
    found = []
    for place, message in enumerate(spoken):
        if place and message.role == "assistant":
            before = spoken[max(0, place - 2 * window + 1) : place]
            said = [{"role": one.role, "content": one.content} for one in before]
            found.append((json.dumps(said, ensure_ascii=False, indent=1), message.content))
    return found


async def _relevant(jury: Jury, answer: Answer, turn: tuple[str, str], juror: Juror, asker: Asker) -> tuple[bool, str]:
    material = {"conversation": turn[0], "output": turn[1]}
    question = jury.question(TURN, answer, material, _verdict)
    return await put(question, juror, asker)


def _verdict(value: Mapping[str, Any]) -> tuple[bool, str]:
    return reading.truth(value, "relevant"), reading.reason(value)
