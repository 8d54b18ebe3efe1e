"""The variables of a test: from files, made of each other, one value or several."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from promptcard_ext.core import template
from promptcard_ext.core.errors import FileError, TemplateError
from promptcard_ext.interchange.promptfoo.node import Node
from promptcard_ext.interchange.promptfoo.source import STRUCTURED, Source, reference
from promptcard_ext.interchange.promptfoo.templates import plain, translate, uses_template

MAX_COMBINATIONS = 100_000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_ROUNDS = 5
_MEDIA = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".mp3", ".wav", ".mp4", ".pdf", ".svg"})


def read_variables(node: Node, source: Source) -> dict[str, Any]:
    """Return the variables of a ``vars`` section, with the contents of files; what cannot be read is reported."""
    value = node.value
    if isinstance(value, str | list):
        merged: dict[str, Any] = {}
        for one in node:
            merged |= _from_files(one, source)
        return merged
    if value is None:
        return {}
    if not isinstance(value, dict):
        node.lost("vars_invalid", "variables are given by name, or as the name of a file")
        return {}
    found = {str(name): _read(node.child(name), source) for name in value}
    return {name: one for name, one in found.items() if one is not _MISSING}


_MISSING: Any = object()


def _from_files(node: Node, source: Source) -> dict[str, Any]:
    if not isinstance(node.value, str):
        node.lost("vars_invalid", "variables are given by name, or as the name of a file")
        return {}
    wanted = reference(node.value)
    if wanted.is_script or wanted.suffix not in STRUCTURED:
        node.lost("script_unsupported", f"variables are not read from '{node.value:.200}'", "Use a YAML or JSON file.")
        return {}
    found: dict[str, Any] = {}
    for path in source.files(wanted, node):
        try:
            found |= read_variables(source.load(path), source)
        except FileError as error:
            node.lost(error.code, error.message.rstrip("."))
    return found


def _read(node: Node, source: Source) -> Any:
    value = node.value
    if isinstance(value, list):
        parts = [_read(one, source) if one.value is not None else None for one in node]
        return [one for one in parts if one is not _MISSING]
    if not isinstance(value, str) or not value.startswith("file://"):
        return "" if value is None else value
    wanted = reference(value)
    if wanted.is_script or wanted.suffix in _MEDIA:
        what = "is made by a program" if wanted.is_script else "is not text"
        node.lost("var_unsupported", f"the value in '{value:.200}' {what}; the variable is left out")
        return _MISSING
    try:
        paths = source.files(wanted, node)
        values = [
            source.load(path).value if wanted.suffix in STRUCTURED else source.filled_text(path).strip()
            for path in paths
        ]
    except FileError as error:
        node.lost(error.code, error.message.rstrip("."))
        return _MISSING
    if not values:
        return _MISSING
    return values if any(mark in wanted.path for mark in "*?[") else values[0]


def fitting_names(variables: Mapping[str, Any], node: Node) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the variables that a card can have, and the rest, which no template can name either."""
    fitting = {name: value for name, value in variables.items() if _NAME.fullmatch(name)}
    rest = {name: value for name, value in variables.items() if name not in fitting}
    for name in rest:
        node.changed(
            "variable_name",
            f"'{name:.60}' cannot be the name of a variable; its values are kept as metadata",
            "Names have letters, digits and underscores, and begin with a letter.",
        )
    return fitting, rest


def combinations(variables: Mapping[str, Any], node: Node, expand: bool = True) -> Iterator[dict[str, Any]]:
    """Yield the variables once for every combination of their lists of texts, the last list changing fastest."""
    lists = [name for name, value in variables.items() if expand and _is_matrix(value)]
    number = 1
    for name in lists:
        number *= len(variables[name])
    if number > MAX_COMBINATIONS:
        node.lost("too_many_cases", f"its lists make {number:,} combinations; the limit is {MAX_COMBINATIONS:,}")
        return
    for chosen in itertools.product(*(variables[name] for name in lists)):
        yield {**variables, **dict(zip(lists, chosen, strict=True))}


def _is_matrix(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def composed(variables: Mapping[str, Any], node: Node) -> dict[str, Any]:
    """Return the variables with ``{{ other_variable }}`` in their texts replaced."""
    done, settled = dict(variables), set[str]()
    for _ in range(_ROUNDS):
        before = dict(done)
        for name, value in before.items():
            if name in settled or not isinstance(value, str) or not uses_template(value):
                continue
            if (kept := plain(value)) is not None:
                settled.add(name)
                done[name] = kept
            else:
                done[name] = _rendered(value, before, name)
        if done == before:
            break
    for name, value in done.items():
        if name not in settled and value == variables[name] and isinstance(value, str) and uses_template(value):
            node.info("template_in_value", f"the value of '{name:.60}' looks like a template and is taken as it stands")
    return done


def _rendered(text: str, variables: Mapping[str, Any], name: str) -> str:
    try:
        parsed = template.parse(translate(text, f"variable '{name}'").text, f"variable '{name}'")
        if not parsed.variables <= set(variables) - {name}:
            return text
        return parsed.render(variables)
    except TemplateError:
        return text
