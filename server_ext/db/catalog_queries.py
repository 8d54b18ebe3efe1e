"""The questions to PostgreSQL's catalog behind `server_ext.db.catalog`."""

from __future__ import annotations

# ruff: noqa: S608 -- every part of every query is a constant in this file

BY_WORKSPACE = (
    "(workspace_id = ( SELECT (NULLIF(current_setting('app.workspace_id'::text, true), ''::text))::uuid AS \"nullif\"))"
)
"""The one condition, as PostgreSQL prints it."""

_OURS = """
    n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and n.nspname !~ '^pg_(toast_)?temp_'
    and not exists (
        select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e'
    )
"""

_TABLE = "case when n.nspname = 'public' then c.relname else n.nspname || '.' || c.relname end"

TABLES = f"""
    select {_TABLE} as name, c.relkind as kind, c.relrowsecurity as enabled, c.relforcerowsecurity as forced,
        w.attnum is not null as has_workspace, coalesce(w.attnotnull, false) as workspace_required
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    left join pg_attribute w on w.attrelid = c.oid and w.attname = 'workspace_id'
        and w.atttypid = 'uuid'::regtype and not w.attisdropped
    where c.relkind in ('r', 'p', 'f') and {_OURS}
"""

POLICIES = f"""
    select {_TABLE} as table, p.polname as name, p.polcmd as command, p.polpermissive as permissive,
        pg_get_expr(p.polqual, p.polrelid) as using, pg_get_expr(p.polwithcheck, p.polrelid) as check,
        array(
            select case when r = 0 then 'public' else pg_get_userbyid(r) end from unnest(p.polroles) as r
        )::text[] as roles
    from pg_policy p
    join pg_class c on c.oid = p.polrelid
    join pg_namespace n on n.oid = c.relnamespace
    where {_OURS}
"""

# A foreign key between tables of workspaces must map workspace_id to workspace_id. Checks of foreign keys do not ask
# row security: without this a row could point into another workspace.
FOREIGN_KEYS = f"""
    select {_TABLE} as table, k.conname as name, t.relname as target
    from pg_constraint k
    join pg_class c on c.oid = k.conrelid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_class t on t.oid = k.confrelid
    join pg_attribute tw on tw.attrelid = t.oid and not tw.attisdropped
        and tw.attname = case when t.relname = 'workspaces' then 'id' else 'workspace_id' end
    left join pg_attribute w on w.attrelid = c.oid and w.attname = 'workspace_id' and not w.attisdropped
    where k.contype = 'f' and {_OURS}
        and not exists (
            select from unnest(k.conkey, k.confkey) as pair (here, there)
            where pair.here = w.attnum and pair.there = tw.attnum
        )
"""

# A key of a single uuid is random, and tells nothing when it clashes.
INDEXES = f"""
    select i.relname as name, {_TABLE} as table
    from pg_index x
    join pg_class i on i.oid = x.indexrelid
    join pg_class c on c.oid = x.indrelid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute w on w.attrelid = c.oid and w.attname = 'workspace_id' and not w.attisdropped
    left join pg_attribute a on a.attrelid = c.oid and a.attnum = x.indkey[0]
    where {_OURS}
        and x.indkey[0] <> w.attnum
        and not (x.indisprimary and x.indnkeyatts = 1 and a.atttypid = 'uuid'::regtype)
"""

DEFINER_FUNCTIONS = """
    select n.nspname || '.' || f.proname || '(' || pg_get_function_identity_arguments(f.oid) || ')' as name,
        exists (
            select from unnest(f.proconfig) as setting where setting ~ '^search_path=.*pg_temp"?$'
        ) as fixed_path,
        f.proacl is null or exists (
            select from aclexplode(f.proacl) as granted where granted.grantee = 0
        ) as for_everybody
    from pg_proc f
    join pg_namespace n on n.oid = f.pronamespace
    where f.prosecdef and n.nspname not in ('pg_catalog', 'information_schema')
        and not exists (
            select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = f.oid and e.deptype = 'e'
        )
"""

VIEWS = f"""
    select {_TABLE} as name, c.relkind as kind,
        exists (
            select from unnest(c.reloptions) as option where option in ('security_invoker=true', 'security_invoker=on')
        ) as invoker
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('v', 'm') and {_OURS}
"""

GRANTS = f"""
    select distinct {_TABLE} as table, c.relispartition as is_partition, granted.privilege_type as verb,
        case when granted.grantee = 0 then 'public' else pg_get_userbyid(granted.grantee) end as grantee
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    cross join aclexplode(c.relacl) as granted
    where c.relkind in ('r', 'p', 'f', 'v', 'm') and {_OURS}
        and (granted.grantee = 0 or pg_get_userbyid(granted.grantee) = 'pc_app')
"""

# Who we are, who we logged in as, and every role we could become.
ROLE = """
    select me.rolname as role,
        bool_or(r.rolsuper) as is_superuser,
        bool_or(r.rolbypassrls) as bypasses,
        exists (
            select from pg_class c
            join pg_namespace n on n.oid = c.relnamespace
            where c.relkind in ('r', 'p') and n.nspname !~ '^(pg_|information_schema$)'
                and pg_has_role(me.oid, c.relowner, 'member')
        ) as owns
    from pg_roles me
    join pg_roles r on pg_has_role(me.oid, r.oid, 'member')
    where me.rolname in (current_user, session_user)
    group by me.oid, me.rolname
"""
