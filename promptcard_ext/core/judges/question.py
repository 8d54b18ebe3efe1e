"""A question to a judge: messages, the schema of the answer, and how to read it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from promptcard_ext.core import template
from promptcard_ext.core.card import Message
from promptcard_ext.core.judges.marks import marked, tag_of
from promptcard_ext.core.judges.prompts import FORMAT, JUDGE_VERSION, MARKS, Prompt

T = TypeVar("T")
MAX_MATERIAL_CHARS = 200_000
# What prompts written for promptfoo call the same things; a case's own variable of that name comes first, as there.
ALIASES = {
    "completion": "output",
    "answer": "output",
    "input": "query",
    "question": "query",
    "ideal": "reference",
    "statements": "claims",
}
_ROLES = ("system", "user", "assistant")


class NotJudged(Exception):
    """There is no judgement.

    Args:
        reason: Stable code.
        broken: Whether something broke; else nobody judged.
    """

    def __init__(self, reason: str, message: str, *, broken: bool = False) -> None:
        super().__init__(message)
        self.reason, self.broken = reason, broken


@dataclass(frozen=True)
class Question(Generic[T]):
    """What is put to a judge.

    Attributes:
        material: What the judge sees that somebody else wrote.
        read: Makes a judgement of the JSON object in the answer, or raises `Unreadable`.
    """

    prompt: Prompt
    messages: tuple[Message, ...]
    material: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], T]


class OwnPrompt(NamedTuple):
    """A prompt that a user wrote in place of ours: messages as role and template."""

    messages: tuple[tuple[str, template.Template], ...]

    def render(self, values: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return the messages.

        Raises:
            TemplateError: It uses a variable that is not there.
        """
        return tuple(Message(role, source.render(values)) for role, source in self.messages)  # type: ignore[arg-type]


def own_prompt(source: str | None) -> OwnPrompt | None:
    """Parse a user's prompt: a template, or a JSON list of messages whose contents are templates.

    Raises:
        TemplateError: A template in it does not parse.
    """
    if source is None:
        return None
    return OwnPrompt(tuple((role, template.parse(text, "the rubric_prompt")) for role, text in _messages(source)))


def _messages(source: str) -> list[tuple[str, str]]:
    # Read before it is rendered: a quote in an answer cannot break out of its message.
    if source.lstrip().startswith("["):
        try:
            found = json.loads(source)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, list) and found and all(_is_message(one) for one in found):
            return [(one["role"], one["content"]) for one in found]
    return [("user", source)]


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and value.get("role") in _ROLES and isinstance(value.get("content"), str)


def ask_about(
    prompt: Prompt,
    material: Mapping[str, str],
    read: Callable[[Mapping[str, Any]], T],
    own: OwnPrompt | None = None,
    variables: Mapping[str, Any] | None = None,
    terms: Mapping[str, Any] | None = None,
) -> Question[T]:
    """Return a question about some material.

    Args:
        material: Texts by name, each between marks; together at most 200,000 characters.
        own: The user's prompt, which stands in place of ours.
        variables: Of the case, for the user's prompt, which finds them by name and in ``vars``.
        terms: What else it finds there, such as the criterion without marks.

    Raises:
        NotJudged: The material is too long (``too_long_to_judge``).
        TemplateError: ``own`` uses a variable that is not there.
    """
    size = sum(map(len, material.values()))
    if size > MAX_MATERIAL_CHARS:
        message = f"There are {size:,} characters to judge; judges are asked about {MAX_MATERIAL_CHARS:,} at most."
        raise NotJudged("too_long_to_judge", message)
    tag = tag_of(JUDGE_VERSION, material)
    parts = {name: marked(name, text, tag) for name, text in material.items()}
    marks = MARKS.format(tag=tag)
    if own is None:
        system = f"{marks}\n\n{prompt.task}\n\n{FORMAT.format(shape=prompt.shape)}"
        messages: tuple[Message, ...] = (Message("system", system), Message("user", "\n\n".join(parts.values())))
    else:
        given = variables or {}
        aliases = {alias: parts[name] for alias, name in ALIASES.items() if name in parts}
        messages = _led_by(marks, own.render({**aliases, **given, "vars": given, **parts, **(terms or {})}))
    return Question(prompt, messages, tuple(material.values()), read)


def _led_by(marks: str, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    # One system message: some chat templates take no second one.
    if messages[0].role == "system":
        return (Message("system", f"{marks}\n\n{messages[0].content}"), *messages[1:])
    return (Message("system", marks), *messages)
