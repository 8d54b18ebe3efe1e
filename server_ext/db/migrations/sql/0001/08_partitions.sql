-- Fact tables are cut by month, in UTC. What fits no month goes to the default partition: nothing is ever refused.
-- Partitions carry their own wall and no grant: the application reaches them through their parent only.

create table test_executions_default partition of test_executions default;
create table analytics_events_default partition of analytics_events default;
create table performance_metrics_default partition of performance_metrics default;

select pc.isolate('test_executions_default');
select pc.isolate('analytics_events_default');
select pc.isolate('performance_metrics_default');

-- The owner moves rows out of the default partition when their month gets a partition of its own.
create policy across_workspaces on test_executions_default to pc_owner using (true) with check (true);
create policy across_workspaces on analytics_events_default to pc_owner using (true) with check (true);
create policy across_workspaces on performance_metrics_default to pc_owner using (true) with check (true);

-- Attaching a finished table locks out writers of the default partition only, not of the whole table.
create function pc.add_partition(parent text, by_column text, part text, month timestamptz) returns void
language plpgsql
set search_path = pg_catalog, public, pc, pg_temp
set timezone = 'UTC'
as $$
declare
    after timestamptz := month + interval '1 month';
begin
    execute format('lock table public.%I in access exclusive mode', parent || '_default');
    execute format('create table public.%I (like public.%I including all)', part, parent);
    execute format(
        'with moved as (delete from public.%I where %I >= %L and %I < %L returning *) insert into public.%I select * from moved',
        parent || '_default', by_column, month, by_column, after, part
    );
    perform pc.isolate(format('public.%I', part)::regclass);
    execute format('alter table public.%I attach partition public.%I for values from (%L) to (%L)', parent, part, month, after);
end $$;
revoke execute on function pc.add_partition(text, text, text, timestamptz) from public;

-- Make the partitions of this month and the next ones; return the names of those that are new.
create function pc.ensure_partitions(months_ahead integer) returns setof text
language plpgsql security definer
set search_path = pg_catalog, public, pc, pg_temp
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
    fact record;
    month timestamptz;
    part text;
begin
    if months_ahead is null or months_ahead not between 0 and 24 then
        raise invalid_parameter_value using message = 'months_ahead must lie between 0 and 24';
    end if;
    perform pg_advisory_xact_lock(hashtextextended('pc.ensure_partitions', 0));
    for fact in
        select * from (values
            ('test_executions', 'run_created_at'),
            ('analytics_events', 'timestamp'),
            ('performance_metrics', 'timestamp')
        ) as facts (parent, by_column)
    loop
        for ahead in 0 .. months_ahead loop
            month := date_trunc('month', now()) + make_interval(months => ahead);
            part := fact.parent || to_char(month, '"_y"YYYY"m"MM');
            continue when to_regclass(format('public.%I', part)) is not null;
            perform pc.add_partition(fact.parent, fact.by_column, part, month);
            return next part;
        end loop;
    end loop;
end $$;
revoke execute on function pc.ensure_partitions(integer) from public;
grant execute on function pc.ensure_partitions(integer) to pc_app;

select pc.ensure_partitions(3);
