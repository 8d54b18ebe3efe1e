"""The expressions of a template as functions: each node of the syntax tree becomes ``f(scope, rendering) -> value``.

Nothing is compiled to Python code and no attribute of a Python object is ever read, so there is nothing to escape to.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from typing import Any, cast

from jinja2 import nodes

from promptcard_ext.core.rendering import MAX_OUTPUT_CHARS, Missing, MissingValue, Rendering, TooCostly
from promptcard_ext.core.template_filters import FILTERS, lookup

Scope = dict[str, Any]
Expression = Callable[[Scope, Rendering], Any]


class Loop:
    """What ``loop`` is inside a loop."""

    __slots__ = ("index0", "items")

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items
        self.index0 = 0

    def __repr__(self) -> str:
        return f"<loop {self.index0 + 1}/{len(self.items)}>"


def _neighbour(loop: Loop, index: int) -> Any:
    if 0 <= index < len(loop.items):
        return loop.items[index]
    return Missing(why="there is no previous item" if index < 0 else "there is no next item")


_LOOP: dict[str, Callable[[Loop], Any]] = {
    "index": lambda loop: loop.index0 + 1,
    "index0": lambda loop: loop.index0,
    "revindex": lambda loop: len(loop.items) - loop.index0,
    "revindex0": lambda loop: len(loop.items) - loop.index0 - 1,
    "first": lambda loop: loop.index0 == 0,
    "last": lambda loop: loop.index0 == len(loop.items) - 1,
    "length": lambda loop: len(loop.items),
    "previtem": lambda loop: _neighbour(loop, loop.index0 - 1),
    "nextitem": lambda loop: _neighbour(loop, loop.index0 + 1),
}


# -- expressions -----------------------------------------------------------------------------------------------------


def strict(node: nodes.Node) -> Expression:
    """Return the expression of ``node``; when its value is not there, it raises `MissingValue`."""
    if isinstance(node, nodes.Name):
        return _strict_name(node)
    evaluate = lenient(node)
    if not isinstance(node, _MAY_LACK):
        return evaluate

    def checked(scope: Scope, rendering: Rendering) -> Any:
        value = evaluate(scope, rendering)
        if type(value) is Missing:
            raise MissingValue(value)
        return value

    return checked


def _strict_name(node: nodes.Name) -> Expression:
    name = node.name

    def get(scope: Scope, rendering: Rendering) -> Any:
        try:
            return scope[name]
        except KeyError:
            raise MissingValue(Missing(name)) from None

    return get


def lenient(node: nodes.Node) -> Expression:
    """Return the expression of ``node``; when its value is not there, it is `Missing`."""
    return _EXPRESSIONS[type(node)](node)


def _const(node: nodes.Const) -> Expression:
    value = node.value
    return lambda scope, rendering: value


def _name(node: nodes.Name) -> Expression:
    name, missing = node.name, Missing(node.name)
    return lambda scope, rendering: scope.get(name, missing)


def _getattr(node: nodes.Getattr) -> Expression:
    owner, name = lenient(node.node), node.attr
    of_loop = _LOOP.get(name)

    def get(scope: Scope, rendering: Rendering) -> Any:
        value = owner(scope, rendering)
        if of_loop is not None and type(value) is Loop:
            return of_loop(value)
        return value if type(value) is Missing else lookup(value, name)

    return get


def _getitem(node: nodes.Getitem) -> Expression:
    owner, key = lenient(node.node), strict(cast("nodes.Node", node.arg))

    def get(scope: Scope, rendering: Rendering) -> Any:
        value, wanted = owner(scope, rendering), key(scope, rendering)
        if type(wanted) is tuple:
            # Every look-up computes its hash anew.
            rendering.read(wanted)
        return value if type(value) is Missing else lookup(value, wanted)

    return get


def _filter(node: nodes.Filter) -> Expression:
    function = FILTERS[node.name]
    inner = lenient if node.name == "default" else strict
    value = inner(cast("nodes.Node", node.node))
    args = tuple(inner(arg) for arg in node.args)
    if not node.kwargs:
        if not args:
            return lambda scope, rendering: function(rendering, value(scope, rendering))
        return lambda scope, rendering: function(
            rendering, value(scope, rendering), *[arg(scope, rendering) for arg in args]
        )
    options = {str(pair.key): inner(pair.value) for pair in node.kwargs}

    def apply(scope: Scope, rendering: Rendering) -> Any:
        given = [arg(scope, rendering) for arg in args]
        named = {name: option(scope, rendering) for name, option in options.items()}
        return function(rendering, value(scope, rendering), *given, **named)

    return apply


def _conditional(node: nodes.CondExpr) -> Expression:
    test, then = strict(node.test), lenient(node.expr1)
    if node.expr2 is None:
        return lambda scope, rendering: then(scope, rendering) if test(scope, rendering) else ""
    otherwise = lenient(node.expr2)
    return lambda scope, rendering: then(scope, rendering) if test(scope, rendering) else otherwise(scope, rendering)


def _and(node: nodes.And) -> Expression:
    left, right = strict(node.left), lenient(node.right)
    return lambda scope, rendering: left(scope, rendering) and right(scope, rendering)


def _or(node: nodes.Or) -> Expression:
    left, right = strict(node.left), lenient(node.right)
    return lambda scope, rendering: left(scope, rendering) or right(scope, rendering)


def _not(node: nodes.Not) -> Expression:
    inner = strict(node.node)
    return lambda scope, rendering: not inner(scope, rendering)


def _negative(node: nodes.Neg) -> Expression:
    inner = strict(node.node)
    return lambda scope, rendering: -inner(scope, rendering)


def _concat(node: nodes.Concat) -> Expression:
    parts = tuple(strict(part) for part in node.nodes)

    def concat(scope: Scope, rendering: Rendering) -> str:
        texts = [rendering.text(part(scope, rendering)) for part in parts]
        if sum(map(len, texts)) > MAX_OUTPUT_CHARS:
            raise TooCostly(f"'~' makes a text of more than {MAX_OUTPUT_CHARS:,} characters")
        return rendering.made("".join(texts))

    return concat


def _list(node: nodes.List) -> Expression:
    items = tuple(strict(item) for item in node.items)

    def build(scope: Scope, rendering: Rendering) -> list[Any]:
        value = [item(scope, rendering) for item in items]
        rendering.read(value)
        return value

    return build


def _tuple(node: nodes.Tuple) -> Expression:
    build = _list(nodes.List(node.items))
    return lambda scope, rendering: tuple(build(scope, rendering))


# -- comparisons and tests -------------------------------------------------------------------------------------------

Comparison = Callable[[Rendering, Any, Any], Any]
_SCALARS = frozenset({int, float, bool, type(None)})


def _comparing(compare: Callable[[Any, Any], Any]) -> Comparison:
    def run(rendering: Rendering, left: Any, right: Any) -> Any:
        if type(left) is str and type(right) is str:
            rendering.charge(min(len(left), len(right)))
        elif type(left) not in _SCALARS or type(right) not in _SCALARS:
            rendering.read(left)
            rendering.read(right)
        return compare(left, right)

    return run


def _contains(rendering: Rendering, left: Any, right: Any) -> bool:
    # One key is looked up in a mapping; of anything else, all may be read.
    if isinstance(right, Mapping):
        rendering.read(left)
    elif isinstance(right, str):
        # A short text is looked for at every place anew.
        rendering.charge(len(right) * (1 + min(len(left), 100) // 10 if isinstance(left, str) else 1))
    else:
        rendering.charge(rendering.read(left) + rendering.read(right))
    return left in right


def _contains_not(rendering: Rendering, left: Any, right: Any) -> bool:
    return not _contains(rendering, left, right)


_COMPARISONS: dict[str, Comparison] = {
    name: _comparing(getattr(operator, {"gteq": "ge", "lteq": "le"}.get(name, name)))
    for name in ("eq", "ne", "lt", "gt", "ge", "le", "gteq", "lteq")
} | {"in": _contains, "notin": _contains_not}


def _compare(node: nodes.Compare) -> Expression:
    first = strict(node.expr)
    rest = tuple((_COMPARISONS[operand.op], strict(operand.expr)) for operand in node.ops)
    if len(rest) == 1:
        holds, second = rest[0]
        return lambda scope, rendering: holds(rendering, first(scope, rendering), second(scope, rendering))

    def compare(scope: Scope, rendering: Rendering) -> Any:
        left = first(scope, rendering)
        result: Any = True
        for holds, expression in rest:
            right = expression(scope, rendering)
            result = holds(rendering, left, right)
            if not result:
                break
            left = right
        return result

    return compare


_KINDS: dict[str, Callable[[Any], bool]] = {
    "defined": lambda value: type(value) is not Missing,
    "undefined": lambda value: type(value) is Missing,
    "none": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, Number),
    "mapping": lambda value: isinstance(value, Mapping),
    "sequence": lambda value: isinstance(value, str | list | tuple | Mapping),
    "boolean": lambda value: isinstance(value, bool),
}


def _test(node: nodes.Test) -> Expression:
    if node.name in _KINDS:
        is_kind = _KINDS[node.name]
        inner = lenient(node.node) if node.name in ("defined", "undefined") else strict(node.node)
        if node.args or node.kwargs:
            return _raising(f"the test '{node.name}' takes no argument")
        return lambda scope, rendering: is_kind(inner(scope, rendering))
    holds = _COMPARISONS[node.name]
    if len(node.args) != 1 or node.kwargs:
        return _raising(f"the test '{node.name}' takes one argument")
    left, right = strict(node.node), strict(node.args[0])
    return lambda scope, rendering: holds(rendering, left(scope, rendering), right(scope, rendering))


def _raising(problem: str) -> Expression:
    def fail(scope: Scope, rendering: Rendering) -> Any:
        raise TypeError(problem)

    return fail


_EXPRESSIONS: dict[type[nodes.Node], Callable[[Any], Expression]] = {
    nodes.Const: _const, nodes.Name: _name, nodes.Getattr: _getattr, nodes.Getitem: _getitem, nodes.Filter: _filter,
    nodes.CondExpr: _conditional, nodes.And: _and, nodes.Or: _or, nodes.Not: _not, nodes.Neg: _negative,
    nodes.Concat: _concat, nodes.List: _list, nodes.Tuple: _tuple, nodes.Compare: _compare, nodes.Test: _test,
}  # fmt: skip
_MAY_LACK = (nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.CondExpr, nodes.And, nodes.Or)
