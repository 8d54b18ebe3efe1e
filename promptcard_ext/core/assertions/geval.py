"""The g-eval assertion: a judge first writes the steps of the grading, then grades by them.

After Liu et al., "G-Eval: NLG Evaluation using GPT-4 with Better Human Alignment" (2023), without the weighting by
token probabilities, which few endpoints give.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, Assertion, Finding, Graded, register
from promptcard_ext.core.assertions.jury import Jury, criteria_of, heard, jury_of, with_query
from promptcard_ext.core.judges import reading
from promptcard_ext.core.judges.asking import Juror, put, together
from promptcard_ext.core.judges.panel import Opinion
from promptcard_ext.core.judges.prompts import SCORE, STEPS
from promptcard_ext.core.judges.question import ask_about
from promptcard_ext.core.ports import Asker

DEFAULT_THRESHOLD = 0.7
HIGHEST = 10


@register("g-eval", needs=("judge", "variables"))
def g_eval(assertion: Assertion) -> Graded:
    """A judge's grades by the criteria in ``value`` (a text or a list), on average, reach ``threshold`` (0.7)."""
    jury, criteria = jury_of(assertion, DEFAULT_THRESHOLD), criteria_of(assertion)

    async def grade(answer: Answer, asker: Asker) -> Finding:
        output = answer.output
        if output is None:
            return NO_TEXT

        async def opinion(juror: Juror) -> Opinion:
            graded = await together(_graded(jury, one, answer, output, juror, asker) for one in criteria)
            score = sum(points for points, _ in graded) / len(graded)
            # The mean of 0.6, 0.7 and 0.8 is a little below 0.7 in binary.
            passed = score >= jury.threshold - 1e-9
            return Opinion(passed, score, " / ".join(reason for _, reason in graded if reason), "score_below_threshold")

        return await heard(jury, asker, opinion)

    return Graded(grade)


async def _graded(
    jury: Jury, criterion: str, answer: Answer, output: str, juror: Juror, asker: Asker
) -> tuple[float, str]:
    # The steps follow from the criterion alone: asked once, they come from the cache for every other answer.
    steps = await put(ask_about(STEPS, {"criteria": criterion}, _steps), juror, asker)
    written = "\n".join(f"{i}. {step}" for i, step in enumerate(steps, 1))
    material = with_query(answer, {"output": output, "criteria": criterion, "steps": written})
    question = jury.question(SCORE, answer, material, _score, criteria=criterion, rubric=criterion, steps=written)
    return await put(question, juror, asker)


def _steps(value: Mapping[str, Any]) -> list[str]:
    found = reading.texts(value, "steps")
    if not found:
        raise reading.Unreadable("'steps' is empty")
    return found


def _score(value: Mapping[str, Any]) -> tuple[float, str]:
    return reading.number(value, "score", HIGHEST, fraction=True) / HIGHEST, reading.reason(value)
