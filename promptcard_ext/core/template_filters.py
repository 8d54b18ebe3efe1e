"""The filters of the template language.

Each is charged for what it reads before it runs, and what it makes is limited; see `core.rendering`. Where Jinja has
the filter, it means the same here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import filters

from promptcard_ext.core import pattern as patterns
from promptcard_ext.core.rendering import MAX_ITERATIONS, MAX_OUTPUT_CHARS, Missing, MissingValue, Rendering, TooCostly

Filter = Callable[..., Any]
MAX_NUMBER_CHARS = 400
_PATTERN_WORK = 300_000
_ITEM_WORK = 40
FILTERS: dict[str, Filter] = {}


def _filter(function: Filter) -> Filter:
    FILTERS[function.__name__.strip("_")] = function
    return function


# -- lookups ---------------------------------------------------------------------------------------------------------


# The first of them is found at once; the check of a mapping by its abstract class takes longer.
_LOOKED_INTO = (dict, list, tuple, str, Mapping)


def lookup(value: Any, key: Any) -> Any:
    """Return ``value[key]``, or `Missing`. Attributes of Python objects are never looked up."""
    if isinstance(value, _LOOKED_INTO):
        try:
            return value[key]
        except (LookupError, TypeError):
            pass
    return Missing(str(key) if isinstance(key, str | int) else "")


Path = tuple[str | int, ...]


def _path(rendering: Rendering, attribute: str | int, count: int) -> Path:
    """Return the keys of ``order.items.0``, and charge for following them in ``count`` values."""
    parts = str(attribute).split(".")
    rendering.charge(10 * count * len(parts))
    return tuple(int(part) if part.isdecimal() else part for part in parts)


def _follow(value: Any, path: Path) -> Any:
    for key in path:
        value = lookup(value, key)
        if type(value) is Missing:
            raise MissingValue(value)
    return value


def _items(rendering: Rendering, name: str, values: Any) -> list[Any] | tuple[Any, ...] | str:
    """Return the items of a list, mapping or text, which must not be too many."""
    if not isinstance(values, Iterable):
        raise TypeError(f"'{name}' needs a list, not {type(values).__name__}")
    items = values if isinstance(values, list | tuple | str) else list(values)
    if len(items) > MAX_ITERATIONS:
        raise TooCostly(f"'{name}' takes at most {MAX_ITERATIONS:,} items")
    rendering.read(items)
    return items


# -- values ----------------------------------------------------------------------------------------------------------


@_filter
def default(_: Rendering, value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    """Give another value when there is none; with ``true``, also when it is empty."""
    return default_value if type(value) is Missing or (boolean and not value) else value


@_filter
def first(_: Rendering, values: Any) -> Any:
    """Return the first item of a list or text."""
    return next(iter(values), Missing(why="'first' of something empty"))


@_filter
def last(_: Rendering, values: Any) -> Any:
    """Return the last item of a list or text."""
    return next(iter(reversed(values)), Missing(why="'last' of something empty"))


@_filter
def length(_: Rendering, values: Any) -> int:
    """Count items, keys or characters."""
    return len(values)


@_filter
def int_(_: Rendering, value: Any, default: Any = 0, base: int = 10) -> Any:
    """Make an integer, or ``default``."""
    return default if _is_long(value) else filters.do_int(value, default, base)


@_filter
def float_(_: Rendering, value: Any, default: Any = 0.0) -> Any:
    """Make a number, or ``default``."""
    return default if _is_long(value) else filters.do_float(value, default)


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) > MAX_NUMBER_CHARS


@_filter
def round_(_: Rendering, value: Any, precision: int = 0, method: str = "common") -> Any:
    """Round a number: ``common``, ``ceil`` or ``floor``."""
    if method not in ("common", "ceil", "floor"):
        raise ValueError("the method of 'round' is 'common', 'ceil' or 'floor'")
    # Ten to the power of a huge precision is not computed in our lifetime.
    digits = max(-300, min(int(precision), 300))
    if method == "common":
        return round(value, digits)
    if not isinstance(value, int | float):
        # A text or list times a number would be that many copies.
        raise TypeError(f"'round' needs a number, not {type(value).__name__}")
    factor = 10**digits
    return getattr(math, method)(value * factor) / factor


# -- lists -----------------------------------------------------------------------------------------------------------


def _ignore_case(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


@_filter
def sort(
    rendering: Rendering,
    values: Any,
    reverse: bool = False,
    case_sensitive: bool = False,
    attribute: str | int | None = None,
) -> list[Any]:
    """Sort; texts without regard to case unless ``case_sensitive``."""
    items = _items(rendering, "sort", values)
    # Each comparison may read both values whole.
    rendering.charge(rendering.read(items) * len(items).bit_length())
    paths = [] if attribute is None else [_path(rendering, one, len(items)) for one in str(attribute).split(",")]

    def key(item: Any) -> Any:
        found = [_follow(item, path) for path in paths] if paths else [item]
        return found if case_sensitive else [_ignore_case(one) for one in found]

    return sorted(items, key=key, reverse=reverse)


@_filter
def unique(
    rendering: Rendering, values: Any, case_sensitive: bool = False, attribute: str | int | None = None
) -> list[Any]:
    """Keep the first of equal items; texts are equal without regard to case unless ``case_sensitive``."""
    items = _items(rendering, "unique", values)
    rendering.charge(10 * len(items))
    path = () if attribute is None else _path(rendering, attribute, len(items))
    found: dict[Any, Any] = {}
    for item in items:
        value = _follow(item, path)
        found.setdefault(_key(value if case_sensitive else _ignore_case(value)), item)
    return list(found.values())


def _key(value: Any) -> Any:
    # Numbers as texts: anybody can make integers with the same hash, and then each would be compared with all others.
    if isinstance(value, tuple):
        return ("tuple", tuple(_key(part) for part in value))
    if isinstance(value, int | float):
        return ("number", str(int(value) if isinstance(value, float) and value.is_integer() else +value))
    return value


@_filter
def join(rendering: Rendering, values: Any, separator: Any = "", attribute: str | int | None = None) -> str:
    """Join the items to a text."""
    items = _items(rendering, "join", values)
    if attribute is not None:
        path = _path(rendering, attribute, len(items))
        items = [_follow(item, path) for item in items]
    texts, between = [rendering.text(item) for item in items], rendering.text(separator)
    if sum(map(len, texts)) + len(between) * len(texts) > MAX_OUTPUT_CHARS:
        raise TooCostly(f"'join' makes a text of more than {MAX_OUTPUT_CHARS:,} characters")
    return rendering.made(between.join(texts))


@_filter
def split(rendering: Rendering, value: Any, separator: str | None = None) -> list[str]:
    """Split a text at ``separator``, or at white space."""
    text = rendering.text(value)
    if separator is not None and text.count(separator) >= MAX_ITERATIONS:
        raise TooCostly(f"'split' makes more than {MAX_ITERATIONS:,} items")
    found = text.split(separator, MAX_ITERATIONS)
    if len(found) > MAX_ITERATIONS:
        raise TooCostly(f"'split' makes more than {MAX_ITERATIONS:,} items")
    # For the memory that each of them takes, as many as a template may hold at a time.
    rendering.charge(_ITEM_WORK * len(found))
    return found


@_filter
def lines(rendering: Rendering, value: Any) -> list[str]:
    """Split a text into its lines, without their ends."""
    text = rendering.text(value).replace("\r\n", "\n").removesuffix("\n")
    return split(rendering, text, "\n") if text else []


# -- texts -----------------------------------------------------------------------------------------------------------


@_filter
def lower(rendering: Rendering, value: Any) -> str:
    """Lower case."""
    return rendering.made(rendering.text(value).lower())


@_filter
def upper(rendering: Rendering, value: Any) -> str:
    """Upper case."""
    return rendering.made(rendering.text(value).upper())


@_filter
def capitalize(rendering: Rendering, value: Any) -> str:
    """First letter upper case, the rest lower case."""
    return rendering.made(rendering.text(value).capitalize())


@_filter
def title(rendering: Rendering, value: Any) -> str:
    """First letter of every word upper case, the rest lower case."""
    text = rendering.text(value)
    # It takes the text apart into words, each an object.
    if len(text) > 2 * MAX_ITERATIONS:
        raise TooCostly(f"'title' takes at most {2 * MAX_ITERATIONS:,} characters")
    rendering.charge(10 * len(text))
    return rendering.made(filters.do_title(text))


@_filter
def trim(rendering: Rendering, value: Any, chars: str | None = None) -> str:
    """Without the white space, or the given characters, at both ends."""
    text = rendering.text(value)
    if chars is not None:
        # Each character of the text is looked for among these.
        rendering.charge(len(text) * len(chars) // 10)
        if len(chars) > 1000:
            raise TooCostly("'trim' takes at most 1,000 characters")
    return text.strip(chars)


@_filter
def truncate(
    rendering: Rendering, value: Any, length: int = 255, killwords: bool = False, end: str = "...", leeway: int = 5
) -> Any:
    """Cut a text at ``length``, at the end of a word unless ``killwords``."""
    rendering.read(value)
    rendering.read(end)
    if length < len(end):
        raise ValueError(f"the length of 'truncate' is {length!s:.20}, less than that of its end ({len(end)})")
    if leeway < 0:
        raise ValueError("the leeway of 'truncate' is less than 0")
    if len(value) <= length + leeway:
        return value
    cut = value[: length - len(end)]
    return (cut if killwords else cut.rsplit(" ", 1)[0]) + end


@_filter
def replace(rendering: Rendering, value: Any, old: str, new: str, count: int = -1) -> str:
    """Replace ``old`` by ``new``, everywhere or ``count`` times."""
    text = rendering.text(value)
    found = text.count(old)
    found = min(found, count) if count >= 0 else found
    if len(text) + found * (len(new) - len(old)) > MAX_OUTPUT_CHARS:
        raise TooCostly(f"'replace' makes a text of more than {MAX_OUTPUT_CHARS:,} characters")
    return rendering.made(text.replace(old, new, count))


@_filter
def first_line(rendering: Rendering, value: Any) -> str:
    """Return the first line that is not blank."""
    return rendering.text(value).strip().partition("\n")[0].rstrip()


@_filter
def last_line(rendering: Rendering, value: Any) -> str:
    """Return the last line that is not blank."""
    return rendering.text(value).strip().rpartition("\n")[2].lstrip()


@_filter
def strip_fences(rendering: Rendering, value: Any) -> str:
    """Return what is inside a Markdown code fence when the whole text is one, else the text trimmed."""
    text = rendering.text(value).strip()
    opening, newline, rest = text.partition("\n")
    fence = opening[: len(opening) - len(opening.lstrip("`~"))]
    if len(fence) < 3 or not newline or not rest.endswith(fence):
        return text
    inside = rest.removesuffix(fence)
    return inside.strip("\n") if not inside or inside.endswith("\n") else text


@_filter
def match(rendering: Rendering, value: Any, pattern: str, group: int | str = 0) -> Any:
    """Return what the first match of ``pattern`` (RE2) found, or one group of it; no value when nothing matches."""
    text = rendering.text(value)
    rendering.charge(_PATTERN_WORK)
    try:
        compiled = patterns.compile_re2(pattern)
        rendering.charge(compiled.programsize * len(text))
        found = patterns.search(pattern, text)
    except patterns.PatternTooCostly as error:
        raise TooCostly(str(error)) from None
    if found is None or (part := found.group(group)) is None:
        return Missing(why=f"'match' did not find {pattern!r:.80}")
    return part


@_filter
def tojson(rendering: Rendering, value: Any) -> str:
    """Write as JSON, text as it is: what Jinja escapes for HTML, a model should read unescaped."""
    # Each value is written one by one, and a number takes longer than its characters.
    rendering.charge(4 * rendering.read(value))
    return rendering.made(json.dumps(value, ensure_ascii=False))
