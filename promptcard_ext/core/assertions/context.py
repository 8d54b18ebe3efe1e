"""Assertions on retrieved context: context-faithfulness, context-recall, context-relevance."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, Assertion, Finding, Graded, register
from promptcard_ext.core.assertions.jury import Jury, criteria_of, heard, jury_of, query_of, with_query
from promptcard_ext.core.identity import refuse_constant
from promptcard_ext.core.judges import reading
from promptcard_ext.core.judges.asking import Juror, put
from promptcard_ext.core.judges.panel import Opinion
from promptcard_ext.core.judges.prompts import CLAIMS, NEEDED, SUPPORT
from promptcard_ext.core.judges.question import NotJudged, ask_about
from promptcard_ext.core.ports import Asker
from promptcard_ext.core.results import Outcome

OPTIONS = ("context", "context_transform")
_PATH = re.compile(r"(?:output|json|vars)(?:\.[\w-]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+|\n+")
NO_CONTEXT = Finding(
    Outcome.UNSCORED,
    "no_context",
    "There is no context: neither a variable 'context' nor 'options.context' or 'options.context_transform' gives one.",
)
NO_QUERY = Finding(Outcome.UNSCORED, "no_query", "What was asked is not known, so nothing can be relevant to it.")


@register("context-faithfulness", needs=("judge", "variables"))
def context_faithfulness(assertion: Assertion) -> Graded:
    """The share of the answer's claims that follow from the context reaches ``threshold`` (default 0: any does)."""
    jury = _jury(assertion)

    async def grade(answer: Answer, asker: Asker) -> Finding:
        output, context = answer.output, passages_of(assertion, answer)
        if output is None:
            return NO_TEXT
        if not context:
            return NO_CONTEXT
        return await heard(jury, asker, lambda juror: _supported(jury, output, context, answer, juror, asker))

    return Graded(grade)


@register("context-recall", needs=("judge", "variables"))
def context_recall(assertion: Assertion) -> Graded:
    """The share of the claims in ``value``, the right answer, that the context holds reaches ``threshold`` (0)."""
    jury, expected = _jury(assertion), "\n".join(criteria_of(assertion))

    async def grade(answer: Answer, asker: Asker) -> Finding:
        context = passages_of(assertion, answer)
        if not context:
            return NO_CONTEXT
        return await heard(jury, asker, lambda juror: _supported(jury, expected, context, answer, juror, asker))

    return Graded(grade)


@register("context-relevance", needs=("judge", "variables"))
def context_relevance(assertion: Assertion) -> Graded:
    """The share of the context's passages that are needed to answer the question reaches ``threshold`` (0)."""
    jury = _jury(assertion)

    async def grade(answer: Answer, asker: Asker) -> Finding:
        context, query = passages_of(assertion, answer), query_of(answer)
        if not context:
            return NO_CONTEXT
        if not query:
            return NO_QUERY
        count = len(context)

        async def opinion(juror: Juror) -> Opinion:
            material = {"query": query, "context": _numbered(context)}
            question = jury.question(NEEDED, answer, material, lambda value: _needed(value, count))
            needed, reason = await put(question, juror, asker)
            return _share(jury, len(needed), count, "passages are needed", reason)

        return await heard(jury, asker, opinion)

    return Graded(grade)


def _needed(value: Mapping[str, Any], count: int) -> tuple[set[int], str]:
    return reading.numbers_of(value, "needed", count), reading.reason(value)


def _jury(assertion: Assertion) -> Jury:
    path = assertion.options.get("context_transform")
    if path is not None and not (isinstance(path, str) and _PATH.fullmatch(path)):
        raise assertion.invalid("'options.context_transform' must be a path such as 'json.context' or 'vars.passages'")
    return jury_of(assertion, 0.0, OPTIONS)


async def _supported(
    jury: Jury, text: str, context: Sequence[str], answer: Answer, juror: Juror, asker: Asker
) -> Opinion:
    material = with_query(answer, {"text": text})
    claims = await put(ask_about(CLAIMS, material, lambda value: reading.texts(value, "claims")), juror, asker)
    if not claims:
        raise NotJudged("no_claims", "The text makes no claim that could follow from the context.")
    count = len(claims)
    material = {"context": "\n\n".join(context), "claims": _numbered(claims)}
    question = jury.question(SUPPORT, answer, material, lambda value: _support(value, count), rubric=text)
    supported, reason = await put(question, juror, asker)
    return _share(jury, supported, count, "claims follow from the context", reason)


def _support(value: Mapping[str, Any], count: int) -> tuple[int, str]:
    supported = reading.numbers_of(value, "supported", count)
    unsupported = reading.numbers_of(value, "unsupported", count)
    if supported & unsupported or len(supported) + len(unsupported) < count:
        raise reading.Unreadable(f"each of the numbers 1 to {count} must be in one of the two lists")
    return len(supported), reading.reason(value)


def _share(jury: Jury, part: int, whole: int, what: str, reason: str) -> Opinion:
    score = part / whole
    return Opinion(
        score >= jury.threshold - 1e-9, score, f"{part} of {whole} {what}. {reason}", "score_below_threshold"
    )


def _numbered(texts: Sequence[str]) -> str:
    return "\n".join(f"{i}. {text}" for i, text in enumerate(texts, 1))


def passages_of(assertion: Assertion, answer: Answer) -> list[str]:
    """Return the passages of the context; empty when there is none.

    They come from ``options.context``, from the place that ``options.context_transform`` names, or from the variable
    ``context``. A list is taken as it is; a text is split into sentences and lines.
    """
    path, given = assertion.options.get("context_transform"), assertion.options.get("context")
    if given is None:
        given = answer.variables.get("context") if path is None else _at(path, answer)
    parts = given if isinstance(given, list | tuple) else _SENTENCE_END.split(given) if isinstance(given, str) else []
    texts = [part if isinstance(part, str) else json.dumps(part, ensure_ascii=False) for part in parts]
    return [text.strip() for text in texts if text.strip()]


def _at(path: str, answer: Answer) -> Any:
    root, *names = path.split(".")
    if root == "vars":
        value: Any = answer.variables
    else:
        # As it was received: a transform of the assertion may have taken the context away.
        value = answer.generation.output
        if value is not None and (names or root == "json"):
            value = _json(value)
    for name in names:
        value = _part(value, name)
    return value


def _part(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name)
    if isinstance(value, list | tuple) and name.isdecimal() and len(name) < 7 and int(name) < len(value):
        return value[int(name)]
    return None


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return None
