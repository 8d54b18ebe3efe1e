"""The factuality assertion: how the facts of an answer relate to those of a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, Assertion, Finding, Graded, register
from promptcard_ext.core.assertions.jury import heard, jury_of, with_query
from promptcard_ext.core.judges import reading
from promptcard_ext.core.judges.asking import Juror, put
from promptcard_ext.core.judges.panel import Opinion
from promptcard_ext.core.judges.prompts import FACTUALITY
from promptcard_ext.core.ports import Asker

# The categories of the evaluation "fact" of openai/evals, with the names that promptfoo gave them, and their scores.
CATEGORIES = {
    "A": ("subset", 1.0),
    "B": ("superset", 1.0),
    "C": ("agree", 1.0),
    "D": ("disagree", 0.0),
    "E": ("differButFactual", 1.0),
}


@register("factuality", "model-graded-factuality", needs=("judge", "variables"))
def factuality(assertion: Assertion) -> Graded:
    """A judge puts the answer's facts beside those of the reference in ``value``, into one of five categories.

    Each category has a score; above 0 it passes, with a ``threshold`` from there on. ``options.factuality`` gives
    other scores: ``subset``, ``superset``, ``agree``, ``disagree``, ``differButFactual``.
    """
    jury = jury_of(assertion, options=("factuality",))
    if not isinstance(assertion.value, str) or not assertion.value.strip():
        raise assertion.invalid("'value' must be the reference, a text that is not empty")
    reference, scores = assertion.value, _scores(assertion)

    def read(value: Mapping[str, Any]) -> Opinion:
        category = reading.choice(value, "category", list(CATEGORIES))
        name, score = CATEGORIES[category][0], scores[category]
        passed = score > 0 if assertion.threshold is None else score >= jury.threshold
        told = f"{category} ({name}): {reading.reason(value)}"
        return Opinion(passed, score, told, "facts_disagree" if category == "D" else "facts_differ")

    async def grade(answer: Answer, asker: Asker) -> Finding:
        output = answer.output
        if output is None:
            return NO_TEXT

        async def opinion(juror: Juror) -> Opinion:
            material = with_query(answer, {"output": output, "reference": reference})
            question = jury.question(FACTUALITY, answer, material, read, rubric=reference, reference=reference)
            return await put(question, juror, asker)

        return await heard(jury, asker, opinion)

    return Graded(grade)


def _scores(assertion: Assertion) -> dict[str, float]:
    given = assertion.options.get("factuality", {})
    names = {name for name, _ in CATEGORIES.values()}
    if not isinstance(given, dict) or not set(given) <= names:
        raise assertion.invalid(f"'options.factuality' must be scores by category: {', '.join(sorted(names))}")
    for name, score in given.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise assertion.invalid(f"the score of '{name}' must be a number from 0 to 1")
    return {letter: float(given.get(name, score)) for letter, (name, score) in CATEGORIES.items()}
