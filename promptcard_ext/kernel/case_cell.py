"""A test case written in a cell: YAML, with the line of the cell in every error."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case, CaseName, Priority, Threshold
from promptcard_ext.core.errors import FileError, PromptCardError
from promptcard_ext.interchange.yaml_document import Place, YamlDocument

_PATH = re.compile(r"\.(\w+)|\[(\d+)\]")


class _Layout(Struct, frozen=True, forbid_unknown_fields=True):
    """What may stand in the cell; ``vars`` and ``assert`` are what promptfoo calls them."""

    vars: dict[str, Any] | None = None
    variables: dict[str, Any] | None = None
    assertions: list[Any] = []
    asserted: Annotated[list[Any], Meta()] = msgspec.field(name="assert", default_factory=list)
    name: CaseName = ""
    expected_output: str | None = None
    priority: Priority = "medium"
    threshold: Threshold | None = None
    metadata: dict[str, Any] = {}


def read_case(body: str, card: Card, name: str = "") -> Case:
    """Return the case that the body of a cell says.

    Args:
        body: The cell without its first line.
        card: Whose case it is; its variables are checked.
        name: What to call it, whatever the cell says.

    Raises:
        FileError: It is no YAML (``yaml_syntax``), something in it does not fit (``case_cell_invalid``, or the code of
            what is wrong); the message gives the line of the cell.
    """
    # The first line of the cell is the magic's own; with an empty one in its place lines are those of the cell.
    document = YamlDocument("\n" + body, "the cell")
    layout: _Layout = _converted(document, document.value, _Layout, ())
    if layout.vars is not None and layout.variables is not None:
        raise _error(document, "'vars' and 'variables' are the same; give one of them", ("variables",))
    key = "vars" if layout.vars is not None else "variables"
    given = layout.vars if layout.vars is not None else layout.variables or {}
    try:
        card.fill(given, "the cell")
    except PromptCardError as error:
        raise _located(document, error, (key, *_named(error, given))) from None
    asserted = [(("assert", i), one) for i, one in enumerate(layout.asserted)]
    asserted += [(("assertions", i), one) for i, one in enumerate(layout.assertions)]
    assertions = tuple(_converted(document, _spelled_out(one), Assertion, place) for place, one in asserted)
    fields = (name or layout.name, layout.expected_output, layout.priority, layout.threshold, layout.metadata)
    try:
        return Case(given, assertions, *fields)
    except PromptCardError as error:
        raise _located(document, error, ()) from None


def _spelled_out(one: Any) -> Any:
    """Return ``{type, value}`` for the short form ``contains: Ada``."""
    if isinstance(one, dict) and len(one) == 1 and "type" not in one:
        (kind, value) = next(iter(one.items()))
        return {"type": kind, "value": value}
    return {"type": one} if isinstance(one, str) else one


def _named(error: PromptCardError, given: dict[str, Any]) -> tuple[str, ...]:
    """Return the variable that an error is about, when it is one that the cell gives."""
    return tuple(name for name in given if f"'{name}'" in error.message)[:1]


def _converted(document: YamlDocument, value: Any, kind: Any, place: Place) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        detail, _, path = str(error).partition(" - at `$")
        inner = tuple(int(index) if index else key for key, index in _PATH.findall(path.rstrip("`")))
        raise _error(document, detail[:1].lower() + detail[1:], place + inner) from None
    except PromptCardError as error:
        raise _located(document, error, place) from None


def _error(document: YamlDocument, problem: str, place: Place) -> FileError:
    where = ".".join(str(part) for part in place)
    said = f"{where}: {problem}" if where else problem
    hint = "It needs 'vars' and 'assert'." if not place else ""
    message = f"Line {document.line(place)} of the cell: {said.rstrip('.')}."
    return FileError(message, code="case_cell_invalid", hint=hint)


def _located(document: YamlDocument, error: PromptCardError, place: Place) -> FileError:
    message = f"Line {document.line(place)} of the cell: {error.message}"
    return FileError(message, code=error.code, hint=error.hint)
