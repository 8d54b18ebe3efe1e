"""What can be said about a card without rendering it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from jinja2 import nodes

from promptcard_ext.core.card import Card
from promptcard_ext.core.statements import loop_names
from promptcard_ext.core.template import Template
from promptcard_ext.core.template_language import locate, parse_tree


class Problem(NamedTuple):
    """Something that is wrong with a card, or probably is.

    Attributes:
        code: Stable slug.
        where: ``template``, ``system``, ``messages[2]``, ``examples[0].user``, ``variables[1]``, or the reference of an
            included text.
        line: From 1, within that text; 0 when it has no place.
        column: From 1; 0 when it is not known.
    """

    code: str
    severity: Literal["error", "warning"]
    message: str
    where: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f", line {self.line}, column {self.column}" if self.line else ""
        return f"{self.where}{place}: {self.severity}: {self.message} [{self.code}]"


def check(card: Card) -> tuple[Problem, ...]:
    """Return what is wrong with ``card``, errors first.

    A variable that is used and not declared cannot get here: such a card is not made (``unknown_variable``).

    Example:
        >>> from promptcard_ext.core.variables import Variable
        >>> print(*check(Card("c", "Hi {{ who }}", variables=(Variable("who"), Variable("tone")))))
        variables[1]: warning: Variable 'tone' is declared and not used. [variable_unused]
    """
    problems = list(_unused(card))
    for text in _texts(card):
        problems += [*_unresolved(text), *_shadowed(card, text)]
        if text.in_system:
            problems += _untrusted(card, text)
    return tuple(sorted(set(problems), key=lambda one: (one.severity, one.where, one.line, one.column, one.code)))


class _Text(NamedTuple):
    """A template of the card or one that is included, its place, and whether it goes into a system message."""

    where: str
    template: Template
    in_system: bool


def _texts(card: Card) -> list[_Text]:
    """Return every template once, an included one with its reference as its place."""
    own = [
        _Text(source.place, template, source.role == "system")
        for source, template in zip(card.sources, card.templates, strict=True)
    ]
    included: dict[str, _Text] = {}
    for text in own:
        for reference, template in text.template.all_included().items():
            in_system = text.in_system or (reference in included and included[reference].in_system)
            included[reference] = _Text(reference, template, in_system)
    return [*own, *included.values()]


def _unresolved(text: _Text) -> Iterator[Problem]:
    for reference, included in text.template.included.items():
        if included is None:
            line, column = locate(text.template.source, reference)
            message = f"The text of '{reference}' is not there; the card has not been composed."
            yield Problem("include_unresolved", "error", message, text.where, line, column)


def _unused(card: Card) -> Iterator[Problem]:
    if any(template.unresolved for template in card.templates):
        # A text that is not there yet may use them.
        return
    for index, variable in enumerate(card.variables):
        # A secret is for code outside of the prompt, and nothing in a card uses it.
        if variable.name not in card.used_variables and variable.type != "secret":
            message = f"Variable '{variable.name}' is declared and not used."
            yield Problem("variable_unused", "warning", message, f"variables[{index}]")


def _untrusted(card: Card, text: _Text) -> Iterator[Problem]:
    for variable in card.variables:
        if variable.trust == "untrusted" and variable.name in text.template.own_variables:
            line, column = locate(text.template.source, variable.name)
            message = (
                f"The untrusted variable '{variable.name}' is used in a system message, which the model obeys first."
            )
            yield Problem("untrusted_in_system", "warning", message, text.where, line, column)


def _shadowed(card: Card, text: _Text) -> Iterator[Problem]:
    known = {variable.name for variable in card.variables} or card.used_variables
    source = text.template.source
    for loop, outer in _loops(parse_tree(source, text.template.name), frozenset()):
        for name in loop_names(loop):
            what = "the variable" if name in known else "the variable of an outer loop" if name in outer else ""
            if what:
                message = f"The loop variable '{name}' hides {what} of the same name."
                column = _column_of(source, loop.lineno, name)
                yield Problem("variable_shadowed", "warning", message, text.where, loop.lineno, column)


def _loops(node: nodes.Node, outer: frozenset[str]) -> Iterator[tuple[nodes.For, frozenset[str]]]:
    """Yield every loop with the names that the loops around it bind."""
    for child in node.iter_child_nodes():
        if isinstance(child, nodes.For):
            yield child, outer
            yield from _loops(child, outer | set(loop_names(child)))
        else:
            yield from _loops(child, outer)


def _column_of(source: str, line: int, name: str) -> int:
    text = source.split("\n")[line - 1] if line else ""
    found, column = locate(text, name)
    return column if found else 0
