-- What holds after a run has ended, whatever happened while it went on. Each query returns what is wrong, as text, and
-- nothing when all is well. Every one runs in the workspace of the run, under row security; the last one in another.
--
-- :workspace, :run   The run.
-- :executions        Cases × models × repeats that were asked for.
-- :calls             What the provider counted, [{"ordinal": 0, "calls": 1}, …], outside of this database.
-- :most              Most calls of one attempt: 1 where the provider never failed.
-- :in_flight         Most calls that can have been in flight when a process died uncleanly, over all deaths.
-- :grace_s           How long after its end a lease may wait for somebody who sees to it.

-- 1 executions = cases × models × repeats
select format('%s executions of %s, and the run says %s', count(e.ordinal), :executions, r.total) as wrong
from runs as r
left join test_executions as e on e.workspace_id = r.workspace_id and e.run_id = r.id
where r.workspace_id = :workspace and r.id = :run
group by r.total
having count(e.ordinal) <> :executions or r.total <> :executions;

-- 2 all is at an end: the run, its tasks, its attempts
select format('run: %s', status) as wrong from runs
where workspace_id = :workspace and id = :run
    and (status not in ('completed', 'cancelled', 'failed') or finished_at is null)
union all
select format('task %s: %s', id, state) from tasks
where workspace_id = :workspace and run_id = :run and state not in ('done', 'failed', 'cancelled')
union all
select format('attempt %s of item %s: open', attempt, ordinal) from attempts
where workspace_id = :workspace and run_id = :run and state = 'open';

-- 3 each item has one result, one attempt that brought it, and one event that tells of it
with told as (
    select e.ordinal, count(*) as n
    from test_executions as e
    join run_events as v on v.workspace_id = e.workspace_id and v.run_id = e.run_id and v.seq = e.event_seq
    where e.workspace_id = :workspace and e.run_id = :run and v.kind = 'items'
    group by 1
), results as (
    select ordinal, count(*) as n from test_executions
    where workspace_id = :workspace and run_id = :run group by ordinal
), brought as (
    select ordinal, count(*) as n from attempts
    where workspace_id = :workspace and run_id = :run and state = 'recorded' group by ordinal
)
select format('item %s: %s results, %s attempts that brought one, told %s times', o, coalesce(r.n, 0),
    coalesce(b.n, 0), coalesce(t.n, 0)) as wrong
from generate_series(0, :executions - 1) as o
left join results as r on r.ordinal = o
left join brought as b on b.ordinal = o
left join told as t on t.ordinal = o
where (coalesce(r.n, 0), coalesce(b.n, 0), coalesce(t.n, 0)) <> (1, 1, 1);

-- 4 what the provider counted = what attempts brought, and between nothing and :most for each whose end is unknown
with counted as (
    select ordinal, calls from json_to_recordset(cast(:calls as json)) as c (ordinal integer, calls integer)
), brought as (
    select e.ordinal, coalesce(g.calls, 0) as least, coalesce(g.calls, :most) as most
    from test_executions as e
    left join generations as g on g.workspace_id = e.workspace_id and g.id = e.generation_id
    where e.workspace_id = :workspace and e.run_id = :run and not e.cached
), unclear as (
    select ordinal, count(*) filter (where state = 'late') as late, count(*) as n from attempts
    where workspace_id = :workspace and run_id = :run and state in ('unknown', 'late') group by ordinal
)
select format('item %s: %s calls, but %s to %s in the ledger', coalesce(b.ordinal, c.ordinal), coalesce(c.calls, 0),
    coalesce(b.least, 0) + coalesce(u.late, 0), coalesce(b.most, 0) + :most * coalesce(u.n, 0)) as wrong
from brought as b
full join counted as c on c.ordinal = b.ordinal
left join unclear as u on u.ordinal = coalesce(b.ordinal, c.ordinal)
where coalesce(c.calls, 0) not between coalesce(b.least, 0) + coalesce(u.late, 0)
    and coalesce(b.most, 0) + :most * coalesce(u.n, 0);

-- 5 surplus calls are no more than could be in flight when processes died
select format('%s surplus calls, but %s in flight at deaths', sum(c.calls - :most), :in_flight) as wrong
from json_to_recordset(cast(:calls as json)) as c (ordinal integer, calls integer)
where c.calls > :most
having sum(c.calls - :most) > :in_flight;

-- 6 no surplus call without an attempt that says so
select format('item %s: %s calls, and no attempt that is late or unknown', c.ordinal, c.calls) as wrong
from json_to_recordset(cast(:calls as json)) as c (ordinal integer, calls integer)
where c.calls > :most and not exists (
    select from attempts as a
    where a.workspace_id = :workspace and a.run_id = :run and a.ordinal = c.ordinal and a.state in ('late', 'unknown')
);

-- 7 costs and counts are the same in results, run and sums by hour, user and case; answers and unknown calls were spent
with results as (
    select count(*) as n, coalesce(sum(cost_usd), 0) as cost from test_executions
    where workspace_id = :workspace and run_id = :run
), answers as (
    select coalesce(sum(cost_usd), 0) as cost from generations where workspace_id = :workspace
), sums as (
    select coalesce(sum(n), 0) as n, coalesce(sum(cost_usd), 0) as cost from rollup_hours where workspace_id = :workspace
), people as (
    select coalesce(sum(n), 0) as n, coalesce(sum(cost_usd), 0) as cost from rollup_users where workspace_id = :workspace
), cases as (
    select coalesce(sum(n), 0) as n, coalesce(sum(cost_usd), 0) as cost from rollup_cases where workspace_id = :workspace
), days as (
    select coalesce(sum(n), 0) as n, coalesce(sum(cost_usd), 0) as cost from rollup_case_days
    where workspace_id = :workspace
), spent as (
    select coalesce(sum(usd), 0) as cost from spending where workspace_id = :workspace
), estimates as (
    select coalesce(sum(estimate_usd), 0) as cost from attempts where workspace_id = :workspace
)
select format('results %s, run %s, by hour %s, by user %s, by case %s, by day %s, answers %s, spent %s, of it estimates %s',
    results, (r.recorded, r.cost_usd), sums, people, cases, days, answers.cost, spent.cost, estimates.cost) as wrong
from runs as r, results, answers, sums, people, cases, days, spent, estimates
where r.workspace_id = :workspace and r.id = :run and (
    (r.recorded, r.cost_usd) <> (results.n, results.cost) or (sums.n, sums.cost) <> (results.n, results.cost)
    or (people.n, people.cost) <> (results.n, results.cost)
    or (cases.n, cases.cost) <> (results.n, results.cost) or (days.n, days.cost) <> (results.n, results.cost)
    or answers.cost < results.cost or spent.cost < answers.cost + estimates.cost
);

-- 8 no lease is left long after its end
select format('task %s: leased until %s', id, lease_until) as wrong from tasks
where workspace_id = :workspace and state = 'leased'
    and lease_until < clock_timestamp() - make_interval(secs => :grace_s);

-- 9 the audit trail is whole: numbers without a gap, each entry as it was written, each with the hash of the one before
select format('entry %s of the audit trail', seq) as wrong from (
    select seq, row_number() over w as place, prev_hash, lag(hash) over w as before, hash,
        pc.audit_hash(audit_log) as made
    from audit_log where workspace_id = :workspace
    window w as (order by seq)
) as a
where seq <> place or hash is distinct from made or (place > 1 and prev_hash is distinct from before);

-- 10 nothing of it is seen from another workspace
select format('%s of table %s', count(*), name) as wrong from (
    select 'runs' as name, workspace_id from runs
    union all select 'run_cases', workspace_id from run_cases
    union all select 'run_events', workspace_id from run_events
    union all select 'tasks', workspace_id from tasks
    union all select 'attempts', workspace_id from attempts
    union all select 'generations', workspace_id from generations
    union all select 'test_executions', workspace_id from test_executions
    union all select 'rollup_hours', workspace_id from rollup_hours
    union all select 'rollup_cases', workspace_id from rollup_cases
    union all select 'rollup_case_days', workspace_id from rollup_case_days
    union all select 'rollup_histograms', workspace_id from rollup_histograms
    union all select 'rollup_users', workspace_id from rollup_users
    union all select 'spending', workspace_id from spending
    union all select 'outbox', workspace_id from outbox
    union all select 'audit_log', workspace_id from audit_log
) as seen
where workspace_id = :workspace
group by name;
