"""``jupyter promptcards audit``: what was done, and whether the record of it is whole."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from server_ext.cli.noun import Noun
from server_ext.cli.operator import Operator, converted, operator
from server_ext.cli.output import print_done, print_json, print_list

if TYPE_CHECKING:
    from promptcard_ext.core.contract.audit import AuditCheck, AuditHead

BROKEN = 10


def add(commands: Any) -> None:
    """Add the command."""
    noun = Noun(
        commands,
        "audit",
        "what was done in workspaces, and whether the record of it is whole",
        "audit list support --action token.created --since 2026-01-01T00:00:00Z",
        "audit verify",
        "audit verify support --head /mnt/elsewhere/heads.jsonl",
        "audit head --out /mnt/elsewhere/heads.jsonl",
    )
    listing = noun.verb("list", "list entries, the latest first", _list)
    listing.add_argument("workspace", metavar="WORKSPACE", help="id or slug")
    listing.add_argument("--action", help="only this action, such as token.created")
    listing.add_argument("--actor", metavar="ID", help="only what this user did")
    listing.add_argument("--object", dest="object_id", metavar="ID", help="only what was done to this")
    listing.add_argument("--since", metavar="TIME", help="from this time on, as 2026-01-01T00:00:00Z")
    listing.add_argument("--until", metavar="TIME", help="before this time")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="most entries (default 50, at most 200)")
    verify = noun.verb("verify", "check trails; exit code 10 when one is not as it was written", _verify)
    verify.add_argument("workspace", nargs="?", metavar="WORKSPACE", help="id or slug (default: all workspaces)")
    verify.add_argument("--head", type=Path, metavar="FILE", help="copied heads (default: the server's, in the home)")
    head = noun.verb("head", "copy the heads of all trails, by which cut trails are found", _head)
    head.add_argument("--out", type=Path, metavar="FILE", help="append them to this file (default: print them)")


def _list(arguments: argparse.Namespace) -> int:
    from promptcard_ext.core.contract.audit import AuditQuery
    from server_ext.services import audit

    names = ("action", "actor", "object_id", "since", "until", "limit")
    query = converted({name: getattr(arguments, name) for name in names}, AuditQuery)
    with operator() as me, me.scope(arguments.workspace) as scope:
        found = audit.list_entries(scope, query).items
    columns = ("seq", "at", "via", "actor", "actor_role", "address", "action", "object_id", "detail")
    print_list(found, columns, as_json=arguments.json, empty="There is no such entry.")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    with operator() as me:
        heads = _known_heads(me, arguments.head)
        if arguments.workspace is None:
            wanted = _all_trails(me, heads)
        else:
            with me.scope(arguments.workspace) as scope:
                wanted = [scope.workspace_id]
        found = [_checked(me, workspace, heads) for workspace in wanted]
    if arguments.json:
        print_json(found)
    else:
        for check in found:
            _say(check)
        if not found:
            print("There is no audit trail yet.")
    return BROKEN if any(check.problem for check in found) else 0


def _known_heads(me: Operator, given: Path | None) -> list[AuditHead]:
    from server_ext.jobs.head_keeper import HEADS_FILE
    from server_ext.services import audit_heads

    kept = me.settings.home / HEADS_FILE
    if given is None and not kept.exists():
        return []
    return list(audit_heads.read(given or kept))


def _all_trails(me: Operator, heads: list[AuditHead]) -> list[UUID]:
    """Return every workspace that has a trail, or had one when heads were copied."""
    from server_ext.services import audit_heads

    now = [head.workspace for head in audit_heads.heads(me.database)]
    return list(dict.fromkeys([*now, *(head.workspace for head in heads)]))


def _checked(me: Operator, workspace: UUID, heads: list[AuditHead]) -> AuditCheck:
    from server_ext.services import audit_verify, operators
    from server_ext.services.scope import Scope

    # Not asked whether there is such a workspace: one that was deleted together with its trail must be found out, too.
    with me.database.transaction(workspace) as connection:
        scope = Scope(connection, workspace, operators.operator(), "owner", me.database)
        return audit_verify.verify_all(scope, heads)


def _say(check: AuditCheck) -> None:
    if check.problem is not None:
        print(f"{check.workspace}: BROKEN. {check.problem.message} [{check.problem.kind}]")
        return
    said = [f"{check.checked:,} entries are as they were written"]
    if check.unsealed_to:
        said.append(f"those up to {check.unsealed_to:,} are from before seals")
    said.append(f"{check.heads:,} copied heads fit" if check.heads else "no copied head, so the end may be missing")
    print(f"{check.workspace}: {'; '.join(said)}.")


def _head(arguments: argparse.Namespace) -> int:
    from server_ext.services import audit_heads

    with operator() as me:
        heads = audit_heads.heads(me.database)
    if arguments.out is None:
        columns = ("workspace", "seq", "at", "hash")
        print_list(heads, columns, as_json=arguments.json, empty="There is no audit trail yet.")
        return 0
    written = audit_heads.append(arguments.out, heads)
    said = f"{arguments.out}: {written:,} of {len(heads):,} trails went on since the last copy."
    print_done(said, as_json=arguments.json, written=written, trails=len(heads))
    return 0
