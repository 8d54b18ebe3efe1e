"""What is asked: a card's settings in the words of OpenAI's protocol."""

from __future__ import annotations

from typing import Any

from promptcard_ext.core.card import ModelSettings
from promptcard_ext.providers.body import merged

# Sent under their own names; what is not set is not sent.
_AS_THEY_ARE = (
    "temperature",
    "top_p",
    "seed",
    "stop",
    "response_format",
    "tools",
    "tool_choice",
    "presence_penalty",
    "frequency_penalty",
    "reasoning_effort",
    "logprobs",
)
# Reading the reply depends on these; of several choices (``n``) only one would be kept of those that were paid for.
_RESERVED = ("model", "messages", "stream", "stream_options", "n")


def fields(settings: ModelSettings, max_tokens_field: str) -> dict[str, Any]:
    """Return the body without model and messages.

    Raises:
        ProviderError: ``extra`` names what is set already or may not be set (``setting_not_supported``).
    """
    body = {name: value for name in _AS_THEY_ARE if (value := getattr(settings, name)) not in (None, ())}
    if settings.max_tokens is not None:
        body[max_tokens_field] = settings.max_tokens
    if settings.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return merged(body, settings.extra, _RESERVED, "the OpenAI protocol")
