-- Whose work is next, and who there is to do it.

alter table tasks
    -- That of its run.
    add column priority text not null default 'medium' check (priority in ('high', 'medium', 'low')),
    -- When it was last given to a worker, and until when that one has time to lease it.
    add column offered_at timestamptz,
    add column offered_until timestamptz;
-- In place of the plan's, once somebody has changed it.
alter table runs add column priority text check (priority in ('high', 'medium', 'low'));
drop index tasks_run_idx;
create index tasks_run_idx on tasks (workspace_id, run_id, offered_at);
create index tasks_offered_idx on tasks (workspace_id, offered_at);

-- The task that is next: of the highest priority, then of the workspace with the least work in flight (of several, of
-- the one that was served longest ago), in it of the run of which the same is true, then the oldest. So that nobody
-- waits for ever for those of a higher priority, a workspace that has waited for a minute goes first.
-- It is offered to nobody else for some seconds. Whoever wants one of a certain run only gets none, and nothing is
-- offered, when it is another's turn.
create function pc.next_task(of_run uuid default null) returns table (workspace_id uuid, id uuid)
language plpgsql volatile security definer
set search_path = pg_catalog, public, pc, pg_temp
as $$
#variable_conflict use_column
declare
    place record;
    moment timestamptz;
begin
    -- One after the other, so that each sees what the one before was given; this takes milliseconds.
    perform pg_advisory_xact_lock(hashtextextended('pc.next_task', 0));
    moment := clock_timestamp();
    for place in
        with live as (
            select t.workspace_id, t.run_id, t.priority, t.created_at,
                coalesce(t.offered_until >= moment, false) or (t.state = 'leased' and t.lease_until >= moment) as busy,
                coalesce(t.not_before <= moment, true) as due
            from public.tasks as t where t.state in ('queued', 'leased')
        ),
        lines as (
            select l.workspace_id, l.run_id, l.priority, count(*) filter (where l.busy) as busy,
                min(l.created_at) filter (where l.due and not l.busy) as since
            from live as l group by l.workspace_id, l.run_id, l.priority
        ),
        tenants as (
            select l.workspace_id, sum(l.busy) as busy, served.at as served_at,
                least(min(l.since), moment) < moment - interval '1 minute'
                    and coalesce(served.at < moment - interval '1 minute', true) as starving
            from lines as l
            left join lateral (
                select max(o.offered_at) as at from public.tasks as o where o.workspace_id = l.workspace_id
            ) as served on true
            group by l.workspace_id, served.at
        )
        select l.workspace_id, l.run_id, l.priority
        from lines as l
        join tenants as w on w.workspace_id = l.workspace_id
        left join lateral (
            select max(o.offered_at) as at from public.tasks as o
            where o.workspace_id = l.workspace_id and o.run_id = l.run_id
        ) as served on true
        where l.since is not null
        order by
            w.starving desc,
            case when w.starving then w.served_at end nulls first,
            case l.priority when 'high' then 0 when 'medium' then 1 else 2 end,
            w.busy, w.served_at nulls first,
            l.busy, served.at nulls first, l.since, l.workspace_id, l.run_id
    loop
        if of_run is not null and place.run_id is distinct from of_run then
            return;
        end if;
        return query
            with next as materialized (
                select t.workspace_id, t.id from public.tasks as t
                where t.workspace_id = place.workspace_id and t.run_id is not distinct from place.run_id
                    and t.priority = place.priority and t.state in ('queued', 'leased')
                    and coalesce(t.not_before <= moment, true)
                    and not coalesce(t.offered_until >= moment, false)
                    and not (t.state = 'leased' and t.lease_until >= moment)
                order by t.created_at, t.first_ordinal, t.id limit 1
                for update skip locked
            )
            update public.tasks as t set offered_at = moment, offered_until = moment + interval '5 seconds' from next
                where t.workspace_id = next.workspace_id and t.id = next.id
                returning t.workspace_id, t.id;
        if found then
            return;
        end if;
    end loop;
end $$;

revoke execute on function pc.next_task(uuid) from public;
grant execute on function pc.next_task(uuid) to pc_app;

-- Worker processes, and when they were last heard of. Reached through functions only: a worker is of no workspace.
create table workers (
    name text primary key check (char_length(name) between 1 and 1000),
    host text not null check (char_length(host) <= 1000),
    pid integer not null,
    version text not null check (char_length(version) <= 100),
    state text not null check (state in ('idle', 'busy', 'draining')),
    concurrency integer,
    started_at timestamptz not null default clock_timestamp(),
    heartbeat_at timestamptz not null default clock_timestamp()
);
alter table workers enable row level security;
alter table workers force row level security;
create policy across_workspaces on workers to pc_owner using (true) with check (true);

-- A sign of life; workers that have given none for ten minutes are forgotten.
create function pc.beat_worker(
    worker text, host text, pid integer, version text, state text, concurrency integer
) returns void
language sql volatile security definer
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    insert into public.workers as w (name, host, pid, version, state, concurrency)
        values (worker, host, pid, version, state, concurrency)
        on conflict (name) do update set state = excluded.state, heartbeat_at = clock_timestamp();
    delete from public.workers as w where w.heartbeat_at < clock_timestamp() - interval '10 minutes';
end;

create function pc.forget_worker(worker text) returns void
language sql volatile security definer
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    delete from public.workers as w where w.name = worker;
end;

-- The workers, with how many tasks each has in flight: of all workspaces, and of the one that the transaction names.
create function pc.known_workers() returns table (
    name text, host text, pid integer, version text, state text, concurrency integer, started_at timestamptz,
    heartbeat_at timestamptz, silent_s double precision, tasks bigint, own_tasks bigint
)
language sql stable security definer
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    select w.name, w.host, w.pid, w.version, w.state, w.concurrency, w.started_at, w.heartbeat_at,
        extract(epoch from clock_timestamp() - w.heartbeat_at)::double precision,
        count(t.id), count(t.id) filter (
            where t.workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid
        )
    from public.workers as w
    left join public.tasks as t on t.worker = w.name and t.state = 'leased' and t.lease_until >= clock_timestamp()
    group by w.name
    order by w.host, w.started_at, w.name;
end;

revoke execute on function pc.beat_worker(text, text, integer, text, text, integer), pc.forget_worker(text),
    pc.known_workers() from public;
grant execute on function pc.beat_worker(text, text, integer, text, text, integer), pc.forget_worker(text),
    pc.known_workers() to pc_app;

create index tasks_held_idx on tasks (workspace_id) where state = 'held';
create index tasks_finished_idx on tasks (workspace_id, finished_at);

-- What waits, is in flight, is held, and has ended in the last five minutes, by workspace and priority.
create function pc.queue_lines() returns table (
    workspace_id uuid, priority text, waiting bigint, waiting_items bigint, oldest_s double precision,
    in_flight bigint, held bigint, ended bigint, ended_items bigint
)
language sql stable
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    with found as (
        select t.workspace_id, t.priority, t.created_at,
            case when t.state = 'leased' and t.lease_until >= clock_timestamp() then 'in flight' else 'waiting' end as place,
            coalesce(cardinality(t.ordinals), t.last_ordinal - t.first_ordinal + 1, 0) as items
        from public.tasks as t where t.state in ('queued', 'leased')
        union all
        select t.workspace_id, t.priority, t.created_at, 'held', 0 from public.tasks as t where t.state = 'held'
        union all
        select t.workspace_id, t.priority, t.created_at, 'ended',
            coalesce(cardinality(t.ordinals), t.last_ordinal - t.first_ordinal + 1, 0)
        from public.tasks as t
        where t.state in ('done', 'failed') and t.finished_at > clock_timestamp() - interval '5 minutes'
    )
    select f.workspace_id, f.priority,
        count(*) filter (where f.place = 'waiting'),
        coalesce(sum(f.items) filter (where f.place = 'waiting'), 0),
        extract(epoch from clock_timestamp() - min(f.created_at) filter (where f.place = 'waiting'))::double precision,
        count(*) filter (where f.place = 'in flight'),
        count(*) filter (where f.place = 'held'),
        count(*) filter (where f.place = 'ended'),
        coalesce(sum(f.items) filter (where f.place = 'ended'), 0)
    from found as f group by f.workspace_id, f.priority
    order by f.workspace_id, case f.priority when 'high' then 0 when 'medium' then 1 else 2 end;
end;

create function pc.all_queue_lines() returns table (
    workspace_id uuid, priority text, waiting bigint, waiting_items bigint, oldest_s double precision,
    in_flight bigint, held bigint, ended bigint, ended_items bigint
)
language sql stable security definer
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    select * from pc.queue_lines();
end;

revoke execute on function pc.queue_lines(), pc.all_queue_lines() from public;
grant execute on function pc.queue_lines(), pc.all_queue_lines() to pc_app;
