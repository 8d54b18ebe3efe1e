"""Test cases of a card."""

from __future__ import annotations

from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cases import (
    AllCases,
    BulkCases,
    CaseChanges,
    CaseCount,
    CasePatch,
    CaseQuery,
    ExportQuery,
    ImportQuery,
    SavedCase,
)
from promptcard_ext.core.contract.page import Page
from server_ext.api.cards import CARD
from server_ext.api.operation import UPLOAD_BYTES, Call, Download, Operations
from server_ext.services import case_transfer, cases

operations = Operations("cases")
CASES = CARD + "/cases"
CASE = CASES + "/{case}"
_MEDIA = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
_UPLOADS = (
    "text/csv",
    "application/x-ndjson",
    "application/yaml",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/octet-stream",
)


@operations.get(CASES, action="test:read", query=CaseQuery, answer=Page[SavedCase])
def list_cases(call: Call) -> Page[SavedCase]:
    """List cases, in their order."""
    return cases.list_cases(call.scope, call.path["card"], call.query)


@operations.post(CASES, action="test:create", body=Case, answer=SavedCase, status=201, idempotent=True, etag=True)
def add_case(call: Call) -> SavedCase:
    """Add a case behind the others."""
    return cases.add(call.scope, call.path["card"], call.body)


@operations.put(CASES, action="test:create", body=AllCases, answer=CaseCount)
def replace_cases(call: Call) -> CaseCount:
    """Replace all cases, which are told apart by their variables.

    Changing or removing one needs the right ``test:update`` too.
    """
    return CaseCount(cases.replace_all(call.scope, call.path["card"], call.body.cases))


@operations.post(
    CASES + "/bulk", action="test:create", body=BulkCases, answer=CaseChanges, idempotent=True, refuses=(412,)
)
def change_cases(call: Call) -> CaseChanges:
    """Save some cases and delete others, at most 1,000 of each.

    Changing one needs the right ``test:update`` too, deleting one ``test:delete``. With ``based_on``, 412 when one of
    them is in another state; ``current`` has those, each as it is now.
    """
    return cases.merge(call.scope, call.path["card"], call.body)


@operations.post(
    CASES + "/import",
    action="test:create",
    query=ImportQuery,
    raw=_UPLOADS,
    answer=CaseChanges,
    max_body=UPLOAD_BYTES,
    idempotent=True,
)
def import_cases(call: Call) -> CaseChanges:
    """Take cases from a file: CSV, JSON Lines, YAML or XLSX.

    With ``dry_run`` nothing is done; the answer says what would be.
    """
    return case_transfer.import_cases(call.scope, call.path["card"], call.raw, call.query)


@operations.get(
    CASES + "/export",
    action="test:read",
    query=ExportQuery,
    media=tuple(_MEDIA.values()),
    limit="export",
    streamed=True,
)
def export_cases(call: Call) -> Download:
    """Export all cases as CSV or JSON Lines."""
    kind = call.query.format
    name, chunks = case_transfer.export_cases(call.scope, call.path["card"], call.query)
    return Download(chunks, _MEDIA[kind], f"{name}-cases.{kind}")


@operations.get(CASE, action="test:read", answer=SavedCase, etag=True)
def get_case(call: Call) -> SavedCase:
    """Return a case, by id or ``case_uid``."""
    return cases.get(call.scope, call.path["card"], call.path["case"])


@operations.patch(CASE, action="test:update", body=CasePatch, answer=SavedCase, conditional=True, etag=True)
def update_case(call: Call) -> SavedCase:
    """Change a case. With other variables it is another case, and has no results yet."""
    return cases.update(call.scope, call.path["card"], call.path["case"], call.body, call.match)


@operations.delete(CASE, action="test:delete", conditional=True)
def delete_case(call: Call) -> None:
    """Delete a case. Runs that asked it keep it."""
    cases.delete(call.scope, call.path["card"], call.path["case"], call.match)
