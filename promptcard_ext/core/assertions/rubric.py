"""Assertions by a criterion in words: llm-rubric, model-graded-closedqa."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, Assertion, Finding, Graded, register
from promptcard_ext.core.assertions.jury import Jury, criteria_of, heard, jury_of, with_query
from promptcard_ext.core.judges import reading
from promptcard_ext.core.judges.asking import Juror, put
from promptcard_ext.core.judges.panel import Opinion
from promptcard_ext.core.judges.prompts import CLOSED_QA, RUBRIC
from promptcard_ext.core.ports import Asker


@register("llm-rubric", needs=("judge", "variables"))
def llm_rubric(assertion: Assertion) -> Graded:
    """A judge says that the answer meets the criterion in ``value``; with a ``threshold``, its score reaches it too."""
    jury, rubric = jury_of(assertion), _criterion(assertion)

    async def grade(answer: Answer, asker: Asker) -> Finding:
        output = answer.output
        if output is None:
            return NO_TEXT

        async def opinion(juror: Juror) -> Opinion:
            material = {"output": output, "rubric": rubric}
            question = jury.question(RUBRIC, answer, material, _rubric_reader(jury), rubric=rubric, criteria=rubric)
            return await put(question, juror, asker)

        return await heard(jury, asker, opinion)

    return Graded(grade)


def _rubric_reader(jury: Jury) -> Any:
    assertion = jury.assertion

    def read(value: Mapping[str, Any]) -> Opinion:
        passed, reason = reading.truth(value, "pass"), reading.reason(value)
        if "score" not in value and jury.own is not None and assertion.threshold is None:
            # A prompt of the user's may ask for nothing but a verdict, and nothing here needs more.
            return Opinion(passed, None, reason, "criterion_not_met")
        score = reading.number(value, "score", 1)
        if passed and assertion.threshold is not None and score < jury.threshold:
            return Opinion(False, score, reason, "score_below_threshold")
        return Opinion(passed, score, reason, "criterion_not_met")

    return read


@register("model-graded-closedqa", needs=("judge", "variables"))
def model_graded_closedqa(assertion: Assertion) -> Graded:
    """A judge says that the answer satisfies the requirement in ``value``; there is no score."""
    jury, criteria = jury_of(assertion), _criterion(assertion)

    async def grade(answer: Answer, asker: Asker) -> Finding:
        output = answer.output
        if output is None:
            return NO_TEXT

        async def opinion(juror: Juror) -> Opinion:
            material = with_query(answer, {"output": output, "criteria": criteria})
            question = jury.question(CLOSED_QA, answer, material, _closed, rubric=criteria, criteria=criteria)
            return await put(question, juror, asker)

        return await heard(jury, asker, opinion)

    return Graded(grade)


def _closed(value: Mapping[str, Any]) -> Opinion:
    return Opinion(reading.truth(value, "pass"), None, reading.reason(value), "criterion_not_met")


def _criterion(assertion: Assertion) -> str:
    if assertion.value is None and assertion.rubric_prompt is not None:
        return ""
    criteria = criteria_of(assertion)
    return criteria[0] if len(criteria) == 1 else "\n".join(f"{i}. {one}" for i, one in enumerate(criteria, 1))
