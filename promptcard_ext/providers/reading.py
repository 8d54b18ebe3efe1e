"""From a body to the JSON object it should be."""

from __future__ import annotations

from typing import Any

from promptcard_ext.providers.http import Received
from promptcard_ext.providers.json_text import read
from promptcard_ext.providers.refusal import Refusal


def as_object(received: Received, refusal: Refusal) -> tuple[dict[str, Any], bool]:
    """Return the body as a mapping, and whether nothing of it was lost in reading.

    Raises:
        ProviderError: It is not a JSON object, or holds an error.
    """
    try:
        value, whole = read(received.raw, received.content_type)
    except (ValueError, RecursionError):
        raise refusal.broken("the reply is not JSON", received.raw) from None
    if not isinstance(value, dict):
        raise refusal.broken("the reply is not a JSON object", received.raw)
    if value.get("error"):
        raise refusal.in_reply(value, received.raw)
    return value, whole
