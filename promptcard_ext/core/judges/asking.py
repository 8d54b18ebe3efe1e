"""Puts a question to a judge: schema where the model takes one, one repair, and then no judgement."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.judges.prompts import REPAIR, Prompt
from promptcard_ext.core.judges.question import NotJudged, Question
from promptcard_ext.core.judges.reading import Unreadable, excerpt, judgement
from promptcard_ext.core.ports import Asker
from promptcard_ext.core.results import Generation

T = TypeVar("T")
MAX_QUOTED_CHARS = 4_000


class Juror(NamedTuple):
    """One seat on a panel: a model reference, and which of its answers counts when it has several seats."""

    model: str
    repeat: int = 0


async def together(asked: Iterable[Awaitable[T]]) -> list[T]:
    """Wait for all, in order; only then raise the first exception: a call that is made is paid for and counted."""
    found = await asyncio.gather(*asked, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return found  # type: ignore[return-value]


async def put(question: Question[T], juror: Juror, asker: Asker) -> T:
    """Return what a judge makes of a question.

    Raises:
        NotJudged: Its answer has no text (``judge_no_text``), or cannot be read even after it was asked to correct it
            (``judge_parse_error``).
        ProviderError: The call failed.
    """
    answered = await _text(question.prompt, question.messages, juror, asker)
    try:
        return question.read(judgement(answered, question.material))
    except Unreadable as problem:
        repair = REPAIR.format(problem=problem, shape=question.prompt.shape)
    quoted = Message("assistant", answered[:MAX_QUOTED_CHARS])
    again = await _text(question.prompt, (*question.messages, quoted, Message("user", repair)), juror, asker)
    try:
        return question.read(judgement(again, question.material))
    except Unreadable as problem:
        message = f"The answer of judge {juror.model} cannot be used: {problem}. It said: {excerpt(again)}"
        raise NotJudged("judge_parse_error", message) from None


async def _text(prompt: Prompt, messages: tuple[Message, ...], juror: Juror, asker: Asker) -> str:
    generation = await _generation(prompt, messages, juror, asker)
    if generation.finish_reason in _DECLINED:
        raise NotJudged("judge_no_text", f"Judge {juror.model} declined to answer ({generation.finish_reason}).")
    if generation.output is None or not generation.output.strip():
        raise NotJudged("judge_no_text", f"Judge {juror.model} answered without text.")
    return generation.output


_DECLINED = frozenset({"content_filter", "refusal"})

# What a model may refuse, in the order in which it is left out. Reasoning models refuse a temperature, and say so.
_LADDER: tuple[frozenset[str], ...] = (
    frozenset(),
    frozenset({"response_format"}),
    frozenset({"temperature"}),
    frozenset({"response_format", "temperature"}),
)
_refused: dict[str, frozenset[str]] = {}


async def _generation(prompt: Prompt, messages: tuple[Message, ...], juror: Juror, asker: Asker) -> Generation:
    known = _refused.get(juror.model, _LADDER[0])
    errors: list[ProviderError] = []
    for left_out in (known, *(rung for rung in _LADDER if rung != known)):
        if errors and not _may_help(left_out, errors):
            continue
        settings = _settings(prompt, left_out)
        try:
            found = await asker.ask(juror.model, messages, settings, purpose="judge", repeat=juror.repeat)
        except ProviderError as error:
            if error.code not in _NOT_TAKEN:
                raise
            errors.append(error)
        else:
            _refused[juror.model] = left_out
            return found
    raise errors[0]


# A replay has no record of the call that was refused, only of the one that was answered.
_NOT_TAKEN = frozenset({"provider_refused", "not_recorded"})


def _may_help(left_out: frozenset[str], errors: Sequence[ProviderError]) -> bool:
    if "temperature" not in left_out or errors[0].code == "not_recorded":
        return True
    return any("temperature" in str(error).lower() for error in errors)


def _settings(prompt: Prompt, left_out: frozenset[str]) -> ModelSettings:
    return ModelSettings(
        temperature=None if "temperature" in left_out else 0.0,
        response_format=None if "response_format" in left_out else prompt.response_format,
    )
