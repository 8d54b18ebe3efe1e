"""What is asked: a card's settings in the words of Ollama's protocol."""

from __future__ import annotations

from typing import Any

from promptcard_ext.core.card import ModelSettings
from promptcard_ext.providers.body import merged, not_supported

_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "num_predict",
    "seed": "seed",
    "stop": "stop",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
_RESERVED = ("model", "messages", "stream")
# Ollama knows three efforts, and whether to think at all.
_THINK: dict[str, bool | str] = {
    "none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high"
}  # fmt: skip


def fields(settings: ModelSettings) -> dict[str, Any]:
    """Return the body without model and messages.

    Raises:
        ProviderError: A setting has no counterpart at Ollama, or ``extra`` names what is set already
            (``setting_not_supported``).
    """
    extra = dict(settings.extra)
    given = extra.pop("options", {})
    if not isinstance(given, dict):
        raise not_supported("options", "Ollama", "they must be a mapping")
    body: dict[str, Any] = {"stream": settings.stream, "options": merged(_options(settings), given, (), "Ollama")}
    if (wanted := _format(settings.response_format or {})) is not None:
        body["format"] = wanted
    if settings.tools:
        body["tools"] = settings.tools
    if settings.tool_choice not in (None, "auto"):
        raise not_supported("tool_choice", "Ollama", "its models choose for themselves ('auto')")
    if settings.reasoning_effort is not None:
        body["think"] = _think(settings.reasoning_effort)
    if settings.logprobs is not None:
        body["logprobs"] = settings.logprobs
    return merged(body, extra, _RESERVED, "Ollama")


def _options(settings: ModelSettings) -> dict[str, Any]:
    return {sent: value for name, sent in _OPTIONS.items() if (value := getattr(settings, name)) not in (None, ())}


def _format(wanted: dict[str, Any]) -> Any:
    if wanted.get("type") not in ("json_object", "json_schema"):
        return None
    schema = wanted.get("json_schema")
    return (schema.get("schema") if isinstance(schema, dict) else None) or "json"


def _think(effort: str) -> bool | str:
    if effort not in _THINK:
        raise not_supported("reasoning_effort", "Ollama", f"it takes {', '.join(_THINK)}")
    return _THINK[effort]
