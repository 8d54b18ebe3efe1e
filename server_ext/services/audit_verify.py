"""Whether an audit trail is as it was written: every number, hash and seal, a page at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from promptcard_ext.core.contract.audit import AuditCheck, AuditCheckQuery, AuditHead, AuditProblem, Problem
from server_ext.db.tables import audit_log
from server_ext.keys import Key, KeyRing
from server_ext.services.audit_seal import seal
from server_ext.services.scope import Scope

PAGE_ROWS = 2_000
_MADE_ANEW = sa.func.pc.audit_hash(sa.literal_column("audit_log"), type_=sa.LargeBinary).label("made_hash")


def verify(scope: Scope, query: AuditCheckQuery, heads: Iterable[AuditHead] = ()) -> AuditCheck:
    """Check a part of the trail; see `verify_all`."""
    scope.require("audit:read")
    return _Walk(scope, heads).run(query.after, query.limit)


def verify_all(scope: Scope, heads: Iterable[AuditHead] = ()) -> AuditCheck:
    """Check the whole trail, up to its first problem.

    Args:
        heads: Copies of earlier heads that were kept outside of the database. Without one, entries cut off at the end
            leave a shorter trail that is whole.
    """
    scope.require("audit:read")
    return _Walk(scope, heads).run(0, None)


class _Walk:
    """Goes from entry to entry; remembers the last one only."""

    def __init__(self, scope: Scope, heads: Iterable[AuditHead]) -> None:
        self._scope = scope
        self._heads = {head.seq: head for head in heads if head.workspace == scope.workspace_id}
        self._keys = _Keys(scope.keys)
        self._seq, self._hash, self._mac = 0, b"", b""
        self._checked = self._unsealed_to = self._compared = 0

    def run(self, after: int, limit: int | None) -> AuditCheck:
        if after and not self._start_behind(after):
            return self._result(False, _problem(after, "cut"))
        for row in self._rows(after, limit):
            if (kind := self._wrong(row)) is not None:
                return self._result(False, _problem(row["seq"], kind))
            self._checked += 1
            self._seq, self._hash, self._mac = row["seq"], row["hash"], row["mac"] or b""
        complete = limit is None or self._checked < limit
        lost = [seq for seq in self._heads if seq > self._seq] if complete else []
        return self._result(complete, _problem(min(lost), "cut") if lost else None)

    def _start_behind(self, after: int) -> bool:
        """Take the entry that was checked last for good; tell whether it is there."""
        table = audit_log.c
        chosen = sa.select(table.hash, table.mac).where(
            table.workspace_id == self._scope.workspace_id, table.seq == after
        )
        row = self._scope.connection.execute(chosen).one_or_none()
        if row is not None:
            self._seq, self._hash, self._mac = after, row.hash, row.mac or b""
            self._unsealed_to = after if row.mac is None else 0
        return row is not None

    def _rows(self, after: int, limit: int | None) -> Iterator[Any]:
        table = audit_log.c
        chosen = (
            sa.select(audit_log, _MADE_ANEW).where(table.workspace_id == self._scope.workspace_id).order_by(table.seq)
        )
        last = after or None  # from the very first: a forged one may have the number 0
        left = limit
        while left is None or left > 0:
            size = PAGE_ROWS if left is None else min(PAGE_ROWS, left)
            page = chosen.limit(size) if last is None else chosen.where(table.seq > last).limit(size)
            rows = self._scope.connection.execute(page).mappings().all()
            yield from rows
            if len(rows) < size:
                return
            last = rows[-1]["seq"]
            left = None if left is None else left - size

    def _wrong(self, row: Mapping[str, Any]) -> Problem | None:
        """Return what is wrong with an entry that is to follow the last one."""
        if row["seq"] != self._seq + 1:
            return "gap"
        if row["prev_hash"] != self._hash:
            return "chain"
        if row["made_hash"] != row["hash"]:
            return "hash"
        return self._wrong_seal(row) or self._wrong_head(row)

    def _wrong_seal(self, row: Mapping[str, Any]) -> Problem | None:
        if row["mac"] is None:
            if self._mac:
                return "unsealed"
            self._unsealed_to = row["seq"]
            return None
        key = self._keys[row["key_id"]]
        if key is None:
            return "key_unknown"
        return None if seal(key, row, self._hash, self._mac) == row["mac"] else "seal"

    def _wrong_head(self, row: Mapping[str, Any]) -> Problem | None:
        head = self._heads.get(row["seq"])
        if head is None:
            return None
        self._compared += 1
        same = head.hash == row["hash"].hex() and head.mac == (row["mac"].hex() if row["mac"] else None)
        return None if same else "head"

    def _result(self, complete: bool, problem: AuditProblem | None) -> AuditCheck:
        return AuditCheck(
            workspace=self._scope.workspace_id,
            checked=self._checked,
            checked_to=self._seq,
            complete=complete,
            unsealed_to=self._unsealed_to,
            heads=self._compared,
            problem=problem,
        )


class _Keys(dict[str, Key | None]):
    """Keys by id, each looked for once."""

    def __init__(self, ring: KeyRing) -> None:
        super().__init__()
        self._ring = ring

    def __missing__(self, key_id: str) -> Key | None:
        found = self[key_id] = self._ring.find("audit", key_id)
        return found


def _problem(seq: int, kind: Problem) -> AuditProblem:
    return AuditProblem(seq, kind, f"Entry {seq} {_MEANING[kind]}.")


_MEANING: dict[Problem, str] = {
    "gap": "is not the one that should come here: entries are missing, were put in or changed places",
    "chain": "does not follow the entry before it",
    "hash": "was changed",
    "seal": "has a seal that this server did not make for it",
    "unsealed": "has no seal, though the entry before it has one",
    "key_unknown": "is sealed with a key that is not in the ring of this server",
    "head": "is not the one that was here when the head was copied",
    "cut": "is gone, and whatever came after it",
}
