"""Cases from files and into files."""

from __future__ import annotations

import io
import json
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cards import CardHead
from promptcard_ext.core.contract.cases import BulkCases, CaseChanges, ExportQuery, ImportQuery
from promptcard_ext.core.errors import FileError
from promptcard_ext.interchange.case_files import load_cases
from promptcard_ext.interchange.case_writer import CaseTable
from promptcard_ext.interchange.csv_writer import write_rows
from promptcard_ext.interchange.formula_guard import guarded
from promptcard_ext.interchange.yaml_document import YamlDocument
from server_ext.db.tables import test_cases
from server_ext.services import card_versions, cases
from server_ext.services.card_lookup import head
from server_ext.services.scope import Scope

BATCH = 500
# YAML takes a hundred times as long to read as JSON.
MAX_YAML_BYTES = 2_000_000


def import_cases(scope: Scope, card: str, data: bytes, query: ImportQuery) -> CaseChanges:
    """Take cases from the bytes of a file; with ``dry_run`` only say what that would change.

    Raises:
        NotFound: There is no such card.
        FileError: The file cannot be read as what it should be; with line or row.
        CardError: As for `cases.replace_all`.
    """
    scope.require("test:create")
    given = _read(data, query.format, _latest(scope, head(scope, card)))
    if query.mode == "replace":
        return cases.replace(scope, card, given, "cases.imported", dry_run=query.dry_run)
    return cases.merge(scope, card, BulkCases(list(given)), "cases.imported", dry_run=query.dry_run)


def _latest(scope: Scope, card: CardHead) -> Card | None:
    if not card.latest_version:
        return None
    return card_versions.get(scope, str(card.id), str(card.latest_version)).card


def _read(data: bytes, kind: str, card: Card | None) -> Sequence[Case]:
    if kind == "yaml":
        return _read_yaml(data, card)
    with tempfile.TemporaryDirectory(prefix="promptcards-import-") as folder:
        path = Path(folder, f"import.{kind}")
        path.write_bytes(data)
        try:
            return tuple(load_cases(path, card))
        except FileError as error:
            # Where we put it meanwhile is nobody's business.
            message = error.message.replace(f"{folder}/", "").replace(folder, "")
            raise FileError(message, code=error.code, hint=error.hint) from None


def _read_yaml(data: bytes, card: Card | None) -> Sequence[Case]:
    """Read a list of cases, or a card file, of which only the cases and what holds for all of them are taken."""
    if len(data) > MAX_YAML_BYTES:
        raise FileError(
            f"A YAML file of cases may have {MAX_YAML_BYTES:,} bytes.", code="file_too_large", hint="Use JSON Lines."
        )
    try:
        value = YamlDocument(data.decode("utf-8-sig"), "import.yaml").value
    except UnicodeDecodeError:
        raise FileError("import.yaml is not UTF-8.", code="file_not_utf8", hint="Save it as UTF-8.") from None
    shared: tuple[Assertion, ...] = ()
    if isinstance(value, dict):
        try:
            shared = msgspec.convert(value.get("assertions") or [], tuple[Assertion, ...])
        except msgspec.ValidationError as error:
            raise FileError(f"import.yaml, assertions: {error}.", code="case_file_invalid") from None
        value = value.get("cases")
    if not isinstance(value, list):
        raise FileError("import.yaml holds no list of cases.", code="case_file_invalid")
    read = load_cases(value, card)
    return [msgspec.structs.replace(case, assertions=(*case.assertions, *shared)) for case in read] if shared else read


def export_cases(scope: Scope, card: str, query: ExportQuery) -> tuple[str, Iterator[bytes]]:
    """Return a card's name, and its cases as they were at this moment, piece by piece; few are held at once.

    Raises:
        NotFound: There is no such card.
    """
    scope.require("test:read")
    found = head(scope, card)
    shelf = _Shelf(scope, found)
    chunks = _csv(shelf, _latest(scope, found)) if query.format == "csv" else _json_lines(shelf)
    return found.name, chunks


class _Shelf:
    """The cases of a card at one moment, to be read from the front more than once."""

    _COLUMNS = (
        test_cases.c.input_variables,
        test_cases.c.assertions,
        test_cases.c.name,
        test_cases.c.expected_output,
        test_cases.c.priority,
        test_cases.c.threshold,
        test_cases.c.metadata,
    )

    def __init__(self, scope: Scope, card: CardHead) -> None:
        self._connection = scope.connection
        self._name = f"exported_{secrets.token_hex(8)}"
        names = ", ".join(column.name for column in self._COLUMNS)
        self._connection.execute(
            sa.text(
                f"declare {self._name} scroll cursor for select {names} from test_cases"  # noqa: S608  our names
                " where workspace_id = :workspace and card_id = :card order by position, id"
            ),
            {"workspace": scope.workspace_id, "card": card.id},
        )
        self._fetch = sa.text(f"fetch forward {BATCH} from {self._name}").columns(*self._COLUMNS)

    def parts(self) -> Iterator[list[Case]]:
        """Yield some hundred cases at a time, from the first to the last."""
        self._connection.execute(sa.text(f"move absolute 0 in {self._name}"))
        while rows := self._connection.execute(self._fetch).all():
            yield [_case(row._asdict()) for row in rows]


def _case(row: dict[str, Any]) -> Case:
    return msgspec.convert({"variables": row.pop("input_variables"), **row}, Case)


def _json_lines(shelf: _Shelf) -> Iterator[bytes]:
    for part in shelf.parts():
        # Escaped, so that a lone surrogate, which has no UTF-8, is kept.
        yield "".join(json.dumps(msgspec.to_builtins(case)) + "\n" for case in part).encode()


def _csv(shelf: _Shelf, card: Card | None) -> Iterator[bytes]:
    table = CaseTable(card)
    for part in shelf.parts():
        for case in part:
            table.add(case)
    yield _lines([table.header])
    for part in shelf.parts():
        yield _lines([table.row(case) for case in part])


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    file = io.StringIO(newline="")
    write_rows(file, ([guarded(cell) for cell in row] for row in rows))
    return file.getvalue().encode("utf-8", "replace")
