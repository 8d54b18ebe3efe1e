"""The tests of a configuration: inline, in files, in scenarios, with defaults."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from promptcard_ext.core.errors import FileError
from promptcard_ext.interchange.promptfoo.node import Node
from promptcard_ext.interchange.promptfoo.source import STRUCTURED, Reference, Source, reference
from promptcard_ext.interchange.promptfoo.variables import read_variables
from promptcard_ext.interchange.spreadsheet import sheet_records
from promptcard_ext.interchange.table_columns import ColumnError, Columns, Row
from promptcard_ext.interchange.tables import CsvTable, JsonLinesTable, Record

MAX_TESTS = 200_000
_ELSEWHERE = re.compile(r"(?:https?|huggingface|az|s3|gs|exec|package):")
_KEYS = frozenset({"description", "vars", "assert", "threshold", "metadata", "options"})
_OPTIONS = frozenset(
    {"prefix", "suffix", "provider", "rubricPrompt", "transform", "disableVarExpansion", "disableDefaultAsserts",
     "repeat"}
)  # fmt: skip


class Test(NamedTuple):
    """A test, or a part of one: of ``defaultTest``, of a scenario.

    Attributes:
        asserts: Its ``assert`` sections, the default one first.
        options: By name.
    """

    variables: dict[str, Any]
    asserts: tuple[Node, ...]
    options: dict[str, Node]
    threshold: float | None
    metadata: dict[str, Any]
    description: str
    node: Node

    def over(self, default: Test) -> Test:
        """Return this test where what it does not say is taken from ``default``."""
        switch = self.options.get("disableDefaultAsserts")
        inherited = () if switch is not None and switch.value is True else default.asserts
        return Test(
            default.variables | self.variables,
            (*inherited, *self.asserts),
            default.options | self.options,
            default.threshold if self.threshold is None else self.threshold,
            default.metadata | self.metadata,
            self.description or default.description,
            self.node,
        )


def empty_test(node: Node) -> Test:
    """Return a test that says nothing."""
    return Test({}, (), {}, None, {}, "", node)


def read_test(node: Node, source: Source) -> Test:
    """Return one test as it is written; options that do not exist here are reported."""
    if not isinstance(node.value, dict):
        node.lost("test_invalid", "this is no test: it has neither 'vars' nor 'assert'")
        return empty_test(node)
    for key in set(node.value) - _KEYS:
        node.child(key).lost("option_unsupported", f"the test option '{key!s:.60}' does not exist here")
    options = {}
    for key in node.value["options"] if isinstance(node.value.get("options"), dict) else ():
        option = node.child("options").child(key)
        if key in _OPTIONS:
            options[key] = option
        elif option.value is not None:
            option.lost("option_unsupported", f"the test option 'options.{key!s:.60}' does not exist here")
    metadata = node.value.get("metadata")
    description = node.value.get("description")
    return Test(
        read_variables(node.child("vars"), source),
        (node.child("assert"),) if node.has("assert") else (),
        options,
        _threshold(node),
        {str(key): value for key, value in metadata.items()} if isinstance(metadata, dict) else {},
        "" if description is None else str(description),
        node,
    )


def _threshold(node: Node) -> float | None:
    value = node.value.get("threshold")
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    node.child("threshold").lost("option_unsupported", f"the threshold {value!r:.40} is not between 0 and 1")
    return None


def read_tests(node: Node, source: Source) -> Iterator[Test]:
    """Yield the tests of a ``tests`` section, from files too."""
    for one in node:
        if isinstance(one.value, str):
            yield from _from_files(one, source)
        elif isinstance(one.value, dict) and isinstance(one.value.get("path"), str) and "vars" not in one.value:
            yield from _from_files(one.child("path"), source)
        else:
            yield read_test(one, source)


def _from_files(node: Node, source: Source) -> Iterator[Test]:
    text: str = node.value
    wanted = reference(text)
    if _ELSEWHERE.match(text):
        node.lost("tests_unsupported", f"'{text:.200}' is not fetched", "Save it as a CSV file and name that.")
        return
    if wanted.is_script:
        node.lost(
            "tests_unsupported",
            f"'{text:.200}' makes tests with a program, and programs are not run by an import",
            "Let it write its tests into a JSON Lines file, and name that.",
        )
        return
    for path in source.files(wanted, node):
        try:
            yield from _file(path, wanted, node, source)
        except FileError as error:
            node.lost(error.code, error.message.rstrip("."))


def _file(path: Path, wanted: Reference, node: Node, source: Source) -> Iterator[Test]:
    suffix = path.suffix.lower()
    if suffix in STRUCTURED:
        loaded = source.load(path)
        yield from read_tests(loaded.child("tests") if loaded.has("tests") else loaded, source)
    elif suffix in (".jsonl", ".ndjson"):
        for record in JsonLinesTable(path).records():
            row = Node(record.value, source.shown(path), node.notices, label=record.where)
            yield read_test(source.filled(row), source)
    elif suffix == ".csv":
        yield from _table(path, iter(CsvTable(path).records()), node, source)
    elif suffix in (".xlsx", ".xls"):
        yield from _table(path, sheet_records(path, wanted.part or None), node, source)
    else:
        node.lost(
            "tests_unsupported", f"tests are not read from '{source.shown(path):.200}'", "Use CSV, JSON Lines or YAML."
        )


def _table(path: Path, records: Iterator[Record], node: Node, source: Source) -> Iterator[Test]:
    columns: Columns | None = None
    for record in records:
        row = source.filled(Node(record.value, source.shown(path), node.notices, label=record.where))
        try:
            if columns is None:
                columns = Columns(_known(row.value, row))
            yield _row(columns.row(row.value), row, source)
        except ColumnError as error:
            row.lost("table_invalid", str(error))
            if columns is None:
                return


def _known(header: dict[str, Any], row: Node) -> list[str]:
    known = []
    for name in header:
        try:
            Columns([name])
        except ColumnError as error:
            row.lost("column_unsupported", str(error))
        else:
            known.append(name)
    return known


def _row(row: Row, node: Node, source: Source) -> Test:
    options = {name: node.child(name, text) for name in ("prefix", "suffix") if (text := getattr(row, name))}
    specs = [
        {("rubricPrompt" if key == "rubric_prompt" else key): value for key, value in spec.items()}
        for spec in row.specs
    ]
    variables = {name: _text(value) for name, value in row.variables.items()}
    return Test(
        read_variables(node.with_value(variables), source),
        (node.with_value(specs),) if specs else (),
        options,
        row.threshold,
        dict(row.metadata),
        row.name,
        node,
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def read_scenarios(node: Node, source: Source) -> Iterator[Test]:
    """Yield the tests of a ``scenarios`` section: every set of data with every test."""
    for one in node:
        if isinstance(one.value, str):
            for path in source.files(reference(one.value), one):
                try:
                    yield from read_scenarios(source.load(path), source)
                except FileError as error:
                    one.lost(error.code, error.message.rstrip("."))
        elif isinstance(one.value, dict):
            yield from _scenario(one, source)
        else:
            one.lost("test_invalid", "this is no scenario: it has no 'config' and 'tests'")


def _scenario(node: Node, source: Source) -> Iterator[Test]:
    for key in set(node.value) - {"config", "tests", "description"}:
        node.child(key).lost("option_unsupported", f"the scenario option '{key!s:.60}' does not exist here")
    data = [test for one in node.child("config") for test in _data(one, source)]
    tests = list(read_tests(node.child("tests"), source)) or [empty_test(node)]
    name = str(node.value.get("description") or "")
    for shared in data or [empty_test(node)]:
        shared = shared._replace(description=shared.description or name)
        for test in tests:
            yield test.over(shared)


def _data(node: Node, source: Source) -> Iterator[Test]:
    key = next((key for key in ("$values", "$expand") if node.has(key)), None)
    if key is not None:
        yield from read_tests(node.child(key), source)
    elif isinstance(node.value, str):
        yield from read_tests(node, source)
    else:
        yield read_test(node, source)
