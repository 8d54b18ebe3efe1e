"""From a model reference such as ``ollama:llama3.2`` to the provider that answers."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable
from functools import cache
from importlib import metadata
from typing import Any

from promptcard_ext.core.errors import ProviderError, UnknownModel
from promptcard_ext.core.ports import Provider

GROUP = "promptcards.providers"


@cache
def provider_names() -> tuple[str, ...]:
    """Return the names of all installed providers (entry points ``promptcards.providers``)."""
    return tuple(sorted({entry.name for entry in metadata.entry_points(group=GROUP)}))


@cache
def _factory(name: str) -> Callable[..., Provider]:
    for entry in metadata.entry_points(group=GROUP, name=name):
        return entry.load()  # type: ignore[no-any-return]
    close = difflib.get_close_matches(name, provider_names(), 1, cutoff=0.75)
    raise UnknownModel(
        f"There is no provider '{name:.60}'.",
        code="unknown_provider",
        hint=f"Did you mean '{close[0]}'?" if close else f"There are: {', '.join(provider_names())}.",
    )


def model(reference: str) -> tuple[str, str]:
    """Split a reference into provider and model, checking that the provider exists.

    Raises:
        UnknownModel: It has no colon, no model, a character that cannot be printed, or names no installed provider.

    Example:
        >>> model("ollama:llama3.2:1b")
        ('ollama', 'llama3.2:1b')
    """
    provider, colon, name = reference.partition(":")
    if not colon or not name.strip() or not provider or not reference.isprintable():
        raise UnknownModel(
            f"{reference!r:.80} is not a model reference.",
            hint=f"Write PROVIDER:MODEL; providers are {', '.join(provider_names())}.",
        )
    factory = _factory(provider)
    check = getattr(factory, "check_model", None)
    if check is not None:
        check(name)
    return provider, name


class Providers:
    """The providers of one event loop, one connection pool each.

    Args:
        options: Per provider, what its constructor takes: ``{"openai": {"base_url": …}}``.
    """

    def __init__(self, options: dict[str, dict[str, Any]] | None = None) -> None:
        self._options = options or {}
        self._open: dict[str, Provider] = {}

    def __call__(self, reference: str) -> Provider:
        """Return the provider of a model reference.

        Raises:
            UnknownModel: As `model` says.
        """
        name, _ = model(reference)
        if name not in self._open:
            self._open[name] = _factory(name)(**self._options.get(name, {}))
        return self._open[name]

    async def close(self) -> None:
        """Close the connections of all of them."""
        for provider in self._open.values():
            await provider.close()
        self._open.clear()


async def reachable_models(timeout_s: float = 5.0) -> dict[str, list[str] | ProviderError]:
    """Ask every provider for its models, all at once.

    Returns:
        For each provider its models, or the error that says why there are none.
    """

    async def ask(name: str) -> list[str] | ProviderError:
        provider: Provider = _factory(name)()
        try:
            async with asyncio.timeout(timeout_s):
                return await provider.list_models()
        except ProviderError as error:
            return error
        except TimeoutError:
            return ProviderError(
                f"{name} at {provider.endpoint} did not answer within {timeout_s:g} s.", code="timeout"
            )
        except Exception as error:  # noqa: BLE001  A provider may come from anybody; the others still answer.
            return ProviderError(f"{name} broke: {type(error).__name__}: {error!s:.300}", code="provider_crashed")
        finally:
            await provider.close()

    names = provider_names()
    return dict(zip(names, await asyncio.gather(*(ask(name) for name in names)), strict=True))
