"""Which calls an item of a plan is going to need, beside the one for its answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from promptcard_ext.core.assertions.base import Assertion, needs_of_kind
from promptcard_ext.core.assertions.variants import variants_of
from promptcard_ext.core.matrix import CaseInPlan
from promptcard_ext.core.token_range import NOTHING, TokenRange, tokens_of

# Calls of one judge for one answer; kinds that are not here make one.
_PER_JUDGE = {"context-faithfulness": 2, "context-recall": 2}
# What a judge is told beside the material: rules, task, marks, the shape of the answer and its schema.
_INSTRUCTIONS = TokenRange(300, 370, 500)


class PlannedCall(NamedTuple):
    """Calls of one kind for one item.

    Attributes:
        purpose: ``judge``, ``embedding`` or ``variant``.
        model: Reference of the model; None is the one whose answer is judged.
        usual: How many there are when every judge answers properly; for a comparison the item's share of them.
        most: How many there can be, without repetitions after failed calls.
        beside: Input tokens of each, without prompt and answer.
        with_prompt: Whether the input has the item's prompt in it.
        answers: How many answers the input of each has in it.
    """

    purpose: str
    model: str | None
    usual: float
    most: float
    beside: TokenRange
    with_prompt: bool
    answers: int


def calls_per_item(
    case: CaseInPlan, judges: Sequence[str] = (), embedder: str | None = None, group: int = 1, turns: int = 1
) -> tuple[PlannedCall, ...]:
    """Return the further calls of one item of a case. They are an upper bound, and sets and cascades are taken whole.

    A judge whose answer cannot be read is asked once more, which is in ``most``. A kind that nothing is known of
    counts as one call a judge.

    Args:
        judges: Model references of the run's judges, all of which are asked.
        embedder: The run's embedding model.
        group: Number of answers that are compared with each other: models × card versions.
        turns: Number of the assistant's turns in the prompt, the answer included.
    """
    around = _Around(tuple(judges), embedder, group, turns)
    return tuple(call for one in case.checklist.checks for call in _of_assertion(one.assertion, around))


class _Around(NamedTuple):
    judges: tuple[str, ...]
    embedder: str | None
    group: int
    turns: int


def _of_assertion(assertion: Assertion, around: _Around) -> Iterator[PlannedCall]:
    for inner in assertion.assertions:
        yield from _of_assertion(inner, around)
    wanted = needs_of_kind(assertion.kind)
    beside = _told(assertion) if wanted & {"judge", "embedder"} else NOTHING
    if "judge" in wanted:
        usual, most = _of_one_judge(assertion, around)
        answers = 2 if assertion.kind == "select-best" else 1
        for judge in assertion.judges or around.judges:
            yield PlannedCall("judge", judge, usual, 2 * most, beside.plus(_INSTRUCTIONS), True, answers)
    if "embedder" in wanted:
        yield from _embeddings(assertion, around.judges if "judge" in wanted else None, around.embedder, beside)
    if assertion.kind == "metamorphic":
        # Changes that leave the prompt as it is need no call; which ones do is not known before.
        changes = variants_of(assertion.value)
        yield PlannedCall("variant", None, changes, changes, NOTHING, True, 0)


def _embeddings(
    assertion: Assertion, judges: tuple[str, ...] | None, embedder: str | None, beside: TokenRange
) -> Iterator[PlannedCall]:
    """Yield the embeddings of a kind; one that asks judges too makes them for each judge, and of the question too."""
    named = assertion.options.get("embedder") or (assertion.judges[0] if assertion.judges and judges is None else None)
    model = named if isinstance(named, str) else embedder
    number = 1 if judges is None else len(assertion.judges or judges)
    if model is not None:
        yield PlannedCall("embedding", model, number, number, beside, judges is not None, 1)


def _of_one_judge(assertion: Assertion, around: _Around) -> tuple[float, float]:
    """Return how many calls are usual, and the most."""
    if assertion.kind == "select-best":
        return _comparisons(around.group)
    calls = _PER_JUDGE.get(assertion.kind, 1)
    if assertion.kind == "g-eval":
        # For each criterion the steps are asked for, and then the score.
        calls = 2 * (len(assertion.value) if isinstance(assertion.value, list | tuple) else 1)
    if assertion.kind == "conversation-relevance":
        calls = around.turns
    return calls, calls


def _comparisons(group: int) -> tuple[float, float]:
    """Return an answer's share of the comparisons with the others, each of them in both orders."""
    if group < 2:
        return 0, 0
    pairs = group * (group - 1) / 2
    return (2 * pairs / group, 2 * pairs / group) if group <= 5 else (2 * (group - 1) / group, 2 * pairs / group)


def _told(assertion: Assertion) -> TokenRange:
    total = NOTHING
    for text in (*_texts(assertion.value), assertion.rubric_prompt or ""):
        total = total.plus(tokens_of(text))
    return total


def _texts(value: Any) -> list[str]:
    if isinstance(value, list | tuple):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []
