-- The audit trail: one chain of hashes a workspace.

create table audit_log (
    workspace_id uuid not null references workspaces (id),
    seq bigint not null,
    at timestamptz not null default clock_timestamp(),
    actor_id uuid,
    actor_kind text not null check (char_length(actor_kind) <= 50),
    action text not null check (char_length(action) <= 100),
    object_type text check (char_length(object_type) <= 100),
    object_id text check (char_length(object_id) <= 255),
    detail jsonb not null default '{}',
    prev_hash bytea not null,
    hash bytea not null,
    primary key (workspace_id, seq)
);
select pc.isolate('audit_log');
create trigger immutable before update or delete or truncate on audit_log
    for each statement execute function pc.refuse_change();

-- A JSON array is unambiguous: no choice of values makes two different rows read the same.
create function pc.audit_hash(entry public.audit_log) returns bytea
language sql stable
return sha256(entry.prev_hash || convert_to(jsonb_build_array(
    entry.workspace_id, entry.seq, extract(epoch from entry.at), entry.actor_id, entry.actor_kind,
    entry.action, entry.object_type, entry.object_id, entry.detail
)::text, 'UTF8'));

-- Number, time and hashes are made here; what the writer gives for them is not used.
create function pc.audit_append() returns trigger
language plpgsql
set search_path = pg_catalog, public, pc, pg_temp
as $$
declare
    last record;
begin
    -- Held to the end of the transaction: the next writer of this workspace sees this row or waits for it.
    perform pg_advisory_xact_lock(hashtextextended('pc.audit:' || new.workspace_id, 0));
    select seq, hash into last from public.audit_log
        where workspace_id = new.workspace_id order by seq desc limit 1;
    new.seq := coalesce(last.seq, 0) + 1;
    new.prev_hash := coalesce(last.hash, ''::bytea);
    new.at := clock_timestamp();
    new.hash := pc.audit_hash(new);
    return new;
end $$;
create trigger chain before insert on audit_log for each row execute function pc.audit_append();

-- The first entry that was changed, lost its predecessor or stands in the wrong place; null when the chain is whole.
-- Entries cut off at the end leave a shorter chain that is whole: compare its last hash with one kept elsewhere.
create function pc.audit_verify(workspace uuid) returns bigint
language plpgsql stable
set search_path = pg_catalog, public, pc, pg_temp
as $$
begin
    -- Rows that cannot be seen would pass for a chain that is whole.
    if row_security_active('public.audit_log')
        and workspace is distinct from nullif(current_setting('app.workspace_id', true), '')::uuid then
        raise insufficient_privilege using message = 'the audit trail of this workspace is not visible here';
    end if;
    return (
        select min(seq)
        from (
            select seq, prev_hash, hash, pc.audit_hash(entry) as expected_hash,
                row_number() over (order by seq) as expected_seq,
                coalesce(lag(hash) over (order by seq), ''::bytea) as expected_prev
            from public.audit_log as entry
            where workspace_id = workspace
        ) as chain
        where seq <> expected_seq or prev_hash <> expected_prev or hash <> expected_hash
    );
end $$;

revoke execute on function pc.audit_append() from public;
revoke execute on function pc.audit_hash(public.audit_log), pc.audit_verify(uuid) from public;
grant execute on function pc.audit_hash(public.audit_log), pc.audit_verify(uuid) to pc_app, pc_backup;
