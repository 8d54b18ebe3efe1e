-- Entries of the audit trail get a seal, made by the server with a key that the database never sees: whoever owns the
-- database can compute hashes anew, and cannot seal. Entries from before stay as they are, and the first seal covers
-- the hash of the last of them.

alter table audit_log
    add column actor_role text check (char_length(actor_role) <= 50),
    add column via text check (char_length(via) <= 50),
    add column address text check (char_length(address) <= 255),
    add column request_id text check (char_length(request_id) <= 100),
    add column key_id text check (char_length(key_id) <= 100),
    add column mac bytea check (length(mac) = 32),
    add constraint audit_log_sealed_whole check (
        case when mac is null then num_nonnulls(actor_role, via, address, request_id, key_id) = 0
        else key_id is not null end
    );
create index audit_log_actor_idx on audit_log (workspace_id, actor_id, seq);
create index audit_log_action_idx on audit_log (workspace_id, action, seq);
create index audit_log_object_idx on audit_log (workspace_id, object_id, seq);
create index audit_log_time_idx on audit_log (workspace_id, at);

create or replace function pc.audit_hash(entry public.audit_log) returns bytea
language sql stable
return sha256(entry.prev_hash || convert_to(
    case when entry.mac is null then jsonb_build_array(
        entry.workspace_id, entry.seq, extract(epoch from entry.at), entry.actor_id, entry.actor_kind,
        entry.action, entry.object_type, entry.object_id, entry.detail
    ) else jsonb_build_array(
        entry.workspace_id, entry.seq, extract(epoch from entry.at), entry.actor_id, entry.actor_kind,
        entry.action, entry.object_type, entry.object_id, entry.detail,
        entry.actor_role, entry.via, entry.address, entry.request_id, entry.key_id, encode(entry.mac, 'hex')
    ) end::text, 'UTF8'));

-- Take the workspace's trail for this transaction; returns what the next entry follows, and its time.
create function pc.audit_next(workspace uuid)
returns table (seq bigint, at timestamptz, prev_hash bytea, prev_mac bytea)
language plpgsql
set search_path = pg_catalog, public, pc, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('pc.audit:' || workspace, 0));
    return query
        select coalesce(max(last.seq), 0) + 1, clock_timestamp(),
            coalesce((array_agg(last.hash))[1], ''::bytea), coalesce((array_agg(last.mac))[1], ''::bytea)
        from (
            select entry.seq, entry.hash, entry.mac from public.audit_log as entry
            where entry.workspace_id = workspace order by entry.seq desc limit 1
        ) as last;
end $$;

-- A seal covers number and time, so the writer of a sealed entry names both; of all others neither is used.
create or replace function pc.audit_append() returns trigger
language plpgsql
set search_path = pg_catalog, public, pc, pg_temp
as $$
declare
    next record;
begin
    -- Held to the end of the transaction: the next writer of this workspace sees this row or waits for it.
    select * into next from pc.audit_next(new.workspace_id);
    if new.mac is null then
        new.seq := next.seq;
        new.at := next.at;
    elsif new.seq is distinct from next.seq then
        raise exception using errcode = 'PC001', message = 'INSERT refused: this audit entry is sealed for another place';
    end if;
    new.prev_hash := next.prev_hash;
    new.hash := pc.audit_hash(new);
    return new;
end $$;

-- The last entry of every trail, for a copy outside of the database: numbers and hashes only.
create policy across_workspaces on audit_log for select to pc_owner using (true);
create function pc.audit_heads()
returns table (workspace_id uuid, seq bigint, at timestamptz, hash bytea, key_id text, mac bytea)
language sql stable security definer
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    -- From workspace to workspace by the index, whatever the number of entries.
    with recursive trails as (
        (select entry.workspace_id from public.audit_log as entry order by entry.workspace_id limit 1)
        union all
        select (
            select entry.workspace_id from public.audit_log as entry
            where entry.workspace_id > trails.workspace_id order by entry.workspace_id limit 1
        )
        from trails where trails.workspace_id is not null
    )
    select head.workspace_id, head.seq, head.at, head.hash, head.key_id, head.mac
    from trails
    cross join lateral (
        select entry.workspace_id, entry.seq, entry.at, entry.hash, entry.key_id, entry.mac
        from public.audit_log as entry
        where entry.workspace_id = trails.workspace_id order by entry.seq desc limit 1
    ) as head;
end;

revoke execute on function pc.audit_next(uuid), pc.audit_heads() from public;
grant execute on function pc.audit_next(uuid) to pc_app;
grant execute on function pc.audit_heads() to pc_app, pc_backup;

-- What operators need to name a workspace: the owner may read who has which, and nothing else of them.
create policy across_workspaces on workspaces for select to pc_owner using (true);
create policy across_workspaces on memberships for select to pc_owner using (true);
