"""The statements of a template as functions: ``f(scope, rendering)`` writes to the rendering."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jinja2 import nodes

from promptcard_ext.core.expressions import Loop, Scope, strict
from promptcard_ext.core.rendering import NODE_WORK, Missing, MissingValue, Rendering, TooCostly

Statement = Callable[[Scope, Rendering], None]
Include = Callable[[str], Statement]
# What filters, operators and texts that are too large to build raise.
FAILURES = (
    TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError, MemoryError, TooCostly,
)  # fmt: skip


class Failed(Exception):
    """Something on a line of the template cannot be done.

    Args:
        line: From 1.
        cause: What was raised.
    """

    def __init__(self, line: int, cause: Exception) -> None:
        super().__init__(str(cause))
        self.line = line
        self.cause = cause


def statements(body: Iterable[nodes.Node], include: Include) -> tuple[Statement, ...]:
    """Return the statements of ``body``.

    Args:
        include: Gives the statement that writes an included text.
    """
    made: list[Statement] = []
    for node in body:
        if isinstance(node, nodes.Output):
            made.extend(_output(child) for child in node.nodes)
        elif isinstance(node, nodes.If):
            made.append(_if(node, include))
        elif isinstance(node, nodes.For):
            made.append(_for(node, include))
        elif isinstance(node, nodes.Include) and isinstance(node.template, nodes.Const):
            made.append(include(node.template.value))
    return tuple(made)


def _output(node: nodes.Expr) -> Statement:
    if isinstance(node, nodes.TemplateData):
        data = node.data
        return lambda scope, rendering: rendering.write(data)
    if isinstance(node, nodes.Name):
        return _output_name(node)
    evaluate, line = strict(node), node.lineno

    def write(scope: Scope, rendering: Rendering) -> None:
        try:
            value = evaluate(scope, rendering)
            rendering.write(value if type(value) is str else rendering.text(value))
        except FAILURES as error:
            raise Failed(line, error) from None

    return write


def _output_name(node: nodes.Name) -> Statement:
    # What most templates are made of.
    name, line = node.name, node.lineno

    def write(scope: Scope, rendering: Rendering) -> None:
        try:
            value = scope[name]
        except KeyError:
            raise MissingValue(Missing(name)) from None
        if type(value) is not str:
            try:
                value = rendering.text(value)
            except FAILURES as error:
                raise Failed(line, error) from None
        rendering.write(value)

    return write


def _if(node: nodes.If, include: Include) -> Statement:
    branches = tuple((strict(part.test), statements(part.body, include), part.lineno) for part in (node, *node.elif_))
    otherwise = statements(node.else_, include)

    def chosen(scope: Scope, rendering: Rendering) -> tuple[Statement, ...]:
        for test, body, line in branches:
            try:
                if test(scope, rendering):
                    return body
            except FAILURES as error:
                raise Failed(line, error) from None
        return otherwise

    def choose(scope: Scope, rendering: Rendering) -> None:
        for statement in chosen(scope, rendering):
            statement(scope, rendering)

    return choose


def _for(node: nodes.For, include: Include) -> Statement:
    bind, names = _binding(node.target)
    values = strict(node.iter)
    body, otherwise = statements(node.body, include), statements(node.else_, include)
    test = strict(node.test) if node.test is not None else None
    work = NODE_WORK * sum(count_nodes(part) for part in node.iter_child_nodes(exclude=("iter", "else_")))
    uses_loop = any("loop" in names_used(part) for part in node.body)
    line, single = node.lineno, node.target.name if isinstance(node.target, nodes.Name) else None

    def candidates(scope: Scope, rendering: Rendering) -> Sequence[Any]:
        found = values(scope, rendering)
        items: Sequence[Any] = found if isinstance(found, list | tuple | str) else list(found)
        return items if test is None else _passing(items, scope, rendering)

    def _passing(items: Sequence[Any], scope: Scope, rendering: Rendering) -> list[Any]:
        passing = []
        rendering.enter_loop(len(items), work)
        for item in items:
            bind(scope, item)
            if test is not None and test(scope, rendering):
                passing.append(item)
        return passing

    def run(scope: Scope, rendering: Rendering) -> None:
        # Names of a loop end with it; what they hid is there again.
        hidden = {name: scope[name] for name in (*names, "loop") if name in scope}
        try:
            items = candidates(scope, rendering)
            rendering.enter_loop(len(items), work)
            loop = Loop(items)
            for index, item in enumerate(items):
                if single is not None:
                    scope[single] = item
                else:
                    bind(scope, item)
                if uses_loop:
                    loop.index0 = index
                    scope["loop"] = loop
                for statement in body:
                    statement(scope, rendering)
        except FAILURES as error:
            raise Failed(line, error) from None
        for name in (*names, "loop"):
            scope.pop(name, None)
        scope.update(hidden)
        if not items:
            for statement in otherwise:
                statement(scope, rendering)

    return run


def _binding(target: nodes.Node) -> tuple[Callable[[Scope, Any], None], tuple[str, ...]]:
    """Return what gives the names of ``target`` their values, and these names."""
    if isinstance(target, nodes.Name):
        name = target.name

        def bind_one(scope: Scope, value: Any) -> None:
            scope[name] = value

        return bind_one, (name,)
    inner = [_binding(item) for item in target.iter_child_nodes()]

    def bind_all(scope: Scope, value: Any) -> None:
        if isinstance(value, Loop) or not isinstance(value, Iterable):
            raise TypeError(f"a {type(value).__name__} cannot be taken apart into {len(inner)} variables")
        if len(value) != len(inner):  # type: ignore[arg-type]
            raise ValueError(f"{len(value)} values cannot be given to {len(inner)} variables")  # type: ignore[arg-type]
        for (bind, _), part in zip(inner, value, strict=True):
            bind(scope, part)

    return bind_all, tuple(name for _, names in inner for name in names)


# -- what is in a tree -------------------------------------------------------------------------------------------------


def loop_names(loop: nodes.For) -> tuple[str, ...]:
    """Return the names that a loop binds."""
    return _binding(loop.target)[1]


def count_nodes(node: nodes.Node) -> int:
    """Count ``node`` and all that is in it."""
    count, stack = 0, [node]
    while stack:
        count += 1
        stack.extend(stack.pop().iter_child_nodes())
    return count


def names_used(node: nodes.Node) -> frozenset[str]:
    """Return the names that ``node`` reads and does not bind itself."""
    if isinstance(node, nodes.Name):
        return frozenset((node.name,) if node.ctx == "load" else ())
    if isinstance(node, nodes.For):
        inside = (part for part in node.iter_child_nodes(exclude=("iter", "else_", "target")))
        bound = {"loop", *loop_names(node)}
        outside = (node.iter, *node.else_)
        return _union(inside) - bound | _union(outside)
    return _union(node.iter_child_nodes())


def _union(parts: Iterable[nodes.Node]) -> frozenset[str]:
    return frozenset().union(*(names_used(part) for part in parts))
