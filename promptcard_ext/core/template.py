"""Prompt templates: ``{{ name }}`` in a sandbox, every name must be given.

The language is a subset of Jinja: output, filters from a list, ``if`` and ``for`` over variables. Calls, assignments,
macros, includes and arithmetic that could blow up memory are not part of it, because a card may come from anybody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2 import Template as JinjaTemplate
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from promptcard_ext.core.errors import TemplateError

MAX_TEMPLATE_CHARS = 100_000
MAX_OUTPUT_CHARS = 1_000_000
FILTERS = (
    ["capitalize", "default", "first", "float", "int", "join", "last", "length", "lower", "round", "sort", "title", "trim", "truncate", "unique", "upper"]
)
TESTS = ["defined", "undefined", "none", "string", "number", "mapping", "sequence", "boolean", "in", "eq", "ne", "gt", "ge", "lt", "le"]
_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Filter, nodes.Getattr,
    nodes.Getitem, nodes.If, nodes.For, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or,
    nodes.Not, nodes.Test, nodes.List, nodes.Tuple, nodes.Keyword, nodes.Concat, nodes.Neg,
)  # fmt: skip
_BLOCK = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_UNDEFINED_NAME = re.compile(r"'([^']+)' is undefined|has no attribute '([^']+)'")


def _plain_json(value: Any) -> str:
    # Jinja's own tojson escapes < and & for HTML; a model should read the text as it is.
    return json.dumps(value, ensure_ascii=False)


def _environment() -> ImmutableSandboxedEnvironment:
    env = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    env.globals.clear()
    env.filters = {name: env.filters[name] for name in FILTERS} | {"tojson": _plain_json}
    env.tests = {name: env.tests[name] for name in TESTS if name in env.tests}
    return env


_ENV = _environment()


class Template:
    """A parsed template.

    Args:
        source: Template text, at most 100,000 characters.
        name: What to call it in errors, such as ``card 'triage'``.

    Raises:
        TemplateError: It does not parse, or uses something outside the subset; has line and column.

    Example:
        >>> Template("Hello {{ who }}!").render({"who": "Ada"})
        'Hello Ada!'
    """

    def __init__(self, source: str, name: str = "template") -> None:
        if len(source) > MAX_TEMPLATE_CHARS:
            raise TemplateError(
                f"The template of {name} has {len(source):,} characters; the limit is {MAX_TEMPLATE_CHARS:,}.",
                code="template_too_long",
            )
        self.source = source
        self.name = name
        self._compiled, self.variables = _compile(source, name)

    def render(self, variables: Mapping[str, Any]) -> str:
        """Return the text with every variable in its place.

        Raises:
            TemplateError: A name is not given (``missing_variable``), a value does not fit the expression, or
                the result is longer than 1,000,000 characters.
        """
        parts: list[str] = []
        size = 0
        try:
            for part in self._compiled.generate(variables):
                parts.append(part)
                size += len(part)
                if size > MAX_OUTPUT_CHARS:
                    raise TemplateError(
                        f"The prompt of {self.name} grew beyond {MAX_OUTPUT_CHARS:,} characters.",
                        code="prompt_too_long",
                        hint="Check its loops and the length of its variables.",
                    )
        except UndefinedError as error:
            raise self._undefined(error) from None
        except (SecurityError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise TemplateError(
                f"The template of {self.name} cannot be rendered: {error}.",
                hint="Check the types of the variables it uses.",
            ) from None
        return "".join(parts)

    def _undefined(self, error: UndefinedError) -> TemplateError:
        found = _UNDEFINED_NAME.search(str(error))
        missing = (found.group(1) or found.group(2)) if found else ""
        line, column = locate(self.source, missing)
        return TemplateError(
            f"Variable '{missing}' of {self.name} has no value (line {line}, column {column})."
            if missing
            else f"A variable of {self.name} has no value: {error}.",
            line=line,
            column=column,
            code="missing_variable",
            hint="Give it in the test case, or declare a default in the card.",
        )


def parse(source: str, name: str = "template") -> Template:
    """Return the parsed template, from a cache when the same text was parsed before."""
    return _parse_cached(source, name)


@lru_cache(maxsize=512)
def _parse_cached(source: str, name: str) -> Template:
    return Template(source, name)


def locate(source: str, name: str) -> tuple[int, int]:
    """Return line and column (from 1) of the first use of ``name`` inside a tag, or ``(0, 0)``."""
    if not name:
        return 0, 0
    word = re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)")
    for block in _BLOCK.finditer(source):
        hit = word.search(source, block.start(), block.end()) or re.compile(rf"\b{re.escape(name)}\b").search(
            source, block.start(), block.end()
        )
        if hit:
            return _position(source, hit.start())
    return 0, 0


def _position(source: str, offset: int) -> tuple[int, int]:
    line_start = source.rfind("\n", 0, offset) + 1
    return source.count("\n", 0, offset) + 1, offset - line_start + 1


def _compile(source: str, name: str) -> tuple[JinjaTemplate, frozenset[str]]:
    try:
        tree = _ENV.parse(source)
        _refuse_outside_subset(tree, source, name)
        return _ENV.from_string(source), frozenset(meta.find_undeclared_variables(tree))
    except TemplateSyntaxError as error:
        line, column = _syntax_position(source, error)
        message = (error.message or "syntax error").rstrip(".")
        raise TemplateError(
            f"The template of {name} does not parse: {message} (line {line}, column {column}).",
            line=line,
            column=column,
            code="template_syntax",
            hint="Variables are written {{ name }}.",
        ) from None
    except RecursionError:
        raise TemplateError(f"The template of {name} is nested too deeply.", code="template_syntax") from None


def _syntax_position(source: str, error: TemplateSyntaxError) -> tuple[int, int]:
    """Find the column, which Jinja does not tell: the first tag on the line that does not parse by itself."""
    line = error.lineno
    start = 0
    for _ in range(line - 1):
        start = source.find("\n", start) + 1
    end = source.find("\n", start)
    text = source[start : end if end >= 0 else len(source)]
    for opening in re.finditer(r"\{\{|\{%|\{#", text):
        tag = _BLOCK.match(text, opening.start())
        if tag is None or not _parses(tag.group()):
            return line, opening.start() + 1
    stray = re.search(r"\}\}|%\}", text)
    return line, (stray.start() + 1 if stray else 1)


def _parses(tag: str) -> bool:
    try:
        _ENV.parse(tag)
    except TemplateSyntaxError as error:
        # A lone `{% if x %}` is incomplete, not wrong.
        return "Unexpected end of template" in (error.message or "")
    return True


def _refuse_outside_subset(tree: nodes.Template, source: str, name: str) -> None:
    stack: list[nodes.Node] = list(tree.iter_child_nodes())
    while stack:
        node = stack.pop()
        if not isinstance(node, _ALLOWED):
            kind = type(node).__name__.lower()
            line, column = _tag_on_line(source, node.lineno)
            raise TemplateError(
                f"The template of {name} uses '{kind}', which is not part of the template language "
                f"(line {line}, column {column}).",
                line=line,
                column=column,
                code="template_not_allowed",
                hint="Use {{ variables }}, filters, {% if %} and {% for x in list %}; compute the rest beforehand.",
            )
        stack.extend(node.iter_child_nodes())


def _tag_on_line(source: str, line: int) -> tuple[int, int]:
    text = source.splitlines()[line - 1] if line <= source.count("\n") + 1 and source else ""
    found = re.search(r"\{\{|\{%", text)
    return line, (found.start() + 1 if found else 1)
