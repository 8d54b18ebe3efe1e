"""Prompt templates: ``{{ name }}`` in a sandbox, every name must be given.

The language is a subset of Jinja: output, filters from a list, ``if`` and ``for`` over variables, and texts of other
cards. Calls, assignments, macros and arithmetic are not part of it, because a card may come from anybody. Jinja reads
the text; functions of our own evaluate it, so that every step and every value can be counted (`core.rendering`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import nodes

from promptcard_ext.core.errors import TemplateError
from promptcard_ext.core.expressions import Scope
from promptcard_ext.core.rendering import (
    MAX_OUTPUT_CHARS,
    NODE_WORK,
    Missing,
    MissingValue,
    Rendering,
    TooCostly,
    TooLong,
)
from promptcard_ext.core.statements import Failed, Statement, count_nodes, names_used, statements
from promptcard_ext.core.template_language import MAX_TEMPLATE_CHARS, locate, parse_tree

__all__ = ["MAX_OUTPUT_CHARS", "MAX_TEMPLATE_CHARS", "Template", "locate", "parse", "parse_all"]

MAX_INCLUDE_DEPTH = 5
_SMALL_CHARS = 5_000


class Template:
    """A parsed template.

    Args:
        source: Template text, at most 100,000 characters; line ends of any system become ``\\n``.
        name: What to call it in errors, such as ``card 'triage'``.
        includes: Texts of other cards by reference (``house-style@2``), for ``{% include "house-style@2" %}``.

    Attributes:
        variables: Names that need a value, those of included texts among them.
        references: What it includes, directly or through another text.
        unresolved: Those of the references whose text is not given; it cannot be rendered then.

    Raises:
        TemplateError: It does not parse, or uses something outside the subset; has line and column.

    Example:
        >>> Template("Hello {{ who }}!").render({"who": "Ada"})
        'Hello Ada!'
    """

    def __init__(
        self,
        source: str,
        name: str = "template",
        includes: Mapping[str, str] | None = None,
        _library: _Library | None = None,
    ) -> None:
        if len(source) > MAX_TEMPLATE_CHARS:
            raise TemplateError(
                f"The template of {name} has {len(source):,} characters; the limit is {MAX_TEMPLATE_CHARS:,}.",
                code="template_too_long",
            )
        # As Jinja does it; done here so that lines and columns are those of the same text.
        self.source = source = source.replace("\r\n", "\n").replace("\r", "\n")
        self.name = name
        tree = parse_tree(source, name)
        library = _library or _Library(includes or {})
        self.included = {reference: library.template(reference, name, line) for reference, line in _includes(tree)}
        inner = [one for one in self.included.values() if one is not None]
        self.depth: int = 1 + max((one.depth for one in inner), default=-1)
        self.own_variables = names_used(tree)
        self.variables: frozenset[str] = self.own_variables.union(*(one.variables for one in inner))
        self.references: frozenset[str] = frozenset(self.included).union(*(one.references for one in inner))
        self.unresolved: frozenset[str] = frozenset(
            reference for reference, one in self.included.items() if one is None
        ).union(*(one.unresolved for one in inner))
        self._work = NODE_WORK * count_nodes(tree)
        self._body = statements(tree.body, self._include)

    def _include(self, reference: str) -> Statement:
        inner = self.included[reference]
        if inner is None:
            return lambda scope, rendering: None
        names = inner.own_variables

        def write(scope: Scope, rendering: Rendering) -> None:
            given = rendering.given
            inner.write({name: given[name] for name in names if name in given}, rendering)

        return write

    def all_included(self) -> dict[str, Template]:
        """Return every text that is included, directly or through another one, by its reference."""
        seen: dict[str, Template] = {}
        waiting = [self]
        while waiting:
            for reference, one in waiting.pop().included.items():
                if one is not None and reference not in seen:
                    seen[reference] = one
                    waiting.append(one)
        return seen

    def render(self, variables: Mapping[str, Any]) -> str:
        """Return the text with every variable in its place.

        Raises:
            TemplateError: A name is not given (``missing_variable``), a value does not fit the expression
                (``template_error``), it takes too many steps (``template_too_costly``), the result is longer than
                1,000,000 characters (``prompt_too_long``), or an included text is not there (``include_unresolved``).
        """
        if self.unresolved:
            raise TemplateError(
                f"The template of {self.name} includes '{min(self.unresolved)}', whose text it does not have.",
                code="include_unresolved",
                hint="Give the card its texts: card.compose([other_card]).",
            )
        rendering = Rendering(variables)
        self.write({name: variables[name] for name in self.own_variables if name in variables}, rendering)
        parts = rendering.parts
        return parts[0] if len(parts) == 1 else "".join(parts)

    def write(self, scope: Scope, rendering: Rendering) -> None:
        """Write the text to a rendering; see `render` for what is raised."""
        try:
            rendering.charge(self._work)
            for statement in self._body:
                statement(scope, rendering)
        except MissingValue as error:
            raise self._missing(error.missing) from None
        except TooLong:
            raise TemplateError(
                f"The prompt of {self.name} grew beyond {MAX_OUTPUT_CHARS:,} characters.",
                code="prompt_too_long",
                hint="Check its loops and the length of its variables.",
            ) from None
        except Failed as error:
            raise self._failed(error.cause, error.line) from None
        except TooCostly as error:
            raise self._failed(error, 0) from None

    def _failed(self, cause: Exception, line: int) -> TemplateError:
        costly = isinstance(cause, TooCostly | MemoryError | RecursionError)
        place = f" (line {line})" if line else ""
        return TemplateError(
            f"The template of {self.name} cannot be rendered: {str(cause).rstrip('.'):.300}{place}.",
            line=line,
            code="template_too_costly" if costly else None,
            hint="Compute it beforehand and pass the result in." if costly else "Check the types of its variables.",
        )

    def _missing(self, missing: Missing) -> TemplateError:
        line, column = locate(self.source, missing.name)
        return TemplateError(
            f"Variable '{missing.name}' of {self.name} has no value (line {line}, column {column})."
            if missing.name
            else f"A variable of {self.name} has no value: {missing.why}.",
            line=line,
            column=column,
            code="missing_variable",
            hint="Give it in the test case, or declare a default in the card.",
        )


class _Library:
    """The texts that may be included, each parsed once, however many include it."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._parsed: dict[str, Template] = {}
        self._open: list[str] = []

    def template(self, reference: str, includer: str, line: int) -> Template | None:
        """Return the template of ``reference``, or None when its text is not given.

        Raises:
            TemplateError: It is within itself (``include_circle``) or too deep in others (``include_too_deep``).
        """
        if reference not in self._texts:
            return None
        if reference in self._open:
            raise self._refusal(includer, line, f"'{reference}', which is within itself", code="include_circle")
        if len(self._open) >= MAX_INCLUDE_DEPTH:
            raise self._too_deep(includer, line)
        if reference not in self._parsed:
            self._open.append(reference)
            self._parsed[reference] = Template(
                self._texts[reference], f"card '{reference}'", self._texts, _library=self
            )
            self._open.pop()
        found = self._parsed[reference]
        if len(self._open) + 1 + found.depth > MAX_INCLUDE_DEPTH:
            raise self._too_deep(includer, line)
        return found

    def _too_deep(self, includer: str, line: int) -> TemplateError:
        what = f"more than {MAX_INCLUDE_DEPTH} texts within each other"
        return self._refusal(includer, line, what, code="include_too_deep")

    def _refusal(self, includer: str, line: int, what: str, *, code: str) -> TemplateError:
        return TemplateError(f"The template of {includer} includes {what} (line {line}).", line=line, code=code)


def _includes(tree: nodes.Template) -> Iterator[tuple[str, int]]:
    for node in tree.find_all(nodes.Include):
        if isinstance(node.template, nodes.Const):
            yield node.template.value, node.lineno


def parse(source: str, name: str = "template") -> Template:
    """Return the parsed template, from a cache when the same text was parsed before."""
    return (_parse_small if len(source) <= _SMALL_CHARS else _parse_large)(source, name)


def parse_all(sources: Iterable[str], name: str, includes: Mapping[str, str]) -> tuple[Template, ...]:
    """Return parsed templates; a text that several of them include is parsed once."""
    if not includes:
        return tuple(parse(source, name) for source in sources)
    library = _Library(includes)
    return tuple(Template(source, name, _library=library) for source in sources)


# Parsed, a template takes up to 45 times the memory of its text: few of the large ones are kept.
_parse_small = lru_cache(maxsize=512)(Template)
_parse_large = lru_cache(maxsize=16)(Template)
