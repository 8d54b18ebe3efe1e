"""Variables of a card: their types, limits and defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from promptcard_ext.core import pattern as patterns
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.fields import coerce_fields

Identifier = Annotated[str, Meta(pattern=r"^[a-zA-Z][a-zA-Z0-9_]*\Z", max_length=100)]
VariableType = Literal["string", "integer", "number", "boolean", "enum", "list", "json", "datetime", "secret"]
ItemType = Literal["string", "integer", "number", "boolean", "datetime"]
Count = Annotated[int, Meta(ge=0)]
SECRET = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]{0,199})")
_LONGEST_DATETIME = 40


class Variable(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """A declared variable of a card.

    Args:
        description: For people.
        name: Letters, digits and underscores, starting with a letter.
        type: Type that a value must have; values are checked, never converted.
        default: Used when a case gives no value; unset means that every case must.
        values: Of an ``enum``.
        trust: ``untrusted`` for what strangers write (documents, messages of customers): it should not be used in a
            system message.
        min_length, max_length: Fewest and most characters of a ``string``.
        pattern: What the whole of a ``string`` must match (RE2).
        minimum, maximum: Least and greatest ``integer``, ``number`` or ``datetime``.
        min_items, max_items: Fewest and most items of a ``list``.
        items: Type of every item of a ``list``.
        schema: JSON Schema (2020-12) of a ``json``.

    Raises:
        CardError: The declaration makes no sense (``variable_limits``, ``variable_values``), or the default does not
            fit it.

    Example:
        >>> Variable("n", "integer", minimum=1).check(0, "case 'a'")
        Traceback (most recent call last):
        promptcard_ext.core.errors.CardError: Variable 'n' of case 'a' is 0, less than 1.
    """

    name: Identifier
    type: VariableType = "string"
    description: Annotated[str, Meta(max_length=500)] = ""
    default: Any = msgspec.UNSET
    values: tuple[str, ...] = ()
    trust: Literal["trusted", "untrusted"] = "trusted"
    min_length: Count | None = None
    max_length: Count | None = None
    pattern: str | None = None
    minimum: int | float | str | None = None
    maximum: int | float | str | None = None
    min_items: Count | None = None
    max_items: Count | None = None
    items: ItemType | None = None
    schema: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        coerce_fields(self, f"variable '{self.name!s:.60}'")
        if self.type == "enum" and not self.values:
            raise CardError(f"Variable '{self.name}' is an enum without 'values'.", code="variable_values")
        self._check_limits()
        if self.default is not msgspec.UNSET:
            self.check(self.default, "the card (its default)")

    def _check_limits(self) -> None:
        for field, types in _LIMITS.items():
            if getattr(self, field) is not None and self.type not in types:
                raise self.invalid(f"'{field}' is for {' and '.join(types)}, and it is of type {self.type}")
        for least, most in (("min_length", "max_length"), ("minimum", "maximum"), ("min_items", "max_items")):
            low, high = self._limit(least), self._limit(most)
            if low is not None and high is not None and low > high:
                raise self.invalid(f"'{least}' is above '{most}'")
        if self.pattern is not None:
            try:
                patterns.compile_re2(self.pattern)
            except patterns.PatternInvalid as error:
                raise self.invalid(str(error)) from None
        if self.schema is not None:
            _ = self._validator

    def _limit(self, field: str) -> Any:
        limit = getattr(self, field)
        if self.type != "datetime" or limit is None:
            if isinstance(limit, str):
                raise self.invalid(f"'{field}' must be a number")
            return limit
        if (moment := parse_datetime(limit)) is None:
            raise self.invalid(f"'{field}' must be a date and time in ISO 8601, such as 2025-01-31T12:00:00Z")
        return moment

    def invalid(self, problem: str) -> CardError:
        """Return the error that says why this declaration cannot be used."""
        return CardError(f"Variable '{self.name}': {problem}.", code="variable_limits")

    def check(self, value: Any, where: str) -> None:
        """Check that ``value`` fits.

        Args:
            where: What gives the value, for the message: ``case 'first'``.

        Raises:
            CardError: It is of another type (``variable_type``) or outside of the limits (``variable_value``).
        """
        if not _FITS[self.type](value) or (self.type == "enum" and value not in self.values):
            raise self._wrong_type(value, where)
        for wrong in self._rules:
            if (problem := wrong(value)) is not None:
                raise CardError(
                    f"Variable '{self.name}' of {where} {problem}.", code="variable_value", hint=self.description
                )

    def _wrong_type(self, value: Any, where: str) -> CardError:
        if self.type == "secret":
            # Whatever was given may be the secret itself: it is not repeated.
            problem = "is not a reference to a secret, such as env:API_TOKEN (its value is never given)"
        elif self.type == "enum":
            problem = f"is {value!r:.60}, not one of {', '.join(self.values):.500}"
        elif self.type == "datetime" and isinstance(value, str):
            problem = f"is {value!r:.60}, not a date and time in ISO 8601"
        else:
            problem = f"should be of type {self.type}, but is {type(value).__name__} {value!r:.60}"
        return CardError(f"Variable '{self.name}' of {where} {problem}.", code="variable_type")

    @cached_property
    def _rules(self) -> tuple[Callable[[Any], str | None], ...]:
        """What is checked besides the type; nothing for most variables, and this is on the way of every prompt."""
        rules = [make(self) for name, make in _RULES.items() if getattr(self, name) is not None]
        return tuple(rules)

    @cached_property
    def _validator(self) -> Any:
        # jsonschema takes a while to import; most cards need none of it.
        from promptcard_ext.core.assertions.schema import validator_for

        return validator_for(self, self.schema or {})


# -- types -----------------------------------------------------------------------------------------------------------


def parse_datetime(text: Any) -> datetime | None:
    """Return the moment that an ISO 8601 text names, or None; without an offset it is UTC.

    >>> parse_datetime("2025-01-31").isoformat()
    '2025-01-31T00:00:00+00:00'
    """
    if not isinstance(text, str) or len(text) > _LONGEST_DATETIME:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def reveal(reference: str, environment: Mapping[str, str]) -> str:
    """Return the value of a secret, for code of your own that needs it; nothing in this package calls it.

    Args:
        reference: Value of a ``secret`` variable, such as ``env:API_TOKEN``.
        environment: Where to look, such as ``os.environ``.

    Raises:
        CardError: It is no reference, or the environment has no such variable (``secret_missing``).
    """
    found = SECRET.fullmatch(reference)
    if found is None:
        raise CardError("What was given is not a reference to a secret, such as env:API_TOKEN.", code="secret_missing")
    if found[1] not in environment:
        raise CardError(
            f"The environment has no variable '{found[1]}', which a secret refers to.",
            code="secret_missing",
            hint="Set it where this program runs.",
        )
    return environment[found[1]]


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_FITS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": _is_integer,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "enum": lambda value: isinstance(value, str),
    "list": lambda value: isinstance(value, list | tuple),
    "json": lambda value: True,
    "datetime": lambda value: parse_datetime(value) is not None,
    "secret": lambda value: isinstance(value, str) and SECRET.fullmatch(value) is not None,
}


# -- limits ----------------------------------------------------------------------------------------------------------

_Rule = Callable[[Any], str | None]
# Which limit is for which types.
_LIMITS: dict[str, tuple[str, ...]] = {
    "min_length": ("string",),
    "max_length": ("string",),
    "pattern": ("string",),
    "minimum": ("integer", "number", "datetime"),
    "maximum": ("integer", "number", "datetime"),
    "min_items": ("list",),
    "max_items": ("list",),
    "items": ("list",),
    "schema": ("json",),
}


def _at_least(field: str, unit: str) -> Callable[[Variable], _Rule]:
    def make(variable: Variable) -> _Rule:
        least = getattr(variable, field)
        return lambda value: f"has {len(value):,} {unit}, fewer than {least:,}" if len(value) < least else None

    return make


def _at_most(field: str, unit: str) -> Callable[[Variable], _Rule]:
    def make(variable: Variable) -> _Rule:
        most = getattr(variable, field)
        return lambda value: f"has {len(value):,} {unit}, more than {most:,}" if len(value) > most else None

    return make


def _comparable(variable: Variable, value: Any) -> Any:
    return parse_datetime(value) if variable.type == "datetime" else value


def _minimum(variable: Variable) -> _Rule:
    least = _comparable(variable, variable.minimum)

    def rule(value: Any) -> str | None:
        # Written so that NaN, which is neither, does not fit either.
        fits = _comparable(variable, value) >= least
        return None if fits else f"is {value!r:.60}, less than {variable.minimum}"

    return rule


def _maximum(variable: Variable) -> _Rule:
    most = _comparable(variable, variable.maximum)

    def rule(value: Any) -> str | None:
        fits = _comparable(variable, value) <= most
        return None if fits else f"is {value!r:.60}, more than {variable.maximum}"

    return rule


def _pattern(variable: Variable) -> _Rule:
    source = variable.pattern or ""

    def rule(value: Any) -> str | None:
        try:
            fits = patterns.matches_whole(source, value)
        except patterns.PatternTooCostly as error:
            return f"cannot be checked: {error}"
        return None if fits else f"is {value!r:.60}, which does not match {source!r:.80}"

    return rule


def _items(variable: Variable) -> _Rule:
    kind = variable.items or ""
    fits = _FITS[kind]

    def rule(value: Any) -> str | None:
        for index, item in enumerate(value):
            if not fits(item):
                return f"has {type(item).__name__} {item!r:.60} as item {index}, which should be of type {kind}"
        return None

    return rule


def _schema(variable: Variable) -> _Rule:
    def rule(value: Any) -> str | None:
        from promptcard_ext.core.assertions.schema import problem_of

        problem = problem_of(variable._validator, value)  # noqa: SLF001 - a function of this module
        return None if problem is None else f"does not fit its schema: {problem.rstrip('.')}"

    return rule


_RULES: dict[str, Callable[[Variable], _Rule]] = {
    "min_length": _at_least("min_length", "characters"),
    "max_length": _at_most("max_length", "characters"),
    "pattern": _pattern,
    "minimum": _minimum,
    "maximum": _maximum,
    "min_items": _at_least("min_items", "items"),
    "max_items": _at_most("max_items", "items"),
    "items": _items,
    "schema": _schema,
}
