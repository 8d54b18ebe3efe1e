"""What there is to see of an answer: its text, its tool calls, or a reply that nobody could read."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from promptcard_ext.core.results import Generation

MAX_CALLS = 20
MAX_CALL_CHARS = 400


class SeenAnswer(NamedTuple):
    """Texts for a reader, none of which anybody trusts.

    Attributes:
        text: What the model wrote; None when it wrote no text.
        calls: Its tool calls, such as ``get_weather({"city": "Bonn"})``; at most 20, each cut at 400 characters.
        more_calls: How many calls there are beside these.
        raw: A reply that could not be read, or only in part, as it was received.
    """

    text: str | None
    calls: tuple[str, ...] = ()
    more_calls: int = 0
    raw: str | None = None


def seen_answer(generation: Generation | None) -> SeenAnswer:
    """Return what there is to see of an answer.

    Example:
        >>> said = [{"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}]
        >>> seen_answer(Generation("p", "m", "h", None, 1.0, tool_calls=said)).calls
        ('add({"a": 1})',)
    """
    if generation is None:
        return SeenAnswer(None)
    calls = _calls(generation)
    return SeenAnswer(generation.output, tuple(calls[:MAX_CALLS]), max(0, len(calls) - MAX_CALLS), generation.raw)


def _calls(generation: Generation) -> list[str]:
    if not generation.tool_calls:
        return []
    from promptcard_ext.core.answer import Answer
    from promptcard_ext.core.assertions.tools import calls_of

    found = calls_of(Answer(generation.output, generation, {}))
    if not found:
        return [_json(generation.tool_calls)[:MAX_CALL_CHARS]]
    return [f"{call.name or '?'}({_arguments(call.arguments)})"[:MAX_CALL_CHARS] for call in found]


def _arguments(value: Any) -> str:
    return value if isinstance(value, str) else "" if value in (None, {}) else _json(value)


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
