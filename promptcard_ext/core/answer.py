"""An answer as assertions see it: the text, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.results import Generation


class Answer(NamedTuple):
    """What is judged.

    Attributes:
        output: The text; None when there is none. After a ``transform`` it is what the transform made of it.
        generation: The answer as it was received, with latency, cost, tool calls and finish reason.
        variables: Of the case, defaults included.
        messages: The prompt that was answered.
        settings: With the tools that the model was offered.
        variant: Renders the prompt with other values for some variables; None where the prompt is not known any more.
    """

    output: str | None
    generation: Generation
    variables: Mapping[str, Any]
    messages: tuple[Message, ...] = ()
    settings: ModelSettings = ModelSettings()
    variant: Any = None
