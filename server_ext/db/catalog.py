"""Whether the walls between workspaces stand: read from PostgreSQL's own catalog, not from what we meant to write."""

from __future__ import annotations

import sqlalchemy as sa
from msgspec import Struct

from promptcard_ext.core.errors import SetupError
from server_ext.db import catalog_queries as queries

TABLES_WITHOUT_WORKSPACE = {
    "workspaces": "the workspaces themselves; a policy of its own",
    "users": "a person may be in several workspaces; a policy of its own",
    "user_identities": "logins of a user; a policy of its own",
    "sessions": "sessions of a user; a policy of its own",
    "workers": "a worker serves all workspaces; no policy for the application, which has functions only",
    "login_attempts": "nobody is known yet; no policy for the application, which has functions only",
}
"""Behind row security too, but by another condition than ``workspace_id``."""

GLOBAL_TABLES = {
    "price_book": "list prices, the same for everybody",
    "alembic_version": "which schema this is",
}
"""Without row security: the application may only read them."""

DEFINER_FUNCTIONS = {
    "pc.resolve_identity(provider text, subject text, display_name text)": "a login precedes any workspace",
    "pc.admit_login(account bytea, network bytea)": "a login precedes any user; it gives a time to wait only",
    "pc.forgive_login(account bytea, network bytea)": "what a good login takes back of that",
    "pc.ensure_partitions(months_ahead integer)": "partitions are made by the owner",
    "pc.take_outbox(max_rows integer)": "one dispatcher serves all workspaces; it gets ids only",
    "pc.tasks_to_ring(older_than interval, max_rows integer)": "one sweeper serves all workspaces; it gets ids only",
    "pc.beat_worker(worker text, host text, pid integer, version text, state text, concurrency integer)": "workers are "
    "of no workspace",
    "pc.forget_worker(worker text)": "workers are of no workspace",
    "pc.known_workers()": "workers are of no workspace; of tasks it gives their number only",
    "pc.all_queue_lines()": "operators see how long the queue is; it gives numbers by workspace only",
    "pc.next_task(of_run uuid)": "workers serve all workspaces in turn; it gives the ids of one task",
    "pc.workspaces_to_reseal(current_key text, after uuid, max_rows integer)": "an old sealing key is of all "
    "workspaces; it gives their ids only",
    "pc.hub_members(after text, max_rows integer)": "who has left the Hub does not come by to be removed; it gives "
    "names in the Hub only",
    "pc.audit_heads()": "one copy of all heads is kept elsewhere; it gives numbers and hashes only",
    "pc.search_cards(wanted text, most integer)": "row security bars indexes of text; it gives ids of this workspace",
}
"""The only functions that run with the owner's rights."""

OWNER_POLICY_TABLES = {
    "users": "pc.resolve_identity",
    "user_identities": "pc.resolve_identity, pc.hub_members",
    "login_attempts": "pc.admit_login, pc.forgive_login",
    "workers": "pc.beat_worker, pc.forget_worker, pc.known_workers",
    "outbox": "pc.take_outbox",
    "audit_log": "pc.audit_heads",
    "workspaces": "operators list them, as the owner",
    "memberships": "operators list them, as the owner; pc.hub_members",
    "card_search": "pc.search_cards",
    "tasks": "pc.tasks_to_ring, pc.next_task, pc.known_workers, pc.all_queue_lines",
    "provider_credentials": "pc.workspaces_to_reseal",
    "webhooks": "pc.workspaces_to_reseal",
    "test_executions_default": "pc.ensure_partitions moves rows out of it",
    "analytics_events_default": "pc.ensure_partitions moves rows out of it",
    "performance_metrics_default": "pc.ensure_partitions moves rows out of it",
}
"""The only tables whose rows the owner sees without naming a workspace."""

WIDER_POLICIES = {
    ("memberships", "own_memberships"): "a user lists the workspaces of their own",
}
"""Policies on tables of workspaces that ask for something else than the workspace."""

INDEXES_BY_OTHER_THAN_WORKSPACE = {
    "memberships_user_id_idx": "the workspaces of a user; not unique, so it tells nobody anything",
}


class Finding(Struct, frozen=True, order=True):
    """One place where the wall has a hole.

    Attributes:
        rule: Stable name of the rule that is broken.
        subject: The table, policy, constraint, index, function or view.
        message: What is wrong with it.
    """

    rule: str
    subject: str
    message: str


def check_tenancy(connection: sa.Connection) -> list[Finding]:
    """Return everything in the database that would let one workspace see or touch another; any role may ask.

    Every schema but PostgreSQL's own is read; what belongs to an extension is left out.
    """
    findings = [
        *_tables(connection),
        *_policies(connection),
        *_foreign_keys(connection),
        *_indexes(connection),
        *_functions(connection),
        *_views(connection),
        *_grants(connection),
    ]
    return sorted(findings)


def check_role(connection: sa.Connection) -> None:
    """Refuse to work as a role for which the walls do not stand.

    Raises:
        SetupError: ``role_superuser``, ``role_bypasses_rls`` or ``role_owns_tables``; also when the role can
            become such a role.
    """
    for role, is_superuser, bypasses, owns in connection.execute(sa.text(queries.ROLE)):
        if is_superuser:
            code, reason = "role_superuser", "is a superuser, who sees every workspace"
        elif bypasses:
            code, reason = "role_bypasses_rls", "may bypass row-level security, and so sees every workspace"
        elif owns:
            code, reason = "role_owns_tables", "owns tables, and so could take their row-level security off"
        else:
            continue
        raise SetupError(
            f"The server does not work as database role {role}: it {reason}.",
            hint="Let PROMPTCARDS_DATABASE_URL name pc_app; the owner's URL is for 'jupyter promptcards db upgrade'.",
            code=code,
        )


def _tables(connection: sa.Connection) -> list[Finding]:
    found = []
    for table in connection.execute(sa.text(queries.TABLES)):
        if table.name in GLOBAL_TABLES:
            continue
        if table.kind == "f":
            found.append(Finding("foreign_table", table.name, "row security does not exist for foreign tables"))
            continue
        if not table.has_workspace and table.name not in TABLES_WITHOUT_WORKSPACE:
            found.append(Finding("no_workspace", table.name, "has no column workspace_id of type uuid"))
        if table.has_workspace and not table.workspace_required:
            found.append(Finding("workspace_nullable", table.name, "workspace_id may be null"))
        if not table.enabled:
            found.append(Finding("row_security_off", table.name, "row security is not enabled"))
        if not table.forced:
            found.append(Finding("row_security_not_forced", table.name, "row security is not forced on the owner"))
    return found


def _policies(connection: sa.Connection) -> list[Finding]:
    found = []
    by_workspace = set()
    tenant_tables = {t.name for t in connection.execute(sa.text(queries.TABLES)) if t.has_workspace}
    for policy in connection.execute(sa.text(queries.POLICIES)):
        subject = f"{policy.table}.{policy.name}"
        if policy.roles == ["pc_owner"]:
            if policy.table not in OWNER_POLICY_TABLES:
                found.append(Finding("owner_policy", subject, "opens the table to functions with the owner's rights"))
        elif "pc_app" not in policy.roles and "public" not in policy.roles:
            found.append(Finding("policy_role", subject, f"is for {', '.join(policy.roles)}"))
        elif not policy.permissive:
            continue
        elif policy.table in TABLES_WITHOUT_WORKSPACE:
            if "current_setting('app." not in (policy.using or policy.check or ""):
                found.append(Finding("policy_form", subject, "asks for neither app.workspace_id nor app.user_id"))
        elif policy.using == policy.check == queries.BY_WORKSPACE or (
            policy.using == queries.BY_WORKSPACE and policy.check is None
        ):
            if policy.command == "*":
                by_workspace.add(policy.table)
        elif (policy.table, policy.name) not in WIDER_POLICIES:
            found.append(Finding("policy_form", subject, f"is not {queries.BY_WORKSPACE}"))
    missing = tenant_tables - by_workspace
    found += [
        Finding("policy_missing", table, "has no policy for all commands by app.workspace_id") for table in missing
    ]
    return found


def _foreign_keys(connection: sa.Connection) -> list[Finding]:
    return [
        Finding("foreign_key_leaves_workspace", f"{row.table}.{row.name}", f"refers to {row.target} by other columns")
        for row in connection.execute(sa.text(queries.FOREIGN_KEYS))
    ]


def _indexes(connection: sa.Connection) -> list[Finding]:
    return [
        Finding("index_order", row.name, f"index of {row.table} does not start with workspace_id")
        for row in connection.execute(sa.text(queries.INDEXES))
        if row.name not in INDEXES_BY_OTHER_THAN_WORKSPACE
    ]


def _functions(connection: sa.Connection) -> list[Finding]:
    found = []
    for function in connection.execute(sa.text(queries.DEFINER_FUNCTIONS)):
        if function.name not in DEFINER_FUNCTIONS:
            found.append(Finding("definer_function", function.name, "runs with the rights of its owner"))
        if not function.fixed_path:
            found.append(Finding("definer_search_path", function.name, "has no fixed search_path with pg_temp last"))
        if function.for_everybody:
            found.append(Finding("definer_public", function.name, "may be called by every role"))
    return found


def _views(connection: sa.Connection) -> list[Finding]:
    found = []
    for view in connection.execute(sa.text(queries.VIEWS)):
        if view.kind == "m":
            found.append(Finding("materialized_view", view.name, "has no row security"))
        elif not view.invoker:
            found.append(Finding("view_definer", view.name, "reads with the rights of its owner: set security_invoker"))
    return found


def _grants(connection: sa.Connection) -> list[Finding]:
    found = []
    for grant in connection.execute(sa.text(queries.GRANTS)):
        if grant.grantee == "public":
            found.append(Finding("grant_public", grant.table, f"{grant.verb} is granted to every role"))
        elif grant.verb not in {"SELECT", "INSERT", "UPDATE", "DELETE"}:
            found.append(Finding("grant_verb", grant.table, f"{grant.verb} is granted to pc_app"))
        elif grant.table in GLOBAL_TABLES and grant.verb != "SELECT":
            found.append(Finding("grant_global", grant.table, f"{grant.verb} on a table of everybody's"))
        elif grant.is_partition:
            found.append(Finding("grant_partition", grant.table, "partitions are reached through their parent only"))
    return found
