"""Functions of the user's own program as assertions: the decorator ``check``."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from promptcard_ext.core.assertions.base import Assertion
from promptcard_ext.core.identity import canonical_json

PREFIX = "check:"


class CheckMissing(Exception):
    """A function that an assertion names is not there."""


class PythonCheck:
    """A function that judges answers; calling it calls the function.

    Attributes:
        reference: Its identity: module, name and a hash of its source and of what it took from around it (as far as
            that is JSON). With another source it is another check, and results of the two are not taken for the same.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        # For `inspect.signature`, and for who wants the plain function.
        self.__wrapped__ = function
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self.reference = f"{PREFIX}{function.__module__}:{function.__qualname__}@{_source_hash(function)}"

    def __call__(self, *arguments: Any) -> Any:
        return self.__wrapped__(*arguments)

    def assertion(
        self,
        *,
        threshold: float | None = None,
        metric: str | None = None,
        weight: float = 1.0,
        transform: str | None = None,
        options: Mapping[str, Any] | None = None,
        negated: bool = False,
    ) -> Assertion:
        """Return the assertion that this function says yes (``negated``: no) to an answer.

        Args:
            options: What the function finds as ``context["config"]``; the others as for `Assertion`.
        """
        kind = "not-python" if negated else "python"
        return Assertion(kind, self.reference, threshold, metric, weight, None, transform, None, dict(options or {}))

    def __repr__(self) -> str:
        return f"<check {self.reference.removeprefix(PREFIX)}>"


_registered: dict[str, PythonCheck] = {}


def check(function: Callable[..., Any]) -> PythonCheck:
    """Make a function of ``output``, or of ``output`` and ``context``, usable as an assertion (decorator).

    It returns true or false, a score from 0 to 1, or a mapping with ``pass``, ``score`` and ``reason``. It runs in this
    process, never on a worker; a run that is resumed in another process needs the module that defines it.

    Example:
        >>> @check
        ... def short(output):
        ...     return len(output) < 20
        >>> short("brief"), short.assertion(metric="length").type
        (True, 'python')
    """
    made = PythonCheck(function)
    _registered[made.reference] = made
    return made


def registered(reference: str) -> PythonCheck:
    """Return the function with this reference.

    Raises:
        CheckMissing: This process has none, or one with other source.
    """
    found = _registered.get(reference)
    if found is not None:
        return found
    name = reference.removeprefix(PREFIX).partition("@")[0]
    if any(known.startswith(f"{PREFIX}{name}@") for known in _registered):
        raise CheckMissing(f"The source of check {name:.200} is not what it was when the assertion was made.")
    raise CheckMissing(f"There is no check {name:.200} in this process: import the module that defines it first.")


def _source_hash(function: Callable[..., Any]) -> str:
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        # Typed into an interpreter that keeps no source: its instructions and constants.
        code = function.__code__
        source = repr((code.co_code, [c for c in code.co_consts if not inspect.iscode(c)], code.co_names))
    source += repr([_told(value) for value in _captured(function)])
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _captured(function: Callable[..., Any]) -> list[Any]:
    """Return the values that make two functions of the same source different ones: closure and defaults."""
    values = [getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None)]
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # not filled yet: a function that calls itself
            values.append(cell.cell_contents)
    return values


def _told(value: Any) -> str:
    try:
        return canonical_json(value)
    except (TypeError, ValueError, RecursionError):
        return type(value).__qualname__
