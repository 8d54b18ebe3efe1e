"""From tests to cases: combinations, judges and transforms of the test, tests that are there twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from promptcard_ext.core import template
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.base import needs
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError, TemplateError
from promptcard_ext.interchange.promptfoo.assertions import Surroundings, read_assertions, rubric_prompt
from promptcard_ext.interchange.promptfoo.cards import PREFIX, SUFFIX
from promptcard_ext.interchange.promptfoo.expressions import transform_template
from promptcard_ext.interchange.promptfoo.node import Node
from promptcard_ext.interchange.promptfoo.templates import uses_template
from promptcard_ext.interchange.promptfoo.tests import MAX_TESTS, Test
from promptcard_ext.interchange.promptfoo.variables import combinations, composed, fitting_names

MAX_NAME = 255


class Suite(NamedTuple):
    """What all tests share.

    Attributes:
        around: For the assertions.
        default: The ``defaultTest``.
        transform: Of the models, for tests that have none.
        affixes: Texts before and after every prompt, by `PREFIX` and `SUFFIX`.
    """

    around: Surroundings
    default: Test
    transform: Node | None
    affixes: Mapping[str, str]


def make_cases(tests: Iterable[Test], suite: Suite, root: Node) -> tuple[Case, ...]:
    """Return the cases of all tests, each set of variables once; what cannot be a case is reported."""
    found: dict[str, Case] = {}
    for test in tests:
        for case, node in _cases(test.over(suite.default), suite):
            if len(found) >= MAX_TESTS:
                root.lost("too_many_cases", f"more than {MAX_TESTS:,} cases; the rest was left out")
                return tuple(found.values())
            known = found.get(case.uid)
            found[case.uid] = case if known is None else _merged(known, case, node)
    return tuple(found.values())


def _cases(test: Test, suite: Suite) -> Iterator[tuple[Case, Node]]:
    variables, rest = fitting_names(test.variables, test.node)
    variables |= suite.affixes
    for name, option in ((PREFIX, test.options.get("prefix")), (SUFFIX, test.options.get("suffix"))):
        if option is not None and option.value is not None:
            variables[name] = str(option.value)
    assertions = _assertions(test, suite)
    fixed = test.options.get("disableVarExpansion")
    expanded = list(combinations(variables, test.node, expand=fixed is None or fixed.value is not True))
    for number, one in enumerate(expanded, 1):
        values = composed(one, test.node)
        missing = sorted(_names_in(assertions) - set(values))
        for name in missing:
            test.node.info("variable_missing", f"an assertion uses '{name}', which has no value; it is an empty text")
        values |= dict.fromkeys(missing, "")
        name = (
            f"{test.description[: MAX_NAME - 12]} ({number})"
            if test.description and len(expanded) > 1
            else test.description
        )
        try:
            case = Case(
                values,
                assertions,
                name=name[:MAX_NAME],
                threshold=test.threshold,
                metadata=_json({**rest, **test.metadata}),
            )
        except CardError as error:
            test.node.lost(error.code, error.message.rstrip("."), error.hint)
            continue
        yield case, test.node


def _json(metadata: dict[str, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in metadata.items()}


def _assertions(test: Test, suite: Suite) -> tuple[Assertion, ...]:
    around, options = suite.around, test.options
    transform = options.get("transform") or suite.transform
    if transform is not None and transform.value is not None:
        made = transform_template(transform.value) if isinstance(transform.value, str) else None
        around = around._replace(
            transform=made,
            no_transform="" if made else str(transform.value),
        )
    if (prompt := options.get("rubricPrompt")) is not None:
        try:
            around = around._replace(rubric_prompt=rubric_prompt(prompt, around.source))
        except TemplateError as error:
            prompt.lost("template_unsupported", error.message.rstrip("."))
    found = tuple(one for node in test.asserts for one in read_assertions(node, around))
    own = options.get("provider")
    if own is not None and own is not suite.default.options.get("provider"):
        judge = around.judge(own)
        found = tuple(_judged_by(one, judge) for one in found) if judge else found
    return found


def _judged_by(assertion: Assertion, judge: str | tuple[str, ...]) -> Assertion:
    inner = tuple(_judged_by(one, judge) for one in assertion.assertions)
    if inner:
        return msgspec.structs.replace(assertion, assertions=inner)
    return msgspec.structs.replace(assertion, provider=judge) if "judge" in needs(assertion) else assertion


def _names_in(assertions: Iterable[Assertion]) -> set[str]:
    """Return the variables that the texts of assertions use."""
    found: set[str] = set()
    for assertion in assertions:
        for text in _texts((assertion.value, assertion.options)):
            found |= template.parse(text, "the assertion").variables
        found |= _names_in(assertion.assertions)
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if uses_template(value):
            yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _merged(first: Case, second: Case, node: Node) -> Case:
    """Return one case for two tests that ask the same: both must hold."""
    if (first.assertions, first.threshold) == (second.assertions, second.threshold):
        node.changed(
            "test_twice", "the same test is there more than once and is asked once", "Use repeats to ask again."
        )
        return first
    node.info("tests_joined", "tests with the same variables became one case with the assertions of all")
    assertions = (*_held(first), *_held(second))
    return msgspec.structs.replace(
        first, assertions=assertions, threshold=None, metadata={**second.metadata, **first.metadata}
    )


def _held(case: Case) -> tuple[Assertion, ...]:
    if case.threshold is None or not case.assertions:
        return case.assertions
    return (Assertion("assert-set", threshold=case.threshold, assertions=case.assertions),)
