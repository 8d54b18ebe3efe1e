-- What providers answered, how it was judged, and the sums. Text that a provider chose has no limit and no check:
-- an answer that was paid for must not fail to be stored.

-- Prices are the same for everybody; only the owner writes them.
create table price_book (
    id uuid primary key default uuidv7(),
    provider text not null,
    model text not null,
    currency text not null default 'USD' check (currency = 'USD'),
    input_per_mtok numeric not null check (input_per_mtok >= 0),
    output_per_mtok numeric not null check (output_per_mtok >= 0),
    cached_input_per_mtok numeric check (cached_input_per_mtok >= 0),
    reasoning_per_mtok numeric check (reasoning_per_mtok >= 0),
    valid_from date not null,
    valid_to date check (valid_to > valid_from),
    source text not null,
    unique (provider, model, valid_from)
);

create table generations (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    request_hash text not null check (request_hash ~ '^[0-9a-f]{64}$'),
    request jsonb not null,
    provider text not null,
    model text not null,
    model_reported text,
    fingerprint text,
    output text,
    output_raw bytea,
    tool_calls jsonb,
    finish_reason text,
    tokens_input bigint,
    tokens_output bigint,
    tokens_cached bigint,
    tokens_reasoning bigint,
    latency_ms double precision,
    ttft_ms double precision,
    -- Calls that were made for this answer, the failed ones included.
    calls integer not null default 1 check (calls > 0),
    price_id uuid references price_book (id),
    cost_usd numeric,
    error jsonb,
    created_at timestamptz not null default now(),
    primary key (workspace_id, id)
);
create index generations_request_idx on generations (workspace_id, request_hash, created_at);
select pc.isolate('generations');
create trigger immutable before update or delete or truncate on generations
    for each statement execute function pc.refuse_change();

create table test_executions (
    workspace_id uuid not null references workspaces (id),
    run_id uuid not null,
    -- Part of the key of a partitioned table. The foreign key ties it to the run's one value, and so (run_id, ordinal)
    -- is unique although the constraint has a third column.
    run_created_at timestamptz not null,
    ordinal integer not null,
    id uuid not null default uuidv7(),
    card_version_id uuid not null,
    case_position integer not null,
    case_uid text not null,
    model text not null,
    provider text not null,
    repeat integer not null,
    generation_id uuid,
    outcome text not null check (outcome in ('pass', 'fail', 'error', 'unscored')),
    reason text,
    message text,
    score double precision,
    assertion_results jsonb not null default '[]',
    latency_ms double precision,
    tokens_input bigint,
    tokens_output bigint,
    cost_usd numeric,
    attempt integer not null,
    event_seq bigint not null,
    completed_at timestamptz not null default now(),
    primary key (workspace_id, run_id, ordinal, run_created_at),
    foreign key (workspace_id, run_id, run_created_at) references runs (workspace_id, id, created_at),
    foreign key (workspace_id, card_version_id) references card_versions (workspace_id, id),
    foreign key (workspace_id, generation_id) references generations (workspace_id, id)
) partition by range (run_created_at);
create index test_executions_event_idx on test_executions (workspace_id, run_id, event_seq);
create index test_executions_version_idx on test_executions (workspace_id, card_version_id, model, completed_at);
select pc.isolate('test_executions');

-- Mergeable sums by hour: any window is a sum of rows.
create table rollup_hours (
    workspace_id uuid not null references workspaces (id),
    hour timestamptz not null,
    card_version_id uuid not null,
    model text not null,
    provider text not null,
    n bigint not null default 0,
    passed bigint not null default 0,
    failed bigint not null default 0,
    errored bigint not null default 0,
    unscored bigint not null default 0,
    latency_ms_sum double precision not null default 0,
    latency_n bigint not null default 0,
    tokens_input bigint not null default 0,
    tokens_output bigint not null default 0,
    cost_usd numeric not null default 0,
    priced bigint not null default 0,
    primary key (workspace_id, hour, card_version_id, model, provider),
    foreign key (workspace_id, card_version_id) references card_versions (workspace_id, id)
);
select pc.isolate('rollup_hours');

-- Latencies by bucket: bucket b holds what lies in [1.02^b, 1.02^(b+1)) milliseconds, so a percentile is exact to 1 %.
create table rollup_latency (
    workspace_id uuid not null references workspaces (id),
    hour timestamptz not null,
    card_version_id uuid not null,
    model text not null,
    provider text not null,
    bucket integer not null,
    n bigint not null default 0,
    primary key (workspace_id, hour, card_version_id, model, provider, bucket),
    foreign key (workspace_id, card_version_id) references card_versions (workspace_id, id)
);
select pc.isolate('rollup_latency');
