"""Test cases of cards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from promptcard_ext.client.download import Download
from promptcard_ext.client.noun import Noun, Ref, Tagged
from promptcard_ext.core import wire
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

MAX_BODY_BYTES = 2_000_000
"""What goes as one JSON body; more goes as a file."""


class Cases(Noun):
    """The cases of cards; a case is named by its id or ``case_uid``."""

    def list(self, card: Ref, *, priority: Sequence[str] = (), text: str | None = None) -> Iterator[SavedCase]:
        """Yield the cases of a card, in their order; the filters are those of `CaseQuery`."""
        query = CaseQuery([*priority], text, limit=1000)
        return self._pages(Page[SavedCase], "cards", card, "cases", query=query)

    def add(self, card: Ref, case: Case) -> Tagged[SavedCase]:
        """Add a case behind the others."""
        return self._read_tagged(SavedCase, "POST", "cards", card, "cases", body=case, once=True)

    def replace(self, card: Ref, cases: Sequence[Case]) -> int:
        """Make these the cases of a card, at most 64,000,000 bytes of them; return how many there are."""
        body = wire.encode(AllCases([*cases]))
        if len(body) <= MAX_BODY_BYTES:
            return self._read(CaseCount, "PUT", "cards", card, "cases", body=body).count
        done = self.import_file(card, b"".join(map(_line, cases)), "jsonl")
        return done.added + done.changed + done.unchanged

    def change(self, card: Ref, changes: BulkCases) -> CaseChanges:
        """Save some cases and delete others; all of it happens, or nothing."""
        return self._read(CaseChanges, "POST", "cards", card, "cases", "bulk", body=changes, once=True)

    def import_file(
        self,
        card: Ref,
        data: bytes,
        format: Literal["csv", "jsonl", "yaml", "xlsx"],  # noqa: A002  as the contract calls it
        *,
        mode: Literal["replace", "merge"] = "replace",
        dry_run: bool = False,
    ) -> CaseChanges:
        """Take cases from the bytes of a file, at most 64,000,000; with ``dry_run`` only say what would happen."""
        return self._read(
            CaseChanges, "POST", "cards", card, "cases", "import",
            query=ImportQuery(format, mode, dry_run), body=data, once=True,
            headers={"Content-Type": "application/octet-stream"},
        )  # fmt: skip

    def export(
        self,
        card: Ref,
        *,
        format: Literal["csv", "jsonl"] = "csv",  # noqa: A002
    ) -> Download:
        """Return all cases of a card as a file."""
        return self._download("cards", card, "cases", "export", query=ExportQuery(format))

    def get(self, card: Ref, case: Ref) -> Tagged[SavedCase]:
        """Return a case."""
        return self._read_tagged(SavedCase, "GET", "cards", card, "cases", case)

    def update(self, card: Ref, case: Ref, patch: CasePatch, *, etag: str) -> Tagged[SavedCase]:
        """Change a case. With other variables it is another case, and has no results yet."""
        return self._read_tagged(SavedCase, "PATCH", "cards", card, "cases", case, body=patch, etag=etag)

    def delete(self, card: Ref, case: Ref, *, etag: str) -> None:
        """Delete a case. Runs that asked it keep it."""
        self._ask("DELETE", "cards", card, "cases", case, etag=etag)


def _line(case: Case) -> bytes:
    # Escaped, as in files: half of a surrogate pair has no UTF-8.
    return json.dumps(msgspec.to_builtins(case)).encode() + b"\n"
