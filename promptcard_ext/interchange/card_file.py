"""Card files: one YAML file holds a card, its versions and its test cases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, Example, Message, ModelSettings, Variable
from promptcard_ext.core.case import Case, as_cases
from promptcard_ext.core.errors import FileError, PromptCardError, TemplateError
from promptcard_ext.core.shown import html_of
from promptcard_ext.core.template import parse

MAX_FILE_BYTES = 5_000_000
MAX_NODES = 500_000
MAX_FILES = 50


class CardFile(Struct, frozen=True):
    """What a card file holds: the versions of one card, oldest first, and its cases."""

    versions: tuple[Card, ...]
    cases: tuple[Case, ...]

    @property
    def name(self) -> str:
        """Name of the card."""
        return self.versions[0].name

    def _repr_html_(self) -> str | None:
        return html_of(self)


class _Head(Struct, forbid_unknown_fields=True):
    name: str
    title: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    variables: tuple[Variable, ...] = ()


class _Version(Struct, forbid_unknown_fields=True):
    template: str = ""
    system: str | None = None
    messages: tuple[Message, ...] = ()
    examples: tuple[Example, ...] = ()
    note: str = ""
    settings: ModelSettings = ModelSettings()


class _Layout(Struct, forbid_unknown_fields=True):
    card: dict[str, Any]
    versions: list[dict[str, Any]]
    uses: list[str] = []
    assertions: list[Any] = []
    cases: list[Any] = []


def load_card_file(path: str | Path) -> CardFile:
    """Read a card file.

    Cards that its templates include come from the files under ``uses``, which must lie in the folder of this file or
    below it, and from earlier versions in the file itself. Versions count from 1, in the order of the file.

    Raises:
        FileError: It cannot be read, is not UTF-8, is not YAML, or something in it does not fit; the message gives
            file and line.
    """
    return _Shelf(Path(path).resolve().parent).load(Path(path))


class _Shelf:
    """The files that are read for one card file, each once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[Path, CardFile] = {}
        self._open: list[Path] = []

    def load(self, path: Path) -> CardFile:
        """Return what a file holds."""
        document = _Document(path)
        layout = document.convert(document.value, _Layout, ())
        head = document.convert(layout.card, _Head, ("card",))
        known = self._used(document, layout.uses)
        if not layout.versions:
            raise document.error("the file has no version", ("versions",))
        versions: list[Card] = []
        for index, value in enumerate(layout.versions):
            versions.append(document.version(head, value, index, known))
            known[head.name, index + 1] = versions[-1]
        shared = tuple(
            document.convert(value, Assertion, ("assertions", i)) for i, value in enumerate(layout.assertions)
        )
        cases = [document.case(value, shared, i) for i, value in enumerate(layout.cases)]
        return CardFile(tuple(versions), document.guard(lambda: as_cases(cases), ("cases",)))

    def _used(self, document: _Document, uses: list[str]) -> _Known:
        known: _Known = {}
        self._open.append(document.path.resolve())
        for index, name in enumerate(uses):
            file = self._file(document, name, ("uses", index))
            known |= {(file.name, number): card for number, card in enumerate(file.versions, 1)}
        self._open.pop()
        return known

    def _file(self, document: _Document, name: str, place: tuple[str | int, ...]) -> CardFile:
        try:
            path = (document.path.resolve().parent / name).resolve()
        except (OSError, ValueError, RuntimeError):
            raise document.error(f"{name!r:.100} is not the name of a file", place) from None
        # A card file may come from anybody: it must not read what lies elsewhere on this machine.
        if not path.is_relative_to(self._root):
            raise document.error(f"'{name:.100}' is outside of {self._root}, where card files may come from", place)
        if path in self._open:
            raise document.error(f"'{name:.100}' uses this file, and this file uses it", place)
        if path not in self._read:
            if len(self._read) + len(self._open) >= MAX_FILES:
                raise document.error(f"more than {MAX_FILES} files are used", place)
            self._read[path] = self.load(path)
        return self._read[path]


_Known = dict[tuple[str, int], Card]


class _Document:
    """The parsed file, and where in it everything is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = _read(path)
        try:
            root = yaml.compose(text, Loader=_Loader)
            if root is None:
                raise FileError(f"{path}: the file is empty.", code="file_empty")
            _refuse_bomb(root, path)
            self.root: yaml.Node = root
            loader = _Loader("")
            self.value = loader.construct_document(self.root)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
            raise FileError(
                f"{path}, {line}: not valid YAML: {error.problem or error.context}.", code="yaml_syntax"
            ) from None
        except (yaml.YAMLError, RecursionError) as error:
            raise FileError(f"{path}: not valid YAML: {error}.", code="yaml_syntax") from None

    def convert(self, value: Any, kind: Any, place: tuple[str | int, ...]) -> Any:
        """Convert to a value of ours, with the line in the error."""
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            detail, _, path = str(error).partition(" - at `$")
            inner = tuple(int(i) if i else k for k, i in re.findall(r"\.(\w+)|\[(\d+)\]", path.rstrip("`")))
            detail = detail[:1].lower() + detail[1:]
            raise self.error(detail, place + inner) from None
        except PromptCardError as error:
            raise self._located(error, place) from None

    def version(self, head: _Head, value: Any, index: int, known: _Known) -> Card:
        """Return one version of the card, with the texts that it includes."""
        place = ("versions", index)
        part: _Version = self.convert(value, _Version, place)
        declared = {variable.name for variable in head.variables}
        guilty: tuple[str | int, ...] = (*place, "template")
        for inner, text in _texts(part):
            # Each by itself first, so that an error in it gets its own line.
            parsed = self.guard(partial(parse, text, f"card '{head.name}'"), place + inner)
            if declared and parsed.variables - declared:
                guilty = place + inner
                break
        card: Card = self.guard(
            lambda: Card(
                head.name, part.template, part.system, head.title, head.description, head.variables, head.tags,
                part.settings, note=part.note, messages=part.messages, examples=part.examples,
            ),
            guilty,
        )  # fmt: skip
        if not card.references:
            return card
        composed: Card = self.guard(lambda: card.compose(lambda name, version: known.get((name, version))), place)
        return composed

    def case(self, value: Any, shared: tuple[Assertion, ...], index: int) -> Case:
        """Return one case, with the assertions that all cases share after its own."""
        case: Case = self.convert(value, Case, ("cases", index))
        return msgspec.structs.replace(case, assertions=case.assertions + shared)

    def guard(self, make: Any, place: tuple[str | int, ...]) -> Any:
        """Call ``make`` and give its errors a file and a line."""
        try:
            return make()
        except PromptCardError as error:
            raise self._located(error, place) from None

    def error(self, problem: str, place: tuple[str | int, ...]) -> FileError:
        """Return the error for something wrong at ``place``."""
        where = ".".join(str(part) for part in place)
        return FileError(f"{self.path}, line {self._line(place)}: {where}: {problem}.", code="card_file_invalid")

    def _located(self, error: PromptCardError, place: tuple[str | int, ...]) -> FileError:
        node, line = self._find(place)
        if isinstance(error, TemplateError) and error.line and isinstance(node, yaml.ScalarNode):
            # The text of a block scalar (`|`) begins on the line after its key, another one on the same line.
            line += error.line - (node.style not in ("|", ">"))
        return FileError(f"{self.path}, line {line}: {error.message}", code=error.code, hint=error.hint)

    def _line(self, place: tuple[str | int, ...]) -> int:
        return self._find(place)[1]

    def _find(self, place: tuple[str | int, ...]) -> tuple[yaml.Node, int]:
        node = self.root
        line: int = node.start_mark.line
        for part in place:
            child = _child(node, part)
            if child is None:
                break
            node, line = child
        return node, line + 1


def _texts(part: _Version) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield place and text of every template of a version."""
    if part.system:
        yield ("system",), part.system
    if part.template:
        yield ("template",), part.template
    for index, message in enumerate(part.messages):
        yield ("messages", index, "content"), message.content
    for index, example in enumerate(part.examples):
        yield ("examples", index, "user"), example.user
        yield ("examples", index, "assistant"), example.assistant


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return value, key.start_mark.line
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line
    return None


class _Loader(yaml.SafeLoader):
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


# YAML 1.1 would read the country NO as false, 12:30 as 750 and 010 as 8: not what anybody means in a test case.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("null", "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)", "-+0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), list(_first))


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise FileError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes.", code="file_too_large")
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise FileError(
            f"{path}, line {line}: the file is not UTF-8.",
            code="file_not_utf8",
            hint="Save it as UTF-8 and try again.",
        ) from None
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}.", code="file_unreadable") from None


def _refuse_bomb(root: yaml.Node, path: Path) -> None:
    """Aliases are shared in memory, but not once the value is written as JSON: count what they would become."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = 1
            sizes[id(node)] += sum(size(child) for child in _children(node))
        return sizes[id(node)]

    if size(root) > MAX_NODES:
        raise FileError(f"{path}: its aliases expand to more than {MAX_NODES:,} values.", code="file_too_large")


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
