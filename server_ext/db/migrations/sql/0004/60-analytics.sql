-- Sums by case, and an index that answers questions about executions which no sum answers.

-- One row a case, whatever its age: which cases are slowest is a look at as many rows as there are cases. A case is
-- what it is by its variables, so it keeps its row from version to version of its card.
create table rollup_cases (
    workspace_id uuid not null references workspaces (id),
    card_id uuid not null,
    case_uid text not null,
    -- Where the case was tried last: its name is there even when it is no longer among the card's cases.
    run_id uuid not null,
    case_position integer not null,
    n bigint not null default 0,
    passed bigint not null default 0,
    failed bigint not null default 0,
    errored bigint not null default 0,
    unscored bigint not null default 0,
    latency_ms_sum double precision not null default 0,
    latency_n bigint not null default 0,
    cost_usd numeric not null default 0,
    priced bigint not null default 0,
    primary key (workspace_id, card_id, case_uid),
    foreign key (workspace_id, card_id) references prompt_cards (workspace_id, id)
) with (fillfactor = 70); -- Room to change a row where it is, without a new entry in the index.

-- The same by day, UTC. No foreign key to cards: each row has one in rollup_cases, which has it.
create table rollup_case_days (
    workspace_id uuid not null references workspaces (id),
    day date not null,
    card_id uuid not null,
    case_uid text not null,
    n bigint not null default 0,
    passed bigint not null default 0,
    failed bigint not null default 0,
    errored bigint not null default 0,
    unscored bigint not null default 0,
    latency_ms_sum double precision not null default 0,
    latency_n bigint not null default 0,
    cost_usd numeric not null default 0,
    priced bigint not null default 0,
    primary key (workspace_id, day, card_id, case_uid)
) with (fillfactor = 90);

-- As rollup_hours: how many latencies lie in which bucket. In place of rollup_latency, which had a row for each bucket and
-- so nearly one for each execution.
create table rollup_histograms (
    workspace_id uuid not null references workspaces (id),
    hour timestamptz not null,
    card_version_id uuid not null,
    model text not null,
    provider text not null,
    buckets integer[] not null,
    counts bigint[] not null,
    primary key (workspace_id, hour, card_version_id, model, provider),
    foreign key (workspace_id, card_version_id) references card_versions (workspace_id, id),
    check (cardinality(buckets) = cardinality(counts))
);
alter table rollup_latency no force row level security;
insert into rollup_histograms
select workspace_id, hour, card_version_id, model, provider, array_agg(bucket order by bucket),
    array_agg(n order by bucket)
from rollup_latency group by 1, 2, 3, 4, 5;
drop table rollup_latency;
select pc.isolate('rollup_histograms');
grant select, insert, update on rollup_histograms to pc_app;

-- What there is already. Row security is forced on the owner, too; only here, and until it is forced again, it is not.
alter table card_versions no force row level security;
alter table test_executions no force row level security;
insert into rollup_case_days
select e.workspace_id, (e.completed_at at time zone 'UTC')::date, v.card_id, e.case_uid, count(*),
    count(*) filter (where e.outcome = 'pass'), count(*) filter (where e.outcome = 'fail'),
    count(*) filter (where e.outcome = 'error'), count(*) filter (where e.outcome = 'unscored'),
    coalesce(sum(e.latency_ms), 0), count(e.latency_ms), coalesce(sum(e.cost_usd), 0), count(e.cost_usd)
from test_executions as e join card_versions as v on v.workspace_id = e.workspace_id and v.id = e.card_version_id
group by 1, 2, 3, 4;
with latest as (
    select distinct on (e.workspace_id, v.card_id, e.case_uid)
        e.workspace_id, v.card_id, e.case_uid, e.run_id, e.case_position
    from test_executions as e join card_versions as v on v.workspace_id = e.workspace_id and v.id = e.card_version_id
    order by e.workspace_id, v.card_id, e.case_uid, e.completed_at desc, e.run_id
)
insert into rollup_cases
select l.workspace_id, l.card_id, l.case_uid, l.run_id, l.case_position, sum(d.n), sum(d.passed), sum(d.failed),
    sum(d.errored), sum(d.unscored), sum(d.latency_ms_sum), sum(d.latency_n), sum(d.cost_usd), sum(d.priced)
from latest as l join rollup_case_days as d using (workspace_id, card_id, case_uid)
group by l.workspace_id, l.card_id, l.case_uid, l.run_id, l.case_position;
alter table card_versions force row level security;
alter table test_executions force row level security;
select pc.isolate('rollup_cases');
select pc.isolate('rollup_case_days');
grant select, insert, update on rollup_cases, rollup_case_days to pc_app;

-- Newest first, and whatever is filtered or summed up without a look at the rows themselves. In place of one that
-- began with the version, which nothing asked for.
create index test_executions_completed_idx on test_executions (workspace_id, completed_at, run_id, ordinal)
    include (run_created_at, card_version_id, case_uid, model, outcome, latency_ms, cost_usd);
drop index test_executions_version_idx;
