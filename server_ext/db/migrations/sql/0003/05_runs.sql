-- Runs that pause and runs that repeat others, prices of a workspace's own, and usage by user.

alter table runs
    drop constraint runs_status_check,
    add constraint runs_status_check check (status in (
        'queued', 'running', 'pausing', 'paused', 'cancelling', 'completed', 'cancelled', 'failed'
    )),
    -- The program allows 255 characters, and one that PostgreSQL does not store is written as five.
    drop constraint runs_name_check,
    add constraint runs_name_check check (char_length(name) <= 1275),
    -- The run whose failed items this one asks again.
    add column retry_of uuid,
    add foreign key (workspace_id, retry_of) references runs (workspace_id, id);
create index runs_retry_idx on runs (workspace_id, retry_of) where retry_of is not null;

alter table run_cases
    drop constraint run_cases_name_check,
    add constraint run_cases_name_check check (char_length(name) <= 1275);

-- A task that is held waits for its run to go on; nobody is woken for it.
alter table tasks
    drop constraint tasks_state_check,
    add constraint tasks_state_check check (state in ('queued', 'leased', 'held', 'done', 'failed', 'cancelled')),
    -- The items of the shard, when not all between first and last.
    add column ordinals integer[] check (cardinality(ordinals) > 0);

-- Prices of a workspace's own. What answers were priced by never changes: an override is ended or withdrawn.
create table price_overrides (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    provider text not null check (char_length(provider) between 1 and 1500),
    model text not null check (char_length(model) between 1 and 1500),
    input_per_mtok numeric not null check (input_per_mtok >= 0),
    output_per_mtok numeric check (output_per_mtok >= 0),
    cached_input_per_mtok numeric check (cached_input_per_mtok >= 0),
    cache_write_per_mtok numeric check (cache_write_per_mtok >= 0),
    reasoning_per_mtok numeric check (reasoning_per_mtok >= 0),
    per_call numeric not null default 0 check (per_call >= 0),
    tiers jsonb not null default '[]' check (jsonb_typeof(tiers) = 'array'),
    valid_from date not null,
    valid_to date check (valid_to > valid_from),
    source text not null check (char_length(source) between 1 and 5000),
    created_by uuid references users (id),
    created_at timestamptz not null default now(),
    withdrawn_at timestamptz,
    primary key (workspace_id, id)
);
create index price_overrides_model_idx on price_overrides (workspace_id, provider, model, valid_from);
select pc.isolate('price_overrides');
grant select, insert on price_overrides to pc_app;
grant update (valid_to, source, withdrawn_at) on price_overrides to pc_app;

alter table generations
    add column price_override_id uuid,
    add foreign key (workspace_id, price_override_id) references price_overrides (workspace_id, id),
    add check (price_id is null or price_override_id is null);
create index generations_created_idx on generations (workspace_id, created_at, id);
create index test_executions_generation_idx on test_executions (workspace_id, generation_id);

-- As rollup_hours, by who started the run; the nil UUID stands for nobody.
create table rollup_users (
    workspace_id uuid not null references workspaces (id),
    hour timestamptz not null,
    user_id uuid not null,
    n bigint not null default 0,
    passed bigint not null default 0,
    failed bigint not null default 0,
    errored bigint not null default 0,
    unscored bigint not null default 0,
    tokens_input bigint not null default 0,
    tokens_output bigint not null default 0,
    cost_usd numeric not null default 0,
    priced bigint not null default 0,
    primary key (workspace_id, hour, user_id)
);
-- What there is already. Row security is forced on the owner, too; only here, and until it is forced again, it is not.
alter table runs no force row level security;
alter table test_executions no force row level security;
insert into rollup_users
select e.workspace_id, date_trunc('hour', e.completed_at, 'UTC'),
    coalesce(r.created_by, '00000000-0000-0000-0000-000000000000'), count(*),
    count(*) filter (where e.outcome = 'pass'), count(*) filter (where e.outcome = 'fail'),
    count(*) filter (where e.outcome = 'error'), count(*) filter (where e.outcome = 'unscored'),
    coalesce(sum(e.tokens_input), 0), coalesce(sum(e.tokens_output), 0), coalesce(sum(e.cost_usd), 0),
    count(e.cost_usd)
from test_executions as e join runs as r on r.workspace_id = e.workspace_id and r.id = e.run_id
group by 1, 2, 3;
alter table runs force row level security;
alter table test_executions force row level security;
select pc.isolate('rollup_users');
grant select, insert, update on rollup_users to pc_app;

-- Answers are kept for all requests that name a key (00_idempotency.sql), not only for runs.
alter table runs drop column idempotency_key;
