-- What every table of a workspace is put behind.

create schema pc;
grant usage on schema pc to pc_app, pc_backup;

-- A temporary table is found before a real one of the same name: nobody needs any, so nobody may make any.
do $$ begin
    execute format('revoke temporary on database %I from public', current_database());
end $$;
revoke create on schema public from public;

-- Put a table behind the wall: the rows of the workspace named in this transaction, and no others.
-- After a transaction that set it the setting is '' and not null, hence nullif. The sub-select makes the planner
-- ask once a query and not once a row.
create function pc.isolate(target regclass) returns void
language plpgsql
set search_path = pg_catalog, public, pc, pg_temp
as $$
begin
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
    execute format($policy$
        create policy workspace on %s to pc_app
        using (workspace_id = (select nullif(current_setting('app.workspace_id', true), '')::uuid))
        with check (workspace_id = (select nullif(current_setting('app.workspace_id', true), '')::uuid))
    $policy$, target);
end $$;
revoke execute on function pc.isolate(regclass) from public;

-- For tables that are written once. It fires for every role, the owner included, and even when no row matches.
create function pc.refuse_change() returns trigger
language plpgsql
set search_path = pg_catalog, public, pc, pg_temp
as $$
begin
    raise exception using
        errcode = 'PC001',
        message = format('%s refused: rows of %s are never changed', tg_op, tg_table_name);
end $$;
revoke execute on function pc.refuse_change() from public;
