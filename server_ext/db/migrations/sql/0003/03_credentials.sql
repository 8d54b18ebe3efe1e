-- Keys of model providers, sealed, and the private hosts that a workspace may call.

create table provider_credentials (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    provider text not null check (char_length(provider) between 1 and 100),
    name text not null check (char_length(name) between 1 and 50),
    base_url text not null check (char_length(base_url) between 1 and 2000),
    -- Which key of the installation opens what is sealed; both or none.
    key_id text check (char_length(key_id) <= 100),
    sealed bytea check (length(sealed) between 28 and 5000),
    last_four text check (char_length(last_four) = 4),
    revision integer not null default 1,
    enabled boolean not null default true,
    created_by uuid references users (id),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    last_used_at timestamptz,
    primary key (workspace_id, id),
    unique (workspace_id, provider, name),
    check ((key_id is null) = (sealed is null)),
    check (last_four is null or sealed is not null)
);
select pc.isolate('provider_credentials');
grant select, insert, update, delete on provider_credentials to pc_app;

create table network_rules (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    host text not null check (char_length(host) between 1 and 253),
    port integer not null check (port between 1 and 65535),
    note text not null default '' check (char_length(note) <= 500),
    created_by uuid references users (id),
    created_at timestamptz not null default now(),
    primary key (workspace_id, id),
    unique (workspace_id, host, port)
);
select pc.isolate('network_rules');
grant select, insert, delete on network_rules to pc_app;

-- Workspaces, in order of their ids, that have something sealed under another key than the current one. To work as the
-- owner instead would put the right to change every table into the process that holds the keys; this gives ids only.
create policy across_workspaces on provider_credentials for select to pc_owner using (true);
create function pc.workspaces_to_reseal(current_key text, after uuid, max_rows integer) returns setof uuid
language sql stable security definer
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    select distinct c.workspace_id from public.provider_credentials as c
        where c.key_id <> current_key and (after is null or c.workspace_id > after)
        order by c.workspace_id limit max_rows;
end;
revoke execute on function pc.workspaces_to_reseal(text, uuid, integer) from public;
grant execute on function pc.workspaces_to_reseal(text, uuid, integer) to pc_app;
