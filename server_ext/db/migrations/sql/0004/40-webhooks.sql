-- Whom the end of a run is told to, each time it was told, and tasks that wait for a time of day.

create table webhooks (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    url text not null check (char_length(url) between 1 and 2000),
    note text not null default '' check (char_length(note) <= 2500),
    -- Which key of the installation opens the secret that signs.
    key_id text not null check (char_length(key_id) <= 100),
    sealed bytea not null check (length(sealed) between 28 and 5000),
    enabled boolean not null default true,
    -- When the first delivery failed since the last one that arrived.
    failing_since timestamptz,
    disabled_reason text check (char_length(disabled_reason) <= 2500),
    created_by uuid references users (id),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (workspace_id, id)
);
select pc.isolate('webhooks');
grant select, insert, update, delete on webhooks to pc_app;

-- No foreign key to runs: what was told is a record of its own.
create table webhook_deliveries (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    webhook_id uuid not null,
    run_id uuid,
    type text not null check (char_length(type) between 1 and 50),
    data jsonb not null,
    state text not null default 'waiting' check (state in ('waiting', 'delivered', 'failed')),
    attempts integer not null default 0,
    status integer,
    error jsonb,
    created_at timestamptz not null default clock_timestamp(),
    last_attempt_at timestamptz,
    next_attempt_at timestamptz,
    primary key (workspace_id, id),
    foreign key (workspace_id, webhook_id) references webhooks (workspace_id, id) on delete cascade
);
create index webhook_deliveries_webhook_idx on webhook_deliveries (workspace_id, webhook_id, id);
select pc.isolate('webhook_deliveries');
grant select, insert, update, delete on webhook_deliveries to pc_app;

alter table tasks
    drop constraint tasks_kind_check,
    add constraint tasks_kind_check check (kind in ('run_shard', 'report', 'webhook')),
    add column delivery_id uuid,
    add foreign key (workspace_id, delivery_id) references webhook_deliveries (workspace_id, id) on delete cascade,
    add check (kind <> 'webhook' or delivery_id is not null),
    -- Nobody takes it up before.
    add column not_before timestamptz;
create index tasks_delivery_idx on tasks (workspace_id, delivery_id) where delivery_id is not null;

-- As before, but for tasks whose time has not come.
create or replace function pc.tasks_to_ring(older_than interval, max_rows integer)
returns table (workspace_id uuid, id uuid, kind text)
language sql volatile security definer
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    with due as materialized (
        select t.workspace_id, t.id
        from public.tasks as t
        where t.state in ('queued', 'leased')
            and (t.state = 'queued' or t.lease_until < clock_timestamp())
            and (t.not_before is null or t.not_before <= clock_timestamp())
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

-- The secrets of webhooks are sealed by the same keys as those of providers.
create policy across_workspaces on webhooks for select to pc_owner using (true);
create or replace function pc.workspaces_to_reseal(current_key text, after uuid, max_rows integer) returns setof uuid
language sql stable security definer
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    select c.workspace_id from public.provider_credentials as c
        where c.key_id <> current_key and (after is null or c.workspace_id > after)
    union
    select w.workspace_id from public.webhooks as w
        where w.key_id <> current_key and (after is null or w.workspace_id > after)
        order by workspace_id limit max_rows;
end;
