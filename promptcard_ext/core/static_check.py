"""What can be said about a card without rendering it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from jinja2 import nodes

from promptcard_ext.core.card import Card, Source
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
    problems = [*_unresolved(card), *_unused(card)]
    for source, text in _texts(card):
        problems += _shadowed(card, source.place, text)
        if source.role == "system":
            problems += _untrusted(card, source.place, text)
    return tuple(sorted(set(problems), key=lambda one: (one.severity, one.where, one.line, one.column, one.code)))


def _texts(card: Card) -> Iterator[tuple[Source, Template]]:
    """Yield every template with its place; an included one with its reference, and the role it is included into."""
    for source in card.sources:
        template = Template(source.text, f"card '{card.name}'", card.includes)
        yield source, template
        for reference in sorted(template.references - template.unresolved):
            text = card.includes[reference]
            yield Source(reference, source.role, text), Template(text, f"card '{reference}'", card.includes)


def _unresolved(card: Card) -> Iterator[Problem]:
    for source in card.sources:
        template = Template(source.text, f"card '{card.name}'", card.includes)
        for reference, included in template.included.items():
            if included is None:
                line, column = locate(template.source, reference)
                message = f"The text of '{reference}' is not there; the card has not been composed."
                yield Problem("include_unresolved", "error", message, source.place, line, column)


def _unused(card: Card) -> Iterator[Problem]:
    if any(Template(source.text, "", card.includes).unresolved for source in card.sources):
        # A text that is not there yet may use them.
        return
    for index, variable in enumerate(card.variables):
        # A secret is for code outside of the prompt, and nothing in a card uses it.
        if variable.name not in card.used_variables and variable.type != "secret":
            message = f"Variable '{variable.name}' is declared and not used."
            yield Problem("variable_unused", "warning", message, f"variables[{index}]")


def _untrusted(card: Card, where: str, template: Template) -> Iterator[Problem]:
    for variable in card.variables:
        if variable.trust == "untrusted" and variable.name in template.own_variables:
            line, column = locate(template.source, variable.name)
            message = (
                f"The untrusted variable '{variable.name}' is used in a system message, which the model obeys first."
            )
            yield Problem("untrusted_in_system", "warning", message, where, line, column)


def _shadowed(card: Card, where: str, template: Template) -> Iterator[Problem]:
    known = {variable.name for variable in card.variables} or card.used_variables
    tree = parse_tree(template.source, template.name)
    for loop, outer in _loops(tree, frozenset()):
        for name in loop_names(loop):
            what = "the variable" if name in known else "the variable of an outer loop" if name in outer else ""
            if what:
                message = f"The loop variable '{name}' hides {what} of the same name."
                column = _column_of(template.source, loop.lineno, name)
                yield Problem("variable_shadowed", "warning", message, where, loop.lineno, column)


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
