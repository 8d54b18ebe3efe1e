"""How a configuration wants to be run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from promptcard_ext.interchange.promptfoo.cards import PREFIX, SUFFIX
from promptcard_ext.interchange.promptfoo.node import Node


class RunOptions(NamedTuple):
    """What is said about the run; None where nothing is said.

    Attributes:
        mode: ``live`` when the cache is turned off.
        grader: The model that judges.
        affixes: Texts before and after every prompt.
    """

    repeats: int = 1
    concurrency: int | None = None
    timeout_s: float | None = None
    deadline_s: float | None = None
    mode: str | None = None
    grader: Node | None = None
    affixes: Mapping[str, str] = {}


# They change what is shown, or where results go.
_SHOWN = frozenset(
    {"showProgressBar", "progressBar", "table", "tableCellMaxLength", "verbose", "share", "write", "watch", "output",
     "description", "interactiveProviders", "generateSuggestions"}
)  # fmt: skip
_AFFIXES = {"promptPrefix": PREFIX, "promptSuffix": SUFFIX}
_NUMBERS = {
    "maxConcurrency": ("concurrency", 1),
    "repeat": ("repeats", 1),
    "timeoutMs": ("timeout_s", 1000),
    "maxEvalTimeMs": ("deadline_s", 1000),
}


def read_options(root: Node) -> RunOptions:
    """Return the options of ``evaluateOptions`` and ``commandLineOptions``; the first come before the second."""
    found: dict[str, Any] = {}
    affixes: dict[str, str] = {}
    for section in ("commandLineOptions", "evaluateOptions"):
        node = root.child(section)
        for key in node.value if isinstance(node.value, dict) else ():
            if key in _AFFIXES and node.has(key):
                affixes[_AFFIXES[key]] = str(node.value[key])
            elif node.has(key):
                found |= _option(str(key), node.child(key))
    return RunOptions(affixes=affixes, **found)


def _option(key: str, node: Node) -> dict[str, Any]:
    if key in _NUMBERS:
        return _number(key, node)
    if key == "cache":
        return {"mode": "live"} if node.value is False else {}
    if key == "grader":
        return {"grader": node}
    if key == "delay" and not node.value:
        return {}
    if key not in _SHOWN:
        node.lost("option_unsupported", f"the option '{key:.60}' does not exist here")
    return {}


def _number(key: str, node: Node) -> dict[str, Any]:
    name, divisor = _NUMBERS[key]
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        node.lost("option_unsupported", f"'{key}' is {value!r:.40}, which is no number")
        return {}
    if value == 0:
        # For times it means no limit, and that is what nothing means here.
        return {}
    return {name: value / divisor if divisor > 1 else int(value)}
