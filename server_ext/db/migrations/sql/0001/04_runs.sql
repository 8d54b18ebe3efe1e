-- Runs, the work they are cut into, and the ledger of calls. Nothing here refers to what a provider answered.

create table runs (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    created_at timestamptz not null default now(),
    created_by uuid references users (id),
    card_id uuid not null,
    name text not null default '' check (char_length(name) <= 255),
    status text not null default 'queued'
        check (status in ('queued', 'running', 'paused', 'cancelling', 'completed', 'cancelled', 'failed')),
    plan jsonb not null,
    total integer not null check (total >= 0),
    recorded integer not null default 0,
    passed integer not null default 0,
    failed integer not null default 0,
    errored integer not null default 0,
    unscored integer not null default 0,
    cost_usd numeric not null default 0,
    priced integer not null default 0,
    event_seq bigint not null default 0,
    engine_version text,
    budget_usd numeric check (budget_usd >= 0),
    idempotency_key text check (char_length(idempotency_key) between 1 and 255),
    started_at timestamptz,
    finished_at timestamptz,
    error jsonb,
    primary key (workspace_id, id),
    unique (workspace_id, id, created_at),
    unique (workspace_id, idempotency_key),
    foreign key (workspace_id, card_id) references prompt_cards (workspace_id, id)
);
create index runs_card_idx on runs (workspace_id, card_id, created_at);
create index runs_created_idx on runs (workspace_id, created_at);
select pc.isolate('runs');

-- The cases as they were when the run was made: editing a case later changes no finished run.
create table run_cases (
    workspace_id uuid not null references workspaces (id),
    run_id uuid not null,
    position integer not null,
    case_id uuid,
    case_uid text not null check (char_length(case_uid) between 1 and 100),
    name text not null check (char_length(name) <= 255),
    input_variables jsonb not null,
    assertions jsonb not null default '[]',
    primary key (workspace_id, run_id, position),
    foreign key (workspace_id, run_id) references runs (workspace_id, id)
);
select pc.isolate('run_cases');

create table run_events (
    workspace_id uuid not null references workspaces (id),
    run_id uuid not null,
    seq bigint not null,
    kind text not null check (char_length(kind) <= 50),
    payload jsonb not null default '{}',
    at timestamptz not null default clock_timestamp(),
    primary key (workspace_id, run_id, seq),
    foreign key (workspace_id, run_id) references runs (workspace_id, id)
);
select pc.isolate('run_events');

create table reports (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    run_id uuid not null,
    kind text not null check (char_length(kind) <= 50),
    status text not null default 'queued' check (status in ('queued', 'running', 'done', 'failed')),
    html bytea,
    notebook bytea,
    size integer,
    error jsonb,
    created_by uuid references users (id),
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    primary key (workspace_id, id),
    foreign key (workspace_id, run_id) references runs (workspace_id, id)
);
create index reports_run_idx on reports (workspace_id, run_id);
select pc.isolate('reports');

-- Background work. A worker leases a task; a lease that ran out may be taken by another.
create table tasks (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    kind text not null check (kind in ('run_shard', 'report')),
    run_id uuid,
    report_id uuid,
    first_ordinal integer,
    last_ordinal integer,
    state text not null default 'queued' check (state in ('queued', 'leased', 'done', 'failed', 'cancelled')),
    lease_token uuid,
    lease_until timestamptz,
    worker text,
    attempt integer not null default 0,
    max_attempts integer not null default 20,
    last_error jsonb,
    rung_at timestamptz,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    primary key (workspace_id, id),
    foreign key (workspace_id, run_id) references runs (workspace_id, id),
    foreign key (workspace_id, report_id) references reports (workspace_id, id),
    check (kind <> 'run_shard' or (run_id is not null and first_ordinal <= last_ordinal
        and first_ordinal is not null and last_ordinal is not null)),
    check (kind <> 'report' or report_id is not null),
    check (state <> 'leased' or (lease_token is not null and lease_until is not null))
);
create index tasks_run_idx on tasks (workspace_id, run_id);
-- Only what is still to do: small however long the history.
create index tasks_live_idx on tasks (workspace_id, created_at) where state in ('queued', 'leased');
select pc.isolate('tasks');

-- One row a call, committed before the call is made: a call that may have been paid for always has a row.
create table attempts (
    workspace_id uuid not null references workspaces (id),
    run_id uuid not null,
    ordinal integer not null,
    attempt integer not null,
    task_id uuid not null,
    lease_token uuid not null,
    worker text not null,
    state text not null default 'open' check (state in ('open', 'recorded', 'released', 'late', 'unknown')),
    claimed_at timestamptz not null default clock_timestamp(),
    closed_at timestamptz,
    primary key (workspace_id, run_id, ordinal, attempt),
    foreign key (workspace_id, run_id) references runs (workspace_id, id),
    foreign key (workspace_id, task_id) references tasks (workspace_id, id)
);
create index attempts_open_idx on attempts (workspace_id, task_id) where state = 'open';
select pc.isolate('attempts');

-- What to put on the queue once this transaction has committed. Ids only.
create table outbox (
    id bigint generated always as identity,
    workspace_id uuid not null references workspaces (id),
    kind text not null check (char_length(kind) <= 50),
    ref_id uuid not null,
    created_at timestamptz not null default now(),
    primary key (workspace_id, id)
);
select pc.isolate('outbox');
