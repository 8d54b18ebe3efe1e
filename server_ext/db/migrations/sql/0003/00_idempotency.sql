-- Answers to requests that named a key, so that a repeated request gets the first one's answer.

create table idempotency_keys (
    workspace_id uuid not null references workspaces (id),
    key_hash bytea not null check (length(key_hash) = 32),
    request_hash bytea not null check (length(request_hash) = 32),
    status integer not null,
    headers jsonb not null default '{}',
    body bytea not null,
    created_at timestamptz not null default now(),
    primary key (workspace_id, key_hash)
);
create index idempotency_keys_age_idx on idempotency_keys (workspace_id, created_at);
select pc.isolate('idempotency_keys');
grant select, insert, delete on idempotency_keys to pc_app;
