"""How long it takes to verify an audit trail of a million entries, and how much memory.

    python -m bench.audit [--entries 1000000] [--write bench/RESULTS.md]

Entries are made as the server makes them, hash and seal included, and put in without the trigger. Then the trail is
verified as `jupyter promptcards audit verify` does it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from bench.engine import machine, write_section
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database, make_engine
from server_ext.keys import Key, load_ring
from server_ext.runtime import ready_services
from server_ext.services import audit, audit_verify, workspaces
from server_ext.services.audit_seal import seal
from server_ext.services.scope import open_scope
from server_ext.settings import Settings
from tests.support import temporary_home

COLUMNS = (
    "workspace_id", "seq", "at", "actor_id", "actor_kind", "action", "object_type", "object_id", "detail",
    "actor_role", "via", "address", "request_id", "key_id", "mac", "prev_hash", "hash",
)  # fmt: skip


def entries(key: Key, actor: Actor, last: Any, count: int) -> Iterator[dict[str, Any]]:
    """Yield entries that follow the last one."""
    began = datetime.now(UTC)
    prev_hash, prev_mac = last.hash, last.mac
    for n in range(1, count + 1):
        entry: dict[str, Any] = {
            "workspace_id": last.workspace_id,
            "seq": last.seq + n,
            "at": began + timedelta(microseconds=n),
            "actor_id": actor.user_id,
            "actor_kind": "human",
            "action": "card.version_saved",
            "object_type": "card",
            "object_id": str(UUID(int=n)),
            "detail": {"version": n, "content_hash": f"{n:064x}"},
            "actor_role": "owner",
            "via": "local",
            "address": "192.0.2.7",
            "request_id": f"{n:032x}",
            "key_id": key.id,
        }
        entry["mac"] = prev_mac = seal(key, entry, prev_hash, prev_mac)
        entry["prev_hash"], entry["hash"] = prev_hash, _hash(entry, prev_hash)
        prev_hash = entry["hash"]
        yield entry


def _hash(entry: dict[str, Any], prev_hash: bytes) -> bytes:
    """Return what pc.audit_hash makes of such an entry; were it another, the check would say so."""
    names = (*COLUMNS[3:14],)
    said = [str(entry["workspace_id"]), entry["seq"], "AT"]
    said += [str(entry[name]) if isinstance(entry[name], UUID) else entry[name] for name in names]
    text = json.dumps([*said, entry["mac"].hex()])
    return hashlib.sha256(prev_hash + text.replace('"AT"', f"{entry['at'].timestamp():.6f}", 1).encode()).digest()


def fill(owner: sa.Engine, rows: Iterator[dict[str, Any]]) -> None:
    """Put entries in as they are."""
    with owner.connect() as connection, connection.begin():
        for statement in ("no force row level security", "disable trigger chain"):
            connection.exec_driver_sql(f"alter table audit_log {statement}")
        cursor: Any = connection.connection.cursor()
        with cursor.copy(f"copy audit_log ({', '.join(COLUMNS)}) from stdin") as copy:
            for row in rows:
                copy.write_row([json.dumps(row[name]) if name == "detail" else row[name] for name in COLUMNS])
        for statement in ("enable trigger chain", "force row level security"):
            connection.exec_driver_sql(f"alter table audit_log {statement}")
    with owner.connect() as connection, connection.begin():
        connection.exec_driver_sql("analyze audit_log")


def report(settings: Settings, count: int) -> str:
    """Make a trail, verify it and return the section."""
    keys = load_ring(settings.keys_path)
    with (
        ready_services(settings) as services,
        Database(services.database_url, keys=keys) as database,
    ):
        actor = workspaces.local_owner(database, "Ada")
        workspace = workspaces.create(database, actor, "Audit")
        with database.transaction(workspace.id) as connection:
            last = connection.execute(
                sa.text("select workspace_id, seq, hash, mac from audit_log order by seq desc limit 1")
            ).one()
        owner = make_engine(services.owner_database_url or "", statement_timeout_s=600)
        fill(owner, entries(keys.current("audit"), actor, last, count))
        owner.dispose()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with open_scope(database, actor, str(workspace.id)) as scope:
            began, began_cpu = time.perf_counter(), time.process_time()
            found = audit_verify.verify_all(scope)
            seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
            assert found.problem is None, found.problem
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        writing = _writing(database, actor, str(workspace.id))
    return "\n".join(
        [
            "## Verifying an audit trail",
            "",
            "| what | figure |",
            "|---|---|",
            f"| entries verified | {found.checked:,} |",
            f"| seconds | {seconds:.1f} |",
            f"| of these, our own CPU | {cpu:.1f} |",
            f"| entries a second | {found.checked / seconds:,.0f} |",
            f"| memory it took | {grown / 1024:.1f} MB |",
            f"| one more entry, median | {writing:.2f} ms |",
            "",
            f"`python -m bench.audit --entries {count}`, {machine()}",
        ]
    )


def _writing(database: Database, actor: Actor, workspace: str) -> float:
    """Return how many milliseconds it takes to append an entry, within a transaction."""
    times = []
    for n in range(200):
        with open_scope(database, actor, workspace) as scope:
            began = time.perf_counter()
            audit.record(scope, "thing.made", "thing", n)
            times.append((time.perf_counter() - began) * 1000)
    return sorted(times)[len(times) // 2]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--entries", type=int, default=1_000_000)
    options.add_argument("--write", type=Path)
    given = options.parse_args()
    with temporary_home() as home:
        text = report(Settings(home=home), given.entries)
    print(text)
    if given.write:
        write_section(given.write, "audit", text)


if __name__ == "__main__":
    sys.exit(main())
