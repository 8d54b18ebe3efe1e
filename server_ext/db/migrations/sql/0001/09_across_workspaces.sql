-- The few things that must look across workspaces. Each is one function with the owner's rights that returns ids only.
-- Row security is forced on the owner too; these policies open to it the tables that the functions need and no others.

create policy across_workspaces on users to pc_owner using (true) with check (true);
create policy across_workspaces on user_identities to pc_owner using (true) with check (true);
create policy across_workspaces on outbox to pc_owner using (true) with check (true);
create policy across_workspaces on tasks to pc_owner using (true) with check (true);

-- The user behind an identity. Without a display name it only looks; with one, an unknown identity becomes a new user.
create function pc.resolve_identity(provider text, subject text, display_name text) returns uuid
language plpgsql security definer
set search_path = pg_catalog, public, pc, pg_temp
as $$
#variable_conflict use_column
declare
    found_id uuid;
begin
    select user_id into found_id from public.user_identities as known
        where known.provider = $1 and known.subject = $2;
    if found_id is not null or $3 is null then
        return found_id;
    end if;
    -- Of two first logins at once, the second waits here and then finds what the first one made.
    perform pg_advisory_xact_lock(hashtextextended('pc.identity:' || jsonb_build_array($1, $2)::text, 0));
    select user_id into found_id from public.user_identities as known
        where known.provider = $1 and known.subject = $2;
    if found_id is null then
        insert into public.users (display_name) values ($3) returning id into found_id;
        insert into public.user_identities (provider, subject, user_id) values ($1, $2, found_id);
    end if;
    return found_id;
end $$;

-- Take notes off the outbox, oldest first. Two takers never get the same note; a taker that rolls back gives them back.
create function pc.take_outbox(max_rows integer) returns table (workspace_id uuid, kind text, ref_id uuid)
language sql volatile security definer
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    with next as materialized (
        select o.workspace_id, o.id from public.outbox as o order by o.id limit max_rows for update skip locked
    )
    delete from public.outbox as o using next
        where o.workspace_id = next.workspace_id and o.id = next.id
        returning o.workspace_id, o.kind, o.ref_id;
end;

-- Tasks that a worker should be woken for: waiting and not rung lately, or leased by a worker that stopped renewing
-- and not rung since. Each is marked as rung, by the database's clock.
create function pc.tasks_to_ring(older_than interval, max_rows integer)
returns table (workspace_id uuid, id uuid, kind text)
language sql volatile security definer
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    with due as materialized (
        select t.workspace_id, t.id
        from public.tasks as t
        where t.state in ('queued', 'leased')
            and (t.state = 'queued' or t.lease_until < clock_timestamp())
            and (
                t.rung_at is null
                or t.rung_at < clock_timestamp() - older_than
                or (t.state = 'leased' and t.rung_at < t.lease_until)
            )
        order by t.created_at
        limit max_rows
        for update skip locked
    )
    update public.tasks as t set rung_at = clock_timestamp() from due
        where t.workspace_id = due.workspace_id and t.id = due.id
        returning t.workspace_id, t.id, t.kind;
end;

revoke execute on function pc.resolve_identity(text, text, text) from public;
revoke execute on function pc.take_outbox(integer) from public;
revoke execute on function pc.tasks_to_ring(interval, integer) from public;
grant execute on function pc.resolve_identity(text, text, text) to pc_app;
grant execute on function pc.take_outbox(integer) to pc_app;
grant execute on function pc.tasks_to_ring(interval, integer) to pc_app;
