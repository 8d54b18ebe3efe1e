"""The assertion value, the registry of kinds and the way a result is judged."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

from msgspec import Meta, Struct

from promptcard_ext.core.errors import CardError
from promptcard_ext.core.fields import coerce_fields
from promptcard_ext.core.identity import canonical_json, digest
from promptcard_ext.core.results import Generation, Outcome, Verdict, all_of


class Finding(NamedTuple):
    """What a check found, before negation."""

    outcome: Outcome
    reason: str | None = None
    message: str = ""


PASSED = Finding(Outcome.PASS)
Check = Callable[[Generation], Finding]
Compiler = Callable[["Assertion"], Check]
_COMPILERS: dict[str, Compiler] = {}


class Assertion(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that must hold of an answer.

    Args:
        type: Kind, such as ``contains``; ``not-`` before it turns pass into fail and fail into pass, nothing else.
        value: What the kind compares with.
        threshold: Limit of the kinds that measure: milliseconds for ``latency``, USD for ``cost``.
        metric: Name under which results are grouped.

    Raises:
        CardError: The kind does not exist (``assertion_unknown``) or its value does not fit (``assertion_invalid``).
    """

    type: Annotated[str, Meta(min_length=1, max_length=60)]
    value: Any = None
    threshold: float | None = None
    metric: Annotated[str, Meta(max_length=100)] | None = None

    def __post_init__(self) -> None:
        coerce_fields(self, f"assertion '{self.type!s:.60}'")
        if self.kind not in _COMPILERS:
            close = difflib.get_close_matches(self.kind, _COMPILERS, 1)
            raise CardError(
                f"There is no assertion '{self.type}'.",
                hint=f"Did you mean '{self.type[: -len(self.kind)]}{close[0]}'?"
                if close
                else f"There are: {', '.join(kinds())}.",
                code="assertion_unknown",
            )
        compiled(self)

    @property
    def kind(self) -> str:
        """The type without ``not-``."""
        return self.type.removeprefix("not-")

    @property
    def negated(self) -> bool:
        """Whether the type begins with ``not-``."""
        return self.type.startswith("not-")

    @property
    def uid(self) -> str:
        """Identity of what is asserted: SHA-256 of type, value and threshold."""
        return digest([self.type, self.value, self.threshold])

    def invalid(self, problem: str) -> CardError:
        """Return the error that says why this specification cannot be used."""
        return CardError(f"Assertion '{self.type}': {problem}.", code="assertion_invalid")


def register(name: str) -> Callable[[Compiler], Compiler]:
    """Register a compiler for an assertion kind (decorator)."""

    def add(compiler: Compiler) -> Compiler:
        _COMPILERS[name] = compiler
        return compiler

    return add


def kinds() -> list[str]:
    """Return the names of all assertion kinds."""
    return sorted(_COMPILERS)


class Compiled(NamedTuple):
    """An assertion ready to judge."""

    assertion: Assertion
    uid: str
    check: Check


_CACHE: dict[tuple[str, str | None], Compiled] = {}
_CACHE_SIZE = 4096


def compiled(assertion: Assertion) -> Compiled:
    """Return the assertion compiled; equal ones (thousands of cases share a schema) are compiled once.

    Raises:
        CardError: Its value does not fit its kind (``assertion_invalid``).
    """
    try:
        key = (canonical_json([assertion.type, assertion.value, assertion.threshold]), assertion.metric)
    except (TypeError, ValueError, RecursionError):
        raise assertion.invalid("its value is not JSON") from None
    found = _CACHE.get(key)
    if found is None:
        if len(_CACHE) >= _CACHE_SIZE:
            _CACHE.clear()
        found = _CACHE[key] = Compiled(assertion, assertion.uid, _COMPILERS[assertion.kind](assertion))
    return found


def judge(assertions: Sequence[Compiled], generation: Generation) -> tuple[Outcome, tuple[Verdict, ...]]:
    """Judge one generation by all its assertions.

    Returns:
        The outcome of the item (see `all_of`) and one verdict per assertion, in order.
    """
    verdicts = tuple(_judge_one(one, generation) for one in assertions)
    return all_of(verdict.outcome for verdict in verdicts), verdicts


def _judge_one(one: Compiled, generation: Generation) -> Verdict:
    assertion = one.assertion
    try:
        finding = one.check(generation)
    except Exception as error:  # noqa: BLE001  A broken check is our error; it must not look like a failed answer.
        finding = Finding(Outcome.ERROR, "assertion_crashed", f"{type(error).__name__}: {error!s:.300}")
    outcome = finding.outcome
    if assertion.negated:
        outcome = outcome.negated()
    if outcome is finding.outcome:
        return Verdict(one.uid, assertion.type, outcome, finding.reason, finding.message, None, assertion.metric)
    reason = None if outcome is Outcome.PASS else f"{assertion.kind}_held"
    message = "" if outcome is Outcome.PASS else f"'{assertion.kind}' holds, and it should not."
    return Verdict(one.uid, assertion.type, outcome, reason, message, None, assertion.metric)
