"""Prompt templates: ``{{ name }}`` in a sandbox, every name must be given.

The language is a subset of Jinja: output, filters from a list, ``if`` and ``for`` over variables. Calls, assignments,
macros, includes and arithmetic that could blow up memory are not part of it, because a card may come from anybody.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, filters, meta, nodes
from jinja2 import Template as JinjaTemplate
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from promptcard_ext.core.errors import TemplateError

MAX_TEMPLATE_CHARS = 100_000
MAX_OUTPUT_CHARS = 1_000_000
MAX_ITERATIONS = 100_000
MAX_RENDER_S = 5.0
MAX_NAMES = 20
FILTERS = [
    "capitalize", "default", "first", "float", "int", "last", "length", "lower", "sort", "title", "trim", "truncate",
    "upper",
]  # fmt: skip
TESTS = [
    "defined", "undefined", "none", "string", "number", "mapping", "sequence", "boolean", "in", "eq", "ne", "gt", "ge",
    "lt", "le",
]  # fmt: skip
_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Filter, nodes.Getattr,
    nodes.Getitem, nodes.If, nodes.For, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or,
    nodes.Not, nodes.Test, nodes.List, nodes.Tuple, nodes.Keyword, nodes.Concat, nodes.Neg,
)  # fmt: skip
_OPENING = re.compile(r"\{\{|\{%|\{#")
_CLOSING = {"{{": "}}", "{%": "%}", "{#": "#}"}
_UNDEFINED_NAME = re.compile(r"'([^']+)' is undefined|has no attribute '([^']+)'")


def _plain_json(value: Any) -> str:
    # Jinja's own tojson escapes < and & for HTML; a model should read the text as it is.
    return json.dumps(value, ensure_ascii=False)


def _join(values: Iterable[Any], separator: Any = "", attribute: Any = None) -> str:
    # The plain one would build a text of any size before the limit on the output sees it.
    got = list(values) if attribute is None else [_ENV.getitem(value, attribute) for value in values]
    texts, between = [str(value) for value in got], str(separator)
    if sum(map(len, texts)) + len(between) * len(texts) > MAX_OUTPUT_CHARS:
        raise ValueError(f"'join' makes a text of more than {MAX_OUTPUT_CHARS:,} characters")
    return between.join(texts)


def _round(value: Any, precision: int = 0, method: str = "common") -> Any:
    # Ten to the power of a huge precision is not computed in our lifetime.
    return filters.do_round(value, max(-300, min(int(precision), 300)), method)  # type: ignore[arg-type]


def _unique(values: Iterable[Any]) -> list[Any]:
    return list(filters.do_unique(_ENV, values))


class _Budget:
    """What one rendering may use."""

    def __init__(self) -> None:
        self.iterations = MAX_ITERATIONS
        self.deadline = time.monotonic() + MAX_RENDER_S


_budget: ContextVar[_Budget] = ContextVar("_budget")


def _bounded(values: Iterable[Any]) -> Iterator[Any]:
    """Count the iterations of every loop: nested ones over long lists never end, and need print nothing meanwhile."""
    budget = _budget.get()
    for value in values:
        budget.iterations -= 1
        if budget.iterations < 0 or time.monotonic() > budget.deadline:
            raise ValueError(f"its loops take more than {MAX_ITERATIONS:,} steps or {MAX_RENDER_S:g} seconds")
        yield value


class _Environment(ImmutableSandboxedEnvironment):
    """A dot looks up a key, never an attribute: nothing of Python can be reached, and `order.items` is the key."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return super().getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Mapping | list | tuple | str):
            try:
                return obj[argument]
            except (LookupError, TypeError):
                pass
        return self.undefined(obj=obj, name=argument)


_LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"})


def _environment() -> _Environment:
    env = _Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    env.globals.clear()
    env.filters = {name: env.filters[name] for name in FILTERS}
    env.filters |= {"tojson": _plain_json, "join": _join, "round": _round, "unique": _unique, "_bounded": _bounded}
    env.tests = {name: env.tests[name] for name in TESTS if name in env.tests}
    return env


_ENV = _environment()


class Template:
    """A parsed template.

    Args:
        source: Template text, at most 100,000 characters; line ends of any system become ``\\n``.
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
        # As Jinja does it; done here so that lines and columns are those of the same text.
        self.source = source = source.replace("\r\n", "\n").replace("\r", "\n")
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
        token = _budget.set(_Budget())
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
        except _RENDERING as error:
            raise TemplateError(
                f"The template of {self.name} cannot be rendered: {str(error).rstrip('.'):.300}.",
                hint="Check the types of the variables it uses.",
            ) from None
        finally:
            _budget.reset(token)
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


# What filters, operators and texts that are too large to build raise.
_RENDERING = (
    SecurityError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, AssertionError, RecursionError,
    MemoryError,
)  # fmt: skip


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
    exact = re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)")
    loose = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    for start, end in _tags(source):
        if hit := exact.search(source, start, end) or loose.search(source, start, end):
            return _position(source, hit.start())
    return 0, 0


def _tags(source: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of every tag; one that is not closed ends at the end of the text. Takes linear time."""
    position = 0
    while opening := _OPENING.search(source, position):
        close = source.find(_CLOSING[opening.group()], opening.end())
        position = close + 2 if close >= 0 else len(source)
        if opening.group() != "{#" or close < 0:
            yield opening.start(), position


def _position(source: str, offset: int) -> tuple[int, int]:
    line_start = source.rfind("\n", 0, offset) + 1
    return source.count("\n", 0, offset) + 1, offset - line_start + 1


def _compile(source: str, name: str) -> tuple[JinjaTemplate, frozenset[str]]:
    try:
        tree = _ENV.parse(source)
        _refuse_outside_subset(tree, source, name)
        variables = frozenset(meta.find_undeclared_variables(tree))
        _bound_loops(tree)
        code = _ENV.compile(tree)
        return JinjaTemplate.from_code(_ENV, code, {}), variables
    except TemplateSyntaxError as error:
        line, column = _guilty_tag(source, error.lineno, _parses)
        message = (error.message or "syntax error").rstrip(".")
        raise TemplateError(
            f"The template of {name} does not parse: {message} (line {line}, column {column}).",
            line=line,
            column=column,
            code="template_syntax",
            hint="Variables are written {{ name }}.",
        ) from None
    except (RecursionError, SyntaxError, MemoryError):
        # Python's own compiler gives up at 20 nested blocks and 100 levels of indentation.
        raise TemplateError(f"The template of {name} is nested too deeply.", code="template_syntax") from None


def _bound_loops(tree: nodes.Template) -> None:
    for loop in list(tree.find_all(nodes.For)):
        loop.iter = nodes.Filter(loop.iter, "_bounded", [], [], None, None, lineno=loop.lineno)
    tree.set_environment(_ENV)


def _guilty_tag(source: str, line: int, good: Callable[[str], bool]) -> tuple[int, int]:
    """Find the column, which Jinja does not tell: the first tag on the line that is not good by itself."""
    start = 0
    for _ in range(line - 1):
        start = source.find("\n", start) + 1
    end = source.find("\n", start)
    end = end if end >= 0 else len(source)
    on_line = [(opening, close) for opening, close in _tags(source) if opening < end and close > start]
    guilty = next((opening for opening, close in on_line if not good(source[opening:close])), None)
    if guilty is None:
        guilty = on_line[0][0] if on_line else start
    return _position(source, guilty)


def _parses(tag: str) -> bool:
    try:
        _ENV.compile(_ENV.parse(tag))
    except TemplateSyntaxError as error:
        # A lone `{% if x %}` is incomplete, not wrong; a lone `{% else %}` belongs to one before it.
        message = error.message or ""
        continues = re.match(r"\{%-?\s*(else|elif|endif|endfor)\b", tag)
        return "Unexpected end of template" in message or continues is not None
    return True


def _refuse_outside_subset(tree: nodes.Template, source: str, name: str) -> None:
    node = _outside_subset(tree)
    if node is None:
        return
    line, column = _guilty_tag(source, node.lineno, _within_subset)
    what = f"uses '{type(node).__name__.lower()}', which is not part of the template language"
    if isinstance(node, nodes.Name):
        what = f"uses '{node.name}', which is a reserved word"
    elif isinstance(node, nodes.Filter | nodes.Test):
        what = f"uses the {type(node).__name__.lower()} '{node.name}', which does not exist here"
    elif isinstance(node, _BUILDERS):
        what = f"puts more than {MAX_NAMES} variables together in one expression"
    raise TemplateError(
        f"The template of {name} {what} (line {line}, column {column}).",
        line=line,
        column=column,
        code="template_not_allowed",
        hint="Use {{ variables }}, filters, {% if %} and {% for x in list %}; compute the rest beforehand.",
    )


_BUILDERS = (nodes.Concat, nodes.List, nodes.Tuple)


def _outside_subset(tree: nodes.Template) -> nodes.Node | None:
    stack: list[nodes.Node] = [tree]
    while stack:
        node = stack.pop()
        reserved = isinstance(node, nodes.Name) and node.name == "self"
        # A value of a megabyte, named a thousand times, would fill the memory before the limit on the output sees it.
        known = _ENV.filters if isinstance(node, nodes.Filter) else _ENV.tests
        # Inside a condition Jinja itself would notice only while it renders.
        unknown = isinstance(node, nodes.Filter | nodes.Test) and node.name not in known
        huge = isinstance(node, _BUILDERS) and sum(1 for _ in node.find_all(nodes.Name)) > MAX_NAMES
        if reserved or unknown or huge or not isinstance(node, _ALLOWED):
            return node
        stack.extend(reversed(list(node.iter_child_nodes())))
    return None


def _within_subset(tag: str) -> bool:
    try:
        return _outside_subset(_ENV.parse(tag)) is None
    except TemplateSyntaxError:
        # A block statement cannot be read alone; what is inside it can.
        inside = re.match(r"\{%-?\s*(?:if|elif)\b(.*?)-?%\}\Z|\{%-?\s*for\b.*?\bin\b(.*?)-?%\}\Z", tag, re.DOTALL)
        if inside is None:
            return re.match(r"\{%-?\s*(?:else|endif|endfor)\b", tag) is not None
        try:
            return _outside_subset(_ENV.parse("{{" + (inside[1] or inside[2]) + "}}")) is None
        except TemplateSyntaxError:
            return False
