"""The specification of a metamorphic assertion: which changes, and what must stay the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from promptcard_ext.core import relations
from promptcard_ext.core.assertions.base import Assertion
from promptcard_ext.core.metamorphic import TRANSFORMS
from promptcard_ext.core.relations import Relation

MAX_VARIANTS = 50
_FIELDS = ("transforms", "relation", "labels", "variables", "runs")


class Variant(NamedTuple):
    """One change of the prompt: a transform, how it is set, and the how-manieth of its kind it is."""

    transform: str
    parameters: Mapping[str, Any]
    number: int


class Plan(NamedTuple):
    """What is changed and compared; ``variables`` None are all."""

    variants: tuple[Variant, ...]
    relation: Relation
    variables: tuple[str, ...] | None


def variants_of(value: Any) -> int:
    """Return the greatest number of changed prompts that a ``value`` asks for, as far as it can be told."""
    given = value if isinstance(value, Mapping) else {"transforms": value}
    listed, runs = given.get("transforms"), given.get("runs", 1)
    names = [_name(one) for one in ([listed] if isinstance(listed, str | Mapping) else listed or TRANSFORMS)]
    return sum(runs if name in TRANSFORMS and TRANSFORMS[name].random else 1 for name in names)


def _name(transform: Any) -> str:
    return str(next(iter(transform), "")) if isinstance(transform, Mapping) else str(transform)


def plan_of(assertion: Assertion) -> Plan:
    """Return what an assertion asks for.

    Raises:
        CardError: Something in ``value`` does not fit (``assertion_invalid``).
    """
    value = assertion.value
    fields = value if isinstance(value, Mapping) else {"transforms": value}
    for name in fields:
        if name not in _FIELDS:
            raise assertion.invalid(f"'value' has no field {name!r:.60}; there are {', '.join(_FIELDS)}")
    return Plan(_variants(assertion, fields), _relation(assertion, fields), _variables(assertion, fields))


def _variants(assertion: Assertion, fields: Mapping[str, Any]) -> tuple[Variant, ...]:
    runs = fields.get("runs", 1)
    if not isinstance(runs, int) or isinstance(runs, bool) or runs < 1:
        raise assertion.invalid("'runs' must be a whole number of 1 or more")
    listed = fields.get("transforms")
    listed = list(TRANSFORMS) if listed is None else [listed] if isinstance(listed, str | Mapping) else listed
    if not isinstance(listed, list | tuple) or not listed:
        raise assertion.invalid(
            "'transforms' must be a list of names, such as typo, or of mappings, such as {typo: {rate: 0.2}}"
        )
    found = [_parsed(assertion, one) for one in listed]
    total = sum(runs if TRANSFORMS[name].random else 1 for name, _ in found)
    if total > MAX_VARIANTS:
        raise assertion.invalid(f"it makes {total:,} changed prompts for each answer; the limit is {MAX_VARIANTS}")
    return tuple(
        Variant(name, parameters, number)
        for name, parameters in found
        for number in range(runs if TRANSFORMS[name].random else 1)
    )


def _parsed(assertion: Assertion, given: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(given, str):
        given = {given: {}}
    if not isinstance(given, Mapping) or len(given) != 1:
        raise assertion.invalid(f"{given!r:.60} is not a transform: give a name, or a mapping of one name to settings")
    ((name, parameters),) = given.items()
    if name not in TRANSFORMS:
        raise assertion.invalid(f"there is no transform {name!r:.60}; there are {', '.join(TRANSFORMS)}")
    if not isinstance(parameters, Mapping):
        raise assertion.invalid(f"the settings of transform '{name}' must be a mapping")
    for setting, value in parameters.items():
        _check_setting(assertion, name, setting, value)
    return name, parameters


def _check_setting(assertion: Assertion, name: str, setting: str, value: Any) -> None:
    allowed = TRANSFORMS[name].parameters.get(setting)
    if allowed is None:
        known = ", ".join(TRANSFORMS[name].parameters)
        raise assertion.invalid(f"transform '{name}' has no setting {setting!r:.60}; there is {known}")
    if isinstance(allowed[0], str):
        if value not in allowed:
            raise assertion.invalid(f"'{setting}' of transform '{name}' must be one of {', '.join(allowed)}")
    elif not isinstance(value, int | float) or isinstance(value, bool) or not allowed[0] <= value <= allowed[1]:
        raise assertion.invalid(f"'{setting}' of transform '{name}' must be from {allowed[0]:g} to {allowed[1]:g}")


def _relation(assertion: Assertion, fields: Mapping[str, Any]) -> Relation:
    name, labels = fields.get("relation", "same_label"), fields.get("labels", ())
    if name not in relations.NAMES:
        raise assertion.invalid(f"there is no relation {name!r:.60}; there are {', '.join(relations.NAMES)}")
    if not isinstance(labels, list | tuple) or not all(isinstance(one, str) and one.strip() for one in labels):
        raise assertion.invalid("'labels' must be a list of texts that are not empty")
    if labels and name != "same_label":
        raise assertion.invalid("'labels' are for the relation same_label")
    return relations.relation(name, tuple(labels))


def _variables(assertion: Assertion, fields: Mapping[str, Any]) -> tuple[str, ...] | None:
    names = fields.get("variables")
    if names is None:
        return None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise assertion.invalid("'variables' must be a list of names")
    return tuple(dict.fromkeys(names))
