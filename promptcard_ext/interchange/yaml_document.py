"""YAML and JSON with the line of every value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from promptcard_ext.core.errors import FileError
from promptcard_ext.core.identity import refuse_constant

MAX_NODES = 500_000

Place = tuple[str | int, ...]


class YamlDocument:
    """A parsed file, and where in it everything is.

    Args:
        text: YAML or JSON.
        name: What to call the file in messages.

    Raises:
        FileError: It is empty (``file_empty``), not YAML (``yaml_syntax``), or too large with its aliases
            (``file_too_large``).
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        try:
            # Outside of its texts JSON may have tabs, which YAML may not; in them it has none.
            root = yaml.compose(text.replace("\t", " ") if name.endswith(".json") else text, Loader=Loader)
            if root is None:
                raise FileError(f"{name}: the file is empty.", code="file_empty")
            _refuse_bomb(root, name)
            self.root: yaml.Node = root
            self.value: Any = _json(text) if name.endswith(".json") else None
            if self.value is None:
                self.value = Loader("").construct_document(root)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
            problem = error.problem or error.context
            raise FileError(f"{name}, {line}: not valid YAML: {problem}.", code="yaml_syntax") from None
        except (yaml.YAMLError, RecursionError) as error:
            raise FileError(f"{name}: not valid YAML: {error}.", code="yaml_syntax") from None

    def line(self, place: Place) -> int:
        """Return the line (from 1) of what stands at ``place``, or of the nearest thing around it."""
        return self._find(place)[1] + 1

    def text_line(self, place: Place) -> int:
        """Return the line (from 1) on which the first line of a text stands: a block scalar begins below its key."""
        node, line = self._find(place)
        block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
        return line + 1 + block

    def _find(self, place: Place) -> tuple[yaml.Node, int]:
        node, line = self.root, self.root.start_mark.line
        for part in place:
            child = _child(node, part)
            if child is None:
                break
            node, line = child
        return node, line


def _json(text: str) -> Any:
    """Return the value of a JSON text, or None when it is none: two escaped halves of a character are one there."""
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except ValueError:
        return None


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return value, key.start_mark.line
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line
    return None


class Loader(yaml.SafeLoader):
    """Safe YAML 1.2 values (`NO`, `12:30` and dates stay text) where a key may not be given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key '{key.value:.60}' is given twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


# The core schema of YAML 1.2, and `<<`.
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("null", "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?|(?:0|[1-9][0-9]*)[eE][-+]?[0-9]+)",
        "-+.0123456789",
    ),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), list(_first))


def _refuse_bomb(root: yaml.Node, name: str) -> None:
    """Aliases are shared in memory, but not once the value is written as JSON: count what they would become."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = 1
            sizes[id(node)] += sum(size(child) for child in _children(node))
        return sizes[id(node)]

    if size(root) > MAX_NODES:
        raise FileError(f"{name}: its aliases expand to more than {MAX_NODES:,} values.", code="file_too_large")


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value


def read_text(path: Path, limit: int = 5_000_000) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark.

    Raises:
        FileError: It cannot be read (``file_unreadable``), is above ``limit`` bytes (``file_too_large``) or is not
            UTF-8 (``file_not_utf8``, with the line).
    """
    try:
        if path.stat().st_size > limit:
            raise FileError(f"{path} is larger than {limit:,} bytes.", code="file_too_large", hint="Split it.")
        data = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}.", code="file_unreadable") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileError(
            f"{path}, line {line}: the file is not UTF-8.",
            code="file_not_utf8",
            hint="Save it as UTF-8 and try again.",
        ) from None
