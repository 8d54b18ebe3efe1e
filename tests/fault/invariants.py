"""The ten things that hold after every run, whatever happened while it went on: ``invariants.sql``, and who asks it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from server_ext.services import audit_verify
from server_ext.services.scope import Scope
from tests.support import GREET, Tenant

GRACE_S = 15.0
_FILE = Path(__file__).with_suffix(".sql")
_BEGINNING = re.compile(r"^-- (\d+) (.+)$", re.MULTILINE)


def queries() -> dict[int, str]:
    """Return the queries of the file by their numbers."""
    _, *parts = _BEGINNING.split(_FILE.read_text("utf-8"))
    return {int(number): query.strip().rstrip(";") for number, query in zip(parts[::3], parts[2::3], strict=True)}


@dataclass(frozen=True)
class Evidence:
    """What is known of a run without asking the system.

    Attributes:
        executions: Cases × models × repeats that were asked for.
        calls: Calls that the provider counted, by ordinal.
        most: Most calls of one attempt: 1 where the provider never failed.
        in_flight: Most calls in flight when a process died uncleanly, over all deaths.
    """

    run_id: str
    executions: int
    calls: Mapping[int, int] = field(default_factory=dict)
    most: int = 1
    in_flight: int = 0


def ordinals(calls: Mapping[tuple[str, str], int]) -> dict[int, int]:
    """Return what a referee counted by ordinal, of a run of one model over the cases of ``tests.support.greetings``.

    Such a run has its cases in order, so that the number in a prompt is the number of the item.
    """
    pattern = re.compile(re.escape(GREET.template).replace(r"\{\{\ who\ \}\}", r"Ada (\d+)"))
    found: dict[int, int] = {}
    for (_, text), number in calls.items():
        matched = pattern.fullmatch(text)
        assert matched, text
        found[int(matched[1])] = found.get(int(matched[1]), 0) + number
    return found


def violations(tenant: Tenant, other: Tenant, evidence: Evidence) -> list[str]:
    """Return what does not hold of a run that should have ended; nothing when all is well.

    Args:
        other: Any other workspace.
    """
    wrong: list[str] = []
    for number, query in queries().items():
        place = other if number == 10 else tenant
        with place.scope() as scope:
            wrong += [f"{number}: {line}" for line in _ask(scope, query, tenant.id, evidence)]
    with tenant.scope() as scope:
        problem = audit_verify.verify_all(scope).problem
    return wrong + ([f"9: {problem}"] if problem else [])


def _ask(scope: Scope, query: str, workspace_id: UUID, evidence: Evidence) -> list[str]:
    calls = [{"ordinal": ordinal, "calls": number} for ordinal, number in evidence.calls.items()]
    values: dict[str, Any] = {
        "workspace": workspace_id,
        "run": UUID(evidence.run_id),
        "executions": evidence.executions,
        "calls": json.dumps(calls),
        "most": evidence.most,
        "in_flight": evidence.in_flight,
        "grace_s": GRACE_S,
    }
    statement = sa.text(query)
    used = {name: value for name, value in values.items() if f":{name}" in query}
    return list(scope.connection.execute(statement, used).scalars())
