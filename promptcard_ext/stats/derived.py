"""Derived metrics: formulas over named metrics."""

from __future__ import annotations

import ast
import keyword
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any

from msgspec import Meta, Struct

from promptcard_ext.core.errors import CardError
from promptcard_ext.core.fields import coerce_fields
from promptcard_ext.stats.scores import MetricScore

COUNT = "__count"
MAX_CHARS = 500
MAX_DEPTH = 100

FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "round": lambda value, digits=0: round(float(value), int(digits)),  # of a whole number -10⁹ digits take for ever
    "sqrt": math.sqrt,
    "log": math.log,
    "exp": math.exp,
}
_OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: lambda a, b: float(a) + b,
    ast.Sub: lambda a, b: float(a) - b,
    ast.Mult: lambda a, b: float(a) * b,
    ast.Div: lambda a, b: float(a) / b,
    ast.Mod: lambda a, b: float(a) % b,
    ast.Pow: lambda a, b: math.pow(a, b),  # of floats: an absurd power overflows at once
    ast.USub: lambda a: -a,
    ast.UAdd: lambda a: a,
}
_NODES = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Constant, ast.Load, *_OPERATORS)


class DerivedMetric(Struct, frozen=True, forbid_unknown_fields=True):
    """A metric computed from others, over the items of one card version on one model.

    Args:
        name: What to call it; formulas after it may use it.
        value: Formula of numbers, ``+ - * / % **`` (or ``^``), the functions min, max, abs, round, sqrt, log, exp, and
            names. The name of a metric is the *sum* of its scores over the items, and ``__count`` their number. In a
            name every character but letters, digits and ``_`` is written ``_``: ``Answer relevance`` is
            ``Answer_relevance``.

    Raises:
        CardError: The formula cannot be read, or uses something else (``derived_metric_invalid``).

    Example:
        >>> f1 = DerivedMetric("f1", "2 * tp / (2 * tp + fp + fn)")
        >>> sorted(formula_names(f1.value))
        ['fn', 'fp', 'tp']
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    value: Annotated[str, Meta(min_length=1, max_length=MAX_CHARS)]

    def __post_init__(self) -> None:
        coerce_fields(self, f"derived metric '{self.name!s:.60}'")
        try:
            used = formula_names(self.value)
            compute(self.value, dict.fromkeys(used, 1.0))
        except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
            raise CardError(
                f"Derived metric '{self.name:.60}': the formula {self.value!r:.200} cannot be used: {error!s:.200}.",
                code="derived_metric_invalid",
                hint=f"Use numbers, names of metrics, + - * / % **, parentheses and {', '.join(FUNCTIONS)}.",
            ) from None


class DerivedRow(Struct, frozen=True):
    """A derived metric of one card version on one model.

    Attributes:
        value: None when it is not defined; ``reason`` says why.
        reason: ``metric_missing`` (no item has one of the metrics), ``metric_ambiguous`` (two metrics are written
            alike in a formula), ``metric_undecided`` (no item in which all of them are decided), or
            ``formula_undefined`` (such as a division by zero).
        items: Items that it is computed over, ``__count`` in the formula.
        left_out: Items in which one of the metrics is undecided, or that nothing judged.
    """

    name: str
    value: float | None
    reason: str | None
    items: int
    left_out: int

    @property
    def text(self) -> str:
        """For example ``0.857 over 48 items, 2 left out``."""
        if self.value is None:
            return f"undefined ({self.reason}, {self.left_out} of {self.items + self.left_out} left out)"
        return f"{self.value:.3g} over {self.items} items" + (f", {self.left_out} left out" if self.left_out else "")


@lru_cache(4096)
def identifier(metric: str) -> str:
    """Return how the name of a metric is written in a formula.

    Example:
        >>> identifier("Answer relevance"), identifier("2nd"), identifier("is")
        ('Answer_relevance', '_2nd', 'is_')
    """
    # The parser reads names in this normal form.
    letters = unicodedata.normalize("NFKC", metric)
    name = "".join(letter if f"_{letter}".isidentifier() else "_" for letter in letters)
    if not name.isidentifier():
        name = f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


@lru_cache(256)
def _parsed(formula: str) -> ast.Expression:
    tree = ast.parse(formula.strip().replace("^", "**"), mode="eval")
    _check(tree.body)
    return tree


def _check(node: ast.AST, depth: int = 0) -> None:
    """Refuse whatever is not arithmetic.

    Raises:
        ValueError: Names what is refused.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
    if not isinstance(node, _NODES):
        raise ValueError(f"it has a {type(node).__name__}, and only arithmetic is allowed")
    if isinstance(node, ast.Constant) and type(node.value) not in (int, float):
        raise ValueError(f"{node.value!r:.60} is not a number")
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            raise ValueError(f"there is no function {ast.unparse(node.func):.60}")
        if node.keywords:
            raise ValueError("arguments have no names")
        inner: Sequence[ast.AST] = node.args
    else:
        inner = list(ast.iter_child_nodes(node))
    for each in inner:
        _check(each, depth + 1)


def formula_names(formula: str) -> frozenset[str]:
    """Return the names a formula uses, ``__count`` not among them.

    Raises:
        SyntaxError: It is no formula.
        ValueError: It has something that is not arithmetic.
    """
    tree = _parsed(formula)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}
    return frozenset(names - {COUNT})


def compute(formula: str, names: Mapping[str, float], count: int = 1) -> float | None:
    """Return the value of a formula, or None where it is not defined: a division by zero, a root or power that is no
    real number, a number too large.

    Raises:
        TypeError: A function has the wrong number of arguments.
    """
    from simpleeval import SimpleEval  # type: ignore[import-untyped]

    functions: Any = FUNCTIONS
    evaluator = SimpleEval(_OPERATORS, functions, {**names, COUNT: float(count)})
    try:
        value = float(evaluator.eval(formula, previously_parsed=_parsed(formula).body))
    except (ArithmeticError, ValueError):
        return None
    return value if math.isfinite(value) else None


class DerivedTally:
    """Derived metrics of a group of items, added one item at a time; memory is one sum per formula and name."""

    def __init__(self, metrics: Sequence[DerivedMetric]) -> None:
        self._written: dict[str, str] = {}
        self._ambiguous: set[str] = set()
        self._formulas: list[_Formula] = []
        for metric in metrics:
            self._formulas.append(_Formula(metric, self._formulas))

    def add(self, scores: Mapping[str, MetricScore], *, judged: bool) -> None:
        """Add one item; ``judged`` is whether any assertion came to it at all."""
        points: dict[str, float | None] = {}
        for name, score in scores.items():
            written = identifier(name)
            if self._written.setdefault(written, name) != name:
                self._ambiguous.add(written)
            points[written] = score.points
        for formula in self._formulas:
            formula.add(points, judged)

    def rows(self) -> tuple[DerivedRow, ...]:
        """Return a row per formula, in their order."""
        return tuple(formula.row(self._written.keys(), self._ambiguous) for formula in self._formulas)


class _Formula:
    """One derived metric with the sums it needs."""

    def __init__(self, metric: DerivedMetric, before: Sequence[_Formula]) -> None:
        self.metric = metric
        own = formula_names(metric.value)
        # The last of those that are called alike, so that a formula may refine the one before it.
        self.inner = {identifier(each.metric.name): each for each in before if identifier(each.metric.name) in own}
        self.names: frozenset[str] = own - self.inner.keys()
        for each in self.inner.values():
            self.names |= each.names
        self.sums = dict.fromkeys(self.names, 0.0)
        self.items = self.left_out = 0

    def add(self, points: Mapping[str, float | None], judged: bool) -> None:
        found = {name: points[name] for name in self.names if name in points}
        if not judged or None in found.values():
            self.left_out += 1
            return
        self.items += 1
        for name, value in found.items():
            self.sums[name] += value or 0.0

    def row(self, known: Any, ambiguous: set[str]) -> DerivedRow:
        value: float | None = None
        reason: str | None = None
        if self.names & ambiguous:
            reason = "metric_ambiguous"
        elif self.names - known:
            reason = "metric_missing"
        elif not self.items:
            reason = "metric_undecided"
        elif (value := self.value(self.sums, self.items)) is None:
            reason = "formula_undefined"
        return DerivedRow(self.metric.name, value, reason, self.items, self.left_out)

    def value(self, sums: Mapping[str, float], items: int) -> float | None:
        """Return the value over the items that ``sums`` are of; those inside are computed over the same ones."""
        names = dict(sums)
        for name, inner in self.inner.items():
            found = inner.value(sums, items)
            if found is None:
                return None
            names[name] = found
        return compute(self.metric.value, names, items)
