"""A year of executions, loaded month by month as a table that becomes a partition: what `bench.analytics` asks about.

The first workspace has a tenth of all rows, the others share the rest evenly. A run is one card: each of its cases,
three models, four times; when runs are made, and by which card, is chance. Latencies are log-normal, and each case and
each model has its own middle. Answers (``generations``) are left out: no question asks for them. The sums are made in
one go and not as they are with the write; `bench.analytics` compares them with the rows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, LiteralString

import psycopg

CARDS, CASES, ITEMS = 20, 40, 480
MODELS = ("openai:gpt-4o", "openai:gpt-4o-mini", "ollama:llama3.1:8b", "vllm:mistral-small", "openai:o3-mini")
TABLES = (
    "prompt_cards", "card_versions", "test_cases", "runs", "run_cases", "test_executions", "rollup_hours",
    "rollup_histograms", "rollup_cases", "rollup_case_days",
)  # fmt: skip

# Ids are made from numbers: the same load has the same rows.
_PLACES: LiteralString = """
create temporary table place as
    select number, id as workspace_id from unnest(%(workspaces)s::uuid[]) with ordinality as given (id, number);
insert into prompt_cards (workspace_id, id, name, title, latest_version)
    select workspace_id, md5('card' || number || '.' || c)::uuid, 'card-' || c, 'Card ' || c, 1
    from place, generate_series(1, %(cards)s) as c;
insert into card_versions (workspace_id, id, card_id, version, content, content_hash)
    select workspace_id, md5('version' || id)::uuid, id, 1, '{"messages": []}', repeat(md5(id::text), 2)
    from prompt_cards where workspace_id in (select workspace_id from place);
insert into test_cases (workspace_id, id, card_id, position, name, case_uid, input_variables)
    select workspace_id, md5('case' || id || n)::uuid, id, n, 'case-' || n, repeat(md5(id::text || n), 2), '{}'
    from prompt_cards, generate_series(0, %(cases)s - 1) as n where workspace_id in (select workspace_id from place);
"""
_RUNS: LiteralString = """
create temporary table load_run as
    select md5('run' || r)::uuid as id, p.workspace_id, md5('card' || p.number || '.' || card)::uuid as card_id,
        (hashtext('models' || r) & 1023) %% 5 as first_model,
        %(begin)s::timestamptz + (%(end)s::timestamptz - %(begin)s::timestamptz) * chance as created_at
    from (
        select r, 1 + floor(random() * %(cards)s)::integer as card, random() * 0.999 as chance,
            case when r %% 10 = 0 or %(places)s = 1 then 1 else 2 + r %% (%(places)s - 1) end as number
        from generate_series(1, %(runs)s) as r
    ) as drawn join place as p using (number);
insert into runs (workspace_id, id, created_at, card_id, status, plan, total, recorded)
    select workspace_id, id, created_at, card_id, 'completed', '{}', %(items)s, %(items)s from load_run;
insert into run_cases (workspace_id, run_id, position, case_uid, name, input_variables)
    select r.workspace_id, r.id, c.position, c.case_uid, c.name, '{}'
    from load_run as r join test_cases as c using (workspace_id, card_id);
"""
_MONTH: LiteralString = """
insert into {part} (
    workspace_id, run_id, run_created_at, ordinal, card_version_id, case_position, case_uid, model, provider, repeat,
    outcome, message, score, assertion_results, latency_ms, tokens_input, tokens_output, cost_usd, attempt, event_seq,
    completed_at
)
select r.workspace_id, r.id, r.created_at, i.ordinal, md5('version' || r.card_id)::uuid, position,
    repeat(md5(r.card_id::text || position), 2), m.model, split_part(m.model, ':', 1), i.ordinal %% 4,
    outcome, '', case outcome when 'pass' then 1 when 'fail' then 0 end,
    jsonb_build_array(jsonb_build_object('uid', md5(position::text), 'kind', 'contains', 'outcome', outcome)),
    case when outcome <> 'error' then
        (400 + 300 * m.number + 40 * (hashtext(r.card_id::text || position) & 31)) * exp(0.5 * random_normal())
    end,
    case when outcome <> 'error' then 200 + position end,
    case when outcome <> 'error' then 20 + i.ordinal %% 60 end,
    case when outcome <> 'error' and m.number < 5 then
        ((200 + position + 4 * i.ordinal %% 60) * m.number)::numeric / 1e7
    end,
    1, 1 + i.ordinal / 500, r.created_at + interval '10 seconds' * (1 + i.ordinal / 160)
from load_run as r
cross join (
    select ordinal, ordinal / 12 as position, ordinal / 4 %% 3 as slot from generate_series(0, %(items)s - 1) as ordinal
) as i
join unnest(%(models)s::text[]) with ordinality as m (model, number) on m.number = 1 + (r.first_model + i.slot) %% 5
cross join lateral (
    select
        case when c < 0.80 then 'pass' when c < 0.97 then 'fail' when c < 0.99 then 'error' else 'unscored' end
            as outcome
    from (select random() + 0 * i.ordinal as c) as drawn
) as o
where r.created_at >= %(month)s and r.created_at < %(after)s
order by r.created_at, r.id, i.ordinal
"""


_SUMS: LiteralString = """
insert into rollup_hours
    select workspace_id, date_trunc('hour', completed_at, 'UTC'), card_version_id, model, provider, {counts},
        coalesce(sum(latency_ms), 0), count(latency_ms), sum(tokens_input), sum(tokens_output),
        coalesce(sum(cost_usd), 0), count(cost_usd)
    from test_executions group by 1, 2, 3, 4, 5;
insert into rollup_histograms
    select workspace_id, hour, card_version_id, model, provider, array_agg(bucket), array_agg(n) from (
        select workspace_id, date_trunc('hour', completed_at, 'UTC') as hour, card_version_id, model, provider,
            floor(ln(latency_ms) / ln(1.02::double precision))::integer as bucket, count(*) as n
        from test_executions where latency_ms is not null group by 1, 2, 3, 4, 5, 6
    ) as counted group by 1, 2, 3, 4, 5;
insert into rollup_case_days
    select e.workspace_id, (e.completed_at at time zone 'UTC')::date, v.card_id, e.case_uid, {counts},
        coalesce(sum(e.latency_ms), 0), count(e.latency_ms), coalesce(sum(e.cost_usd), 0), count(e.cost_usd)
    from test_executions as e join card_versions as v on v.workspace_id = e.workspace_id and v.id = e.card_version_id
    group by 1, 2, 3, 4;
insert into rollup_cases
    select workspace_id, card_id, case_uid, run_id, position, sum(d.n), sum(d.passed), sum(d.failed), sum(d.errored),
        sum(d.unscored), sum(d.latency_ms_sum), sum(d.latency_n), sum(d.cost_usd), sum(d.priced)
    from (
        select distinct on (workspace_id, card_id) workspace_id, card_id, id as run_id
        from load_run order by workspace_id, card_id, created_at desc
    ) as latest
    join run_cases using (workspace_id, run_id) join rollup_case_days as d using (workspace_id, card_id, case_uid)
    group by 1, 2, 3, 4, 5
""".replace(
    "{counts}",
    "count(*), count(*) filter (where outcome = 'pass'), count(*) filter (where outcome = 'fail'),"
    " count(*) filter (where outcome = 'error'), count(*) filter (where outcome = 'unscored')",
)


def months(now: datetime) -> list[datetime]:
    """Return the beginnings of the twelve months before this one, and of this one."""
    last = now.year * 12 + now.month - 1
    return [datetime(n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in range(last - 12, last + 1)]


def load(owner: psycopg.Connection, workspaces: list[Any], rows: int) -> int:
    """Load about so many executions into workspaces that are there and empty; return how many."""
    begins = months(datetime.now(UTC))
    given = {
        "workspaces": workspaces, "places": len(workspaces), "cards": CARDS, "cases": CASES, "items": ITEMS,
        "models": list(MODELS), "runs": max(1, rows // ITEMS), "begin": begins[0], "end": begins[-1],
    }  # fmt: skip
    with owner.transaction():
        # Row security is forced on the owner too.
        _all(owner, "alter table {} no force row level security")
        owner.execute("set local maintenance_work_mem = '512MB'; set local max_parallel_maintenance_workers = 0")
        owner.execute("select setseed(0.42)")
        for statement in f"{_PLACES}{_RUNS}".split(";\n"):
            if statement.strip():
                owner.execute(statement, given)
        for month, after in pairwise(begins):
            _add(owner, given | {"month": month, "after": after})
        owner.execute("analyze test_executions")
        owner.execute(_SUMS)
        _all(owner, "alter table {} force row level security")
        owner.execute("drop table load_run; drop table place")
    # Index-only scans want to know which pages are visible to all; autovacuum would come by in its own time.
    _all(owner, "vacuum (analyze) {}")
    return given["runs"] * ITEMS


def _all(owner: psycopg.Connection, statement: LiteralString) -> None:
    for name in TABLES:
        owner.execute(psycopg.sql.SQL(statement).format(psycopg.sql.Identifier(name)))


def _add(owner: psycopg.Connection, given: dict[str, Any]) -> None:
    """Load a month into a table of its own, and attach it."""
    name = f"test_executions_y{given['month']:%Y}m{given['month']:%m}"
    part = psycopg.sql.Identifier(name)
    like = "create table {} (like test_executions including defaults including constraints including storage)"
    owner.execute(psycopg.sql.SQL(like).format(part))
    owner.execute(psycopg.sql.SQL(_MONTH).format(part=part), given)
    owner.execute("select pc.isolate(%s::regclass)", [name])
    attach = "alter table test_executions attach partition {} for values from ({}) to ({})"
    owner.execute(psycopg.sql.SQL(attach).format(part, given["month"], given["after"]))
