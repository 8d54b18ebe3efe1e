"""The list of models of an endpoint that only our own guarded connections may reach."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from promptcard_ext.providers.http import Http
from promptcard_ext.providers.reading import as_object

_TIMEOUT_S = 5.0


async def models_of(http: Http, path: str, entries: str, name: str) -> list[str]:
    """Return the names of models, in order.

    Args:
        entries: Field of the reply that holds the list.
        name: Field of an entry that holds the name.

    Raises:
        ProviderError: It does not answer within 5 s, or with something else.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            received = await http.get(path)
    except TimeoutError as late:
        raise http.refusal.unreachable(late) from None
    value, _ = as_object(received, http.refusal)
    try:
        return sorted(_names(value[entries], name))
    except (TypeError, KeyError):
        raise http.refusal.broken("the list of models is not as it should be", received.raw) from None


def _names(entries: Any, name: str) -> Iterator[str]:
    for entry in entries:
        if not isinstance(found := entry[name], str):
            raise TypeError
        if found:
            yield found
