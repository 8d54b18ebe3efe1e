"""The body of a request: what is the same for many calls is encoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.providers.json_text import to_json

_MOST = 64


class Bodies:
    """Bodies of requests by model and settings.

    Args:
        fields: Gives everything of a body but model and messages.
    """

    def __init__(self, fields: Callable[[ModelSettings], dict[str, Any]]) -> None:
        self._fields = fields
        self._heads: dict[tuple[str, int], tuple[ModelSettings, bytes]] = {}

    def of(self, model: str, settings: ModelSettings, messages: Sequence[Message]) -> bytes:
        """Return the JSON to send.

        Raises:
            ProviderError: A setting cannot be sent (``setting_not_supported``).
        """
        known = self._heads.get((model, id(settings)))
        # Settings hold mappings and have no hash; while one is kept here, nothing else has its id.
        head = known[1] if known is not None and known[0] is settings else self._head(model, settings)
        return b'%b,"messages":%b}' % (head, to_json(messages))

    def _head(self, model: str, settings: ModelSettings) -> bytes:
        head = to_json({"model": model, **self._fields(settings)})[:-1]
        if len(self._heads) >= _MOST:
            self._heads.clear()
        self._heads[model, id(settings)] = settings, head
        return head


def merged(fields: dict[str, Any], extra: dict[str, Any], reserved: Iterable[str], provider: str) -> dict[str, Any]:
    """Return ``fields`` with what a card gives beyond them.

    Raises:
        ProviderError: It would overwrite what the reading of the reply depends on, or what is set already
            (``setting_not_supported``).
    """
    for name in extra:
        if name in reserved or name in fields:
            raise not_supported(name, provider, "'extra' cannot overwrite it")
    return fields | extra


def not_supported(name: str, provider: str, why: str) -> ProviderError:
    """Return the error for a setting that a protocol cannot carry: leaving it out would be another experiment."""
    return ProviderError(
        f"The setting '{name:.60}' cannot be sent to {provider}: {why}.",
        code="setting_not_supported",
        sent=False,
        hint="Remove it from the card's settings, or take another provider.",
    )
