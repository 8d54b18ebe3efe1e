"""What belongs to the template language, and where in a template something does not.

Jinja reads the text; what it reads must lie within a subset: output, filters and tests from a list, ``if``, ``for``,
and ``include`` of a card by name and version. Jinja tells lines, not columns, so the tag to blame is found again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

from jinja2 import Environment, TemplateSyntaxError, nodes

from promptcard_ext.core.errors import TemplateError
from promptcard_ext.core.template_filters import FILTERS

MAX_TEMPLATE_CHARS = 100_000
# Of expressions in expressions, and of blocks in blocks.
MAX_DEPTH = 150
MAX_BLOCKS = 20
TESTS = [
    "defined", "undefined", "none", "string", "number", "mapping", "sequence", "boolean", "in", "eq", "ne", "gt", "ge",
    "lt", "le",
]  # fmt: skip
LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"})
REFERENCE = re.compile(r"([a-z][a-z0-9-]{0,99})@([1-9][0-9]{0,8})(#system)?")
_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Filter, nodes.Getattr,
    nodes.Getitem, nodes.If, nodes.For, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or,
    nodes.Not, nodes.Test, nodes.List, nodes.Tuple, nodes.Keyword, nodes.Concat, nodes.Neg, nodes.Include,
)  # fmt: skip
_OPENING = re.compile(r"\{\{|\{%|\{#")
_CLOSING = {"{{": "}}", "{%": "%}", "{#": "#}"}
_CONTINUES = re.compile(r"\{%[-+]?\s*(?:else|elif|endif|endfor)\b")
_BLOCK = re.compile(r"\{%-?\s*(?:if|elif)\b(.*?)-?%\}\Z|\{%-?\s*for\b.*?\bin\b(.*?)-?%\}\Z", re.DOTALL)
# Looking for a column is a courtesy; it does not get more time than this.
_LOOKING_S = 0.3
_ENV = Environment(keep_trailing_newline=True, autoescape=False)  # noqa: S701 - it only parses


def parse_tree(source: str, name: str) -> nodes.Template:
    """Return the syntax tree of ``source``, all of it within the subset.

    Raises:
        TemplateError: It does not parse (``template_syntax``) or uses something else (``template_not_allowed``).
    """
    try:
        tree = _ENV.parse(source)
    except TemplateSyntaxError as error:
        line, column = _guilty_tag(source, error.lineno, _parses)
        message = (error.message or "syntax error").rstrip(".")
        raise _syntax_error(name, message, line, column) from None
    except (RecursionError, MemoryError):
        raise TemplateError(f"The template of {name} is nested too deeply.", code="template_syntax") from None
    except ValueError:
        # An integer of more than 4,300 digits.
        raise _syntax_error(name, "a number has too many digits", 0, 0) from None
    _refuse_outside_subset(tree, source, name)
    return tree


def _syntax_error(name: str, message: str, line: int, column: int) -> TemplateError:
    return TemplateError(
        f"The template of {name} does not parse: {message:.200} (line {line}, column {column}).",
        line=line,
        column=column,
        code="template_syntax",
        hint="Variables are written {{ name }}.",
    )


# -- places ----------------------------------------------------------------------------------------------------------


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


def _guilty_tag(source: str, line: int, good: Callable[[str], bool]) -> tuple[int, int]:
    """Find the column, which Jinja does not tell: the first tag on the line that is not good by itself."""
    start = 0
    for _ in range(line - 1):
        start = source.find("\n", start) + 1
    end = source.find("\n", start)
    end = end if end >= 0 else len(source)
    on_line = [(opening, close) for opening, close in _tags(source) if opening < end and close > start]
    deadline = time.thread_time() + _LOOKING_S
    guilty = None
    for opening, close in on_line:
        if time.thread_time() > deadline:
            break
        if not good(source[opening:close]):
            guilty = opening
            break
    if guilty is None:
        guilty = on_line[0][0] if on_line else start
    return _position(source, guilty)


def _parses(tag: str) -> bool:
    try:
        _ENV.parse(tag)
    except TemplateSyntaxError as error:
        # A lone `{% if x %}` is incomplete, not wrong; a lone `{% else %}` belongs to one before it.
        return "Unexpected end of template" in (error.message or "") or _CONTINUES.match(tag) is not None
    except (ValueError, RecursionError):
        return False
    return True


# -- the subset ------------------------------------------------------------------------------------------------------


def _refuse_outside_subset(tree: nodes.Template, source: str, name: str) -> None:
    if _is_too_deep(tree):
        raise TemplateError(f"The template of {name} is nested too deeply.", code="template_syntax")
    node = _outside_subset(tree)
    if node is None:
        return
    line, column = _guilty_tag(source, node.lineno, _within_subset)
    raise TemplateError(
        f"The template of {name} {_complaint(node)} (line {line}, column {column}).",
        line=line,
        column=column,
        code="template_not_allowed",
        hint="Use {{ variables }}, filters, {% if %} and {% for x in list %}; compute the rest beforehand.",
    )


def _complaint(node: nodes.Node) -> str:
    if isinstance(node, nodes.Name):
        return f"uses '{node.name:.60}', which is a reserved word"
    if isinstance(node, nodes.Filter | nodes.Test) and not _is_known(node):
        return f"uses the {type(node).__name__.lower()} '{node.name:.60}', which does not exist here"
    if isinstance(node, nodes.Filter | nodes.Test):
        return f"unpacks the arguments of '{node.name}', which is not part of the template language"
    if isinstance(node, nodes.Include):
        return 'includes something that is not written as "name@version" or "name@version#system"'
    if isinstance(node, nodes.Const):
        return "uses a number that is not finite"
    if isinstance(node, nodes.For):
        return "uses 'recursive', or a loop variable that is not a name"
    return f"uses '{type(node).__name__.lower()}', which is not part of the template language"


def _is_known(node: nodes.Filter | nodes.Test) -> bool:
    return node.name in (FILTERS if isinstance(node, nodes.Filter) else TESTS)


def _is_too_deep(tree: nodes.Node) -> bool:
    stack: list[tuple[nodes.Node, int, int]] = [(tree, 0, 0)]
    while stack:
        node, level, blocks = stack.pop()
        blocks += isinstance(node, nodes.For | nodes.If)
        if level > MAX_DEPTH or blocks > MAX_BLOCKS:
            return True
        stack.extend((child, level + 1, blocks) for child in node.iter_child_nodes())
    return False


def _outside_subset(tree: nodes.Node) -> nodes.Node | None:
    stack: list[nodes.Node] = [tree]
    while stack:
        node = stack.pop()
        if not isinstance(node, _ALLOWED) or not _fits(node):
            return node
        stack.extend(reversed(list(node.iter_child_nodes())))
    return None


def _fits(node: nodes.Node) -> bool:
    """Tell whether a node of an allowed kind is one of those that are in the language."""
    if isinstance(node, nodes.Name):
        return node.name != "self" and (node.ctx == "load" or node.name != "loop")
    if isinstance(node, nodes.Filter | nodes.Test):
        return _is_known(node) and node.dyn_args is None and node.dyn_kwargs is None
    if isinstance(node, nodes.Include):
        reference = node.template.value if isinstance(node.template, nodes.Const) else None
        plain = isinstance(reference, str) and REFERENCE.fullmatch(reference) is not None
        return plain and node.with_context and not node.ignore_missing
    if isinstance(node, nodes.Const):
        return not isinstance(node.value, float) or abs(node.value) < float("inf")
    if isinstance(node, nodes.For):
        return not node.recursive and _are_names(node.target)
    return True


def _are_names(target: nodes.Node) -> bool:
    if isinstance(target, nodes.Tuple):
        return all(_are_names(item) for item in target.items)
    return isinstance(target, nodes.Name)


def _within_subset(tag: str) -> bool:
    try:
        return _outside_subset(_ENV.parse(tag)) is None
    except TemplateSyntaxError:
        # A block statement cannot be read alone; what is inside it can.
        inside = _BLOCK.match(tag)
        if inside is None:
            return re.match(r"\{%-?\s*(?:else|endif|endfor)\b", tag) is not None
        try:
            return _outside_subset(_ENV.parse("{{" + (inside[1] or inside[2]) + "}}")) is None
        except TemplateSyntaxError:
            return False
