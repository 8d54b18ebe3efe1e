-- Calls of runs that can wait: given to a provider many at once, and fetched when they are answered.

create table provider_batches (
    workspace_id uuid not null references workspaces (id),
    -- Sent as metadata too, so that the batch is known again when the answer to its making was lost.
    id uuid not null default uuidv7(),
    run_id uuid not null,
    task_id uuid not null,
    -- Under which number its calls are announced in attempts.
    attempt integer not null,
    model text not null check (char_length(model) between 1 and 2500),
    ordinals integer[] not null check (cardinality(ordinals) > 0),
    -- Whether its items were in an earlier batch that did not answer them.
    round integer not null default 1,
    state text not null default 'preparing'
        check (state in ('preparing', 'submitted', 'collected', 'failed', 'abandoned')),
    file_id text check (char_length(file_id) <= 1000),
    remote_id text check (char_length(remote_id) <= 1000),
    -- The provider's word for how it is.
    status text check (char_length(status) <= 1000),
    -- When its making was last tried: from then on there may be one.
    tried_at timestamptz,
    failures integer not null default 0,
    error jsonb,
    created_at timestamptz not null default clock_timestamp(),
    submitted_at timestamptz,
    ended_at timestamptz,
    primary key (workspace_id, id),
    foreign key (workspace_id, run_id) references runs (workspace_id, id),
    foreign key (workspace_id, task_id) references tasks (workspace_id, id)
);
create index provider_batches_task_idx on provider_batches (workspace_id, task_id, state);
create index provider_batches_run_idx on provider_batches (workspace_id, run_id);
select pc.isolate('provider_batches');
grant select, insert, update on provider_batches to pc_app;

alter table tasks
    drop constraint tasks_kind_check,
    add constraint tasks_kind_check check (kind in ('run_shard', 'report', 'webhook', 'batch_cancel')),
    -- The batch that a provider is to be told to stop; no foreign key, for batches refer to tasks.
    add column batch_id uuid,
    add check (kind <> 'batch_cancel' or batch_id is not null);
