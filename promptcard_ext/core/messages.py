"""Chat messages, and examples that stand before the question."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from promptcard_ext.core.template_language import MAX_TEMPLATE_CHARS

Role = Literal["system", "user", "assistant"]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEMPLATE_CHARS)]


class Message(Struct, frozen=True, forbid_unknown_fields=True):
    """One chat message: in a card its content is a template, on the way to the model a text.

    Attributes:
        role: Who says it.
        content: What is said.
    """

    role: Role
    content: str


class Example(Struct, frozen=True, forbid_unknown_fields=True):
    """A question and the answer that would be right; both are templates.

    Attributes:
        user: The question.
        assistant: The answer.
    """

    user: Text
    assistant: Text
