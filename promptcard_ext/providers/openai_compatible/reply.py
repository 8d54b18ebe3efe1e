"""What was answered: a chat completion in one piece, as a `Reply`."""

from __future__ import annotations

from typing import Any

from promptcard_ext.core.ports import Reply
from promptcard_ext.core.results import Tokens
from promptcard_ext.providers.fields import label, log_probabilities, text_of_content, token_count
from promptcard_ext.providers.http import Received
from promptcard_ext.providers.json_text import too_deep
from promptcard_ext.providers.rate_limit import quota
from promptcard_ext.providers.reading import as_object
from promptcard_ext.providers.refusal import Refusal


def reply(received: Received, latency_ms: float, refusal: Refusal) -> Reply:
    """Return a completion that came in one piece.

    Raises:
        ProviderError: It is not JSON, holds an error, or has no choice (``broken_reply``, ``provider_refused`` …).
    """
    value, whole = as_object(received, refusal)
    try:
        choice = value["choices"][0]
        message = choice["message"]
        content, calls = message.get("content"), message.get("tool_calls")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise refusal.broken("the reply has no choices", received.raw) from None
    finish = label(choice.get("finish_reason"))
    if not isinstance(content, str) or not content:
        content, finish, complete = _other_text(message, finish)
        whole = whole and complete and (content is not None or bool(calls))
    if calls and too_deep(calls):
        raise refusal.broken("the tool calls are nested too deeply", received.raw)
    return Reply(
        output=content,
        latency_ms=latency_ms,
        tokens=tokens(value.get("usage")),
        finish_reason=finish,
        model_reported=label(value.get("model")),
        fingerprint=label(value.get("system_fingerprint")),
        tool_calls=calls or None,
        logprobs=_logprobs(logs) if (logs := choice.get("logprobs")) else None,
        quota=quota(received.headers),
        raw=None if whole else refusal.excerpt(received.raw),
    )


def _other_text(message: dict[str, Any], finish: str | None) -> tuple[str | None, str | None, bool]:
    """Return text, finish reason and whether all was read, of a message whose content is no plain text."""
    text, complete = text_of_content(message.get("content"))
    refused = message.get("refusal")
    if not text and isinstance(refused, str) and refused:
        return refused, refused_finish(finish), complete
    return text, finish, complete


def refused_finish(finish: str | None) -> str | None:
    """Return the finish reason of an answer that is a refusal: the protocol says ``stop`` as of any other."""
    return "refusal" if finish in (None, "stop") else finish


def tokens(usage: Any) -> Tokens:
    """Return the counts that a reply reports; those that make no sense are unknown."""
    if not isinstance(usage, dict):
        return Tokens()
    prompt, completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    given, produced = token_count(usage.get("prompt_tokens")), token_count(usage.get("completion_tokens"))
    return Tokens(
        input=given,
        output=produced,
        # More from the cache than there was would make the price negative.
        cached=_part(prompt.get("cached_tokens"), given) if isinstance(prompt, dict) else None,
        reasoning=_part(completion.get("reasoning_tokens"), produced) if isinstance(completion, dict) else None,
    )


def _part(count: Any, whole: int | None) -> int | None:
    found = token_count(count)
    return found if found is not None and whole is not None and found <= whole else None


def _logprobs(value: Any) -> tuple[float, ...] | None:
    if not isinstance(value, dict):
        return None
    # llama.cpp's older server writes them as the completions of old did.
    return log_probabilities(value.get("content") or value.get("token_logprobs"))
