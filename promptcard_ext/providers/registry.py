"""From a model reference such as ``ollama:llama3.2`` to the provider that answers.

A reference may name one of several connections to a provider: ``openai/eu:gpt-4.1``. The name is what the connection
was saved under in the workspace, or the key of ``providers=`` in library mode. It stands after a slash and not after
``@``, which in a price book says at which address a price holds.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import metadata
from typing import Any

from promptcard_ext.core.errors import ProviderError, UnknownModel
from promptcard_ext.core.ports import Provider

GROUP = "promptcards.providers"
Options = dict[str, Any]


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


def preload() -> None:
    """Import all installed providers: whoever forks does it once, and not each child for itself."""
    for name in provider_names():
        with suppress(Exception):  # one that breaks is the end of the calls that name it, not of this process
            _factory(name)


@cache
def takes_credentials(name: str) -> bool:
    """Tell whether a provider can be given an address, a key and a guard: its constructor takes all three.

    Raises:
        UnknownModel: There is no such provider (``unknown_provider``).
    """
    return {"base_url", "api_key", "guard"} <= inspect.signature(_factory(name)).parameters.keys()


@cache
def takes_batches(name: str) -> bool:
    """Tell whether a provider takes calls that can wait, many at once.

    Raises:
        UnknownModel: There is no such provider (``unknown_provider``).
    """
    return hasattr(_factory(name), "batches")


def public_url(name: str) -> str | None:
    """Return the address of a provider that everybody calls at the same place, or None."""
    return getattr(_factory(name), "public_url", None)


def connection(reference: str) -> str:
    """Return what comes before the model: the provider, with the name of a connection where there is one.

    Example:
        >>> connection("openai/eu:gpt-4.1"), connection("ollama:llama3.2:1b")
        ('openai/eu', 'ollama')
    """
    return reference.partition(":")[0]


def open_provider(name: str, options: Options) -> Provider:
    """Return a new provider; it belongs to whoever asked, who closes it.

    Raises:
        UnknownModel: There is no such provider (``unknown_provider``).
    """
    return _factory(name)(**options)


def model(reference: str) -> tuple[str, str]:
    """Split a reference into provider and model, checking that the provider exists.

    Raises:
        UnknownModel: It has no colon, no model, a character that cannot be printed, or names no installed provider.

    Example:
        >>> model("ollama:llama3.2:1b")
        ('ollama', 'llama3.2:1b')
    """
    before, colon, name = reference.partition(":")
    provider, slash, connected = before.partition("/")
    if not colon or not name.strip() or not provider or (slash and not connected) or not reference.isprintable():
        raise UnknownModel(
            f"{reference!r:.80} is not a model reference.",
            hint=f"Write PROVIDER:MODEL or PROVIDER/CONNECTION:MODEL; providers are {', '.join(provider_names())}.",
        )
    factory = _factory(provider)
    check = getattr(factory, "check_model", None)
    if check is not None:
        check(name)
    return provider, name


class Providers:
    """The providers of one event loop, one connection pool for each connection.

    Args:
        options: What the constructors take, by provider or connection: ``{"openai": {"base_url": …}}``; or a function
            that returns it, and raises `ProviderError` for a connection that there is not.
    """

    def __init__(self, options: dict[str, Options] | Callable[[str], Options] | None = None) -> None:
        self._options_of = options if callable(options) else _chosen_from(options or {})
        self._open: dict[str, Provider] = {}

    def __call__(self, reference: str) -> Provider:
        """Return the provider of a model reference.

        Raises:
            UnknownModel: As `model` says; or there is no connection of that name (``credential_missing``).
        """
        name, _ = model(reference)
        wanted = connection(reference)
        if wanted not in self._open:
            self._open[wanted] = open_provider(name, self._options_of(wanted))
        return self._open[wanted]

    async def close(self) -> None:
        """Close the connections of all of them."""
        for provider in self._open.values():
            await provider.close()
        self._open.clear()


def _chosen_from(options: dict[str, Options]) -> Callable[[str], Options]:
    def choose(wanted: str) -> Options:
        if "/" in wanted and wanted not in options:
            raise UnknownModel(
                f"There is no connection '{wanted:.100}'.",
                hint="Give it an address: providers={'openai/NAME': {'base_url': …}}.",
                code="credential_missing",
            )
        return options.get(wanted, {})

    return choose


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
