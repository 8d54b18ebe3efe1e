-- Money: rules about what may be spent, what is set aside for runs, and what runs hold for calls in flight.

create table spend_rules (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    scope text not null check (scope in ('workspace', 'user', 'model')),
    -- The id of a user, the reference of a model, or nothing for the whole workspace.
    subject text not null default '' check (char_length(subject) <= 2500),
    span text not null check (span in ('hour', 'day', 'week', 'month')),
    hard boolean not null,
    limit_usd numeric not null check (limit_usd >= 0),
    created_by uuid references users (id),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (workspace_id, id),
    unique (workspace_id, scope, subject, span, hard),
    check ((scope = 'workspace') = (subject = ''))
);
select pc.isolate('spend_rules');
grant select, insert, update, delete on spend_rules to pc_app;

-- What was spent, in steps of five minutes; the nil UUID stands for nobody. Older than any span it goes.
create table spending (
    workspace_id uuid not null references workspaces (id),
    at timestamptz not null,
    user_id uuid not null,
    model text not null,
    usd numeric not null,
    primary key (workspace_id, at, user_id, model)
);
select pc.isolate('spending');
grant select, insert, update, delete on spending to pc_app;

-- What is set aside for a run that has not ended: one row a model, and one without a model for the run as a whole,
-- which a budget may make less than their sum.
create table run_reservations (
    workspace_id uuid not null references workspaces (id),
    run_id uuid not null,
    model text not null,
    user_id uuid not null,
    -- The upper estimate: of all items, and of the dearest one.
    upper_usd numeric not null check (upper_usd >= 0),
    most_usd numeric not null check (most_usd >= 0),
    reserved_usd numeric not null check (reserved_usd >= 0),
    spent_usd numeric not null default 0,
    ended_at timestamptz,
    primary key (workspace_id, run_id, model),
    foreign key (workspace_id, run_id) references runs (workspace_id, id)
);
create index run_reservations_live_idx on run_reservations (workspace_id, model) where ended_at is null;
select pc.isolate('run_reservations');
grant select, insert, update on run_reservations to pc_app;

alter table runs
    -- What hard rules let it spend; its own budget_usd may be less.
    add column ceiling_usd numeric check (ceiling_usd >= 0),
    -- What its calls have cost or may have cost, and what its workers hold for calls in flight.
    add column charged_usd numeric not null default 0,
    add column held_usd numeric not null default 0,
    -- In place of the plan's, once somebody has changed it.
    add column concurrency integer check (concurrency between 1 and 512),
    add column on_unknown text not null default 'retry' check (on_unknown in ('hold', 'retry'));

-- What a worker holds of its run's budget under one lease.
create table run_purses (
    workspace_id uuid not null references workspaces (id),
    run_id uuid not null,
    lease_token uuid not null,
    task_id uuid not null,
    granted_usd numeric not null default 0,
    spent_usd numeric not null default 0,
    -- What its worker says that it has spent: more than its results tell, for calls without a clear end cost, too.
    told_usd numeric not null default 0,
    -- A call may cost more than was set aside for it, and then nothing of it is held any more.
    held_usd numeric generated always as (greatest(granted_usd - spent_usd, 0)) stored,
    closed_at timestamptz,
    primary key (workspace_id, run_id, lease_token),
    foreign key (workspace_id, run_id) references runs (workspace_id, id),
    foreign key (workspace_id, task_id) references tasks (workspace_id, id)
);
create index run_purses_open_idx on run_purses (workspace_id, task_id) where closed_at is null;
select pc.isolate('run_purses');
grant select, insert, update on run_purses to pc_app;

-- Somebody said that an item may be called again, whatever became of its earlier calls.
alter table attempts
    add column cleared_at timestamptz,
    -- What was written down as spent, at closed_at, when nobody knew what became of the call. Null again once it is known.
    add column estimate_usd numeric;
create index attempts_unknown_idx on attempts (workspace_id, task_id) where state = 'unknown' and cleared_at is null;

-- What the rules say that concern a launch by somebody with some models, or all rules when these are null. Spending is
-- counted from the beginning of the step of five minutes in which a span began: up to so much longer, never shorter.
create function pc.spend_state(workspace uuid, person uuid, models text[], but_run uuid)
returns table (
    id uuid, scope text, subject text, span text, hard boolean, limit_usd numeric, spent_usd numeric,
    reserved_usd numeric
)
language sql stable
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    select r.id, r.scope, r.subject, r.span, r.hard, r.limit_usd,
        (
            select coalesce(sum(s.usd), 0) from public.spending as s
            where s.workspace_id = r.workspace_id
                and s.at > case r.span
                    when 'hour' then clock_timestamp() - interval '65 minutes'
                    when 'day' then clock_timestamp() - interval '24 hours 5 minutes'
                    when 'week' then clock_timestamp() - interval '168 hours 5 minutes'
                    else date_trunc('month', clock_timestamp(), 'UTC') - interval '1 second' end
                and case r.scope
                    when 'user' then s.user_id::text = r.subject
                    when 'model' then s.model = r.subject
                    else true end
        ),
        (
            select coalesce(sum(greatest(v.reserved_usd - v.spent_usd, 0)), 0) from public.run_reservations as v
            where v.workspace_id = r.workspace_id and v.ended_at is null
                and v.run_id is distinct from but_run
                and v.model = case r.scope when 'model' then r.subject else '' end
                and (r.scope <> 'user' or v.user_id::text = r.subject)
        )
    from public.spend_rules as r
    where r.workspace_id = workspace and case
        when r.scope = 'user' then person is null or r.subject = person::text
        when r.scope = 'model' then models is null or r.subject = any (models)
        else true end
    order by r.scope, r.subject, r.span, r.hard, r.id;
end;

-- Set money aside for a run, and tell for each rule that concerns it how things stood before. Whoever is refused rolls
-- back. Launches that a rule concerns take turns on it, so that each sees what the one before has set aside.
create function pc.reserve_spending(workspace uuid, run uuid, person uuid, shares jsonb)
returns table (
    id uuid, scope text, subject text, span text, hard boolean, limit_usd numeric, spent_usd numeric,
    reserved_usd numeric, wanted_usd numeric
)
language plpgsql volatile
set search_path = pg_catalog, public, pc, pg_temp
as $$
declare
    models text[] := array(select s ->> 'model' from jsonb_array_elements(shares) as s);
begin
    perform from public.spend_rules as r
        where r.workspace_id = workspace and (
            r.scope = 'workspace' or (r.scope = 'user' and r.subject = person::text)
            or (r.scope = 'model' and r.subject = any (models))
        )
        order by r.id for no key update;
    insert into public.run_reservations as v
            (workspace_id, run_id, model, user_id, upper_usd, most_usd, reserved_usd)
        select workspace, run, s ->> 'model', coalesce(person, '00000000-0000-0000-0000-000000000000'),
            (s ->> 'upper_usd')::numeric, (s ->> 'most_usd')::numeric, (s ->> 'reserved_usd')::numeric
        from jsonb_array_elements(shares) as s
        on conflict (workspace_id, run_id, model) do update set reserved_usd = excluded.reserved_usd;
    delete from public.spending as o where o.workspace_id = workspace and o.at < now() - interval '40 days';
    return query
        select t.id, t.scope, t.subject, t.span, t.hard, t.limit_usd, t.spent_usd, t.reserved_usd,
            coalesce(greatest(v.reserved_usd - v.spent_usd, 0), 0)
        from pc.spend_state(workspace, person, models, run) as t
        left join public.run_reservations as v on v.workspace_id = workspace and v.run_id = run
            and v.model = case t.scope when 'model' then t.subject else '' end;
end $$;

-- Write down what was spent, by model, now or at an earlier moment; the caller has locked the run. What was written down
-- for a call too much is taken back where it was written, for a span may have left that behind, or not yet.
create function pc.spend(
    workspace uuid, run uuid, person uuid, models text[], amounts numeric[], moments timestamptz[]
)
returns void
language sql volatile
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    update public.run_reservations as v set spent_usd = v.spent_usd + s.usd
        from (
            select o.model, sum(o.usd) as usd from unnest(models, amounts) as o (model, usd) group by o.model
            union all select '', sum(o.usd) from unnest(amounts) as o (usd)
        ) as s
        where v.workspace_id = workspace and v.run_id = run and v.model = s.model;
    -- In one order, so that two who write the same rows wait for each other and no more.
    insert into public.spending as t (workspace_id, at, user_id, model, usd)
        select workspace, date_bin('5 minutes', coalesce(s.moment, statement_timestamp()), 'epoch') as step,
            coalesce(person, '00000000-0000-0000-0000-000000000000'), s.model, sum(s.usd)
        from unnest(models, amounts, moments) as s (model, usd, moment) group by step, s.model order by step, s.model
        on conflict (workspace_id, at, user_id, model) do update set usd = t.usd + excluded.usd;
end;

-- Give a worker a part of its run's budget: what it wants at least, up to a portion, and nothing when less is left.
-- Of a small rest nobody takes more than a quarter beyond need, so that others find something, too.
-- granted is null when the lease is somebody else's by now.
create function pc.grant_money(
    workspace uuid, run uuid, token uuid, task uuid, wanted numeric, portion numeric, told numeric
)
returns table (granted numeric, others_usd numeric)
language plpgsql volatile
set search_path = pg_catalog, public, pc, pg_temp
as $$
declare
    remaining numeric;
    taken numeric := 0;
    change numeric;
begin
    select least(r.budget_usd, r.ceiling_usd) - r.charged_usd - r.held_usd into remaining
        from public.runs as r where r.workspace_id = workspace and r.id = run for no key update;
    -- A worker that has lost its lease may still have been on its way here.
    perform from public.tasks as t
        where t.workspace_id = workspace and t.id = task and t.state = 'leased' and t.lease_token = token;
    if not found then
        return next;
        return;
    end if;
    if remaining is null then
        taken := greatest(wanted, portion);
    elsif remaining >= wanted then
        taken := greatest(wanted, trunc(least(portion, remaining / 4), 12));
    end if;
    select coalesce(sum(greatest(p.granted_usd - greatest(p.spent_usd, p.told_usd), 0)), 0) into others_usd
        from public.run_purses as p
        where p.workspace_id = workspace and p.run_id = run and p.lease_token <> token and p.closed_at is null;
    insert into public.run_purses as p (workspace_id, run_id, lease_token, task_id, granted_usd, told_usd)
        values (workspace, run, token, task, taken, told)
        on conflict (workspace_id, run_id, lease_token)
            do update set granted_usd = p.granted_usd + taken, told_usd = told where p.closed_at is null
        returning new.held_usd - coalesce(old.held_usd, 0) into change;
    if found then
        granted := taken;
        update public.runs as r set held_usd = r.held_usd + change where r.workspace_id = workspace and r.id = run;
    end if;
    return next;
end $$;

-- Take back what a worker holds and does not need.
create function pc.return_money(workspace uuid, run uuid, token uuid, amount numeric) returns void
language sql volatile
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    select from public.runs as r where r.workspace_id = workspace and r.id = run for no key update;
    with purse as (
        update public.run_purses as p set granted_usd = p.granted_usd - amount
        where p.workspace_id = workspace and p.run_id = run and p.lease_token = token and p.closed_at is null
        returning new.held_usd - old.held_usd as change
    )
    update public.runs as r set held_usd = r.held_usd + purse.change
        from purse where r.workspace_id = workspace and r.id = run;
end;

-- Charge a run for results; the caller has locked it. What comes from a purse that is closed was charged then.
create function pc.charge(workspace uuid, run uuid, token uuid, amount numeric) returns void
language sql volatile
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    with purse as (
        update public.run_purses as p set spent_usd = p.spent_usd + amount
        where p.workspace_id = workspace and p.run_id = run and p.lease_token = token and p.closed_at is null
        returning new.held_usd - old.held_usd as change
    ), closed as (
        select from public.run_purses as p
        where p.workspace_id = workspace and p.run_id = run and p.lease_token = token and p.closed_at is not null
    )
    update public.runs as r
        set charged_usd = r.charged_usd + case when exists (select from closed) then 0 else amount end,
            held_usd = r.held_usd + coalesce((select purse.change from purse), 0)
        where r.workspace_id = workspace and r.id = run;
end;

-- Close the purses of a task. total is what its worker says that it has spent; null when nobody can say, and then all
-- that it held may have been spent.
create function pc.close_purses(workspace uuid, run uuid, task uuid, total numeric) returns void
language sql volatile
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    with purse as (
        update public.run_purses as p
        set spent_usd = greatest(p.spent_usd, coalesce(total, p.granted_usd)),
            granted_usd = greatest(p.spent_usd, coalesce(total, p.granted_usd)),
            closed_at = clock_timestamp()
        where p.workspace_id = workspace and p.task_id = task and p.closed_at is null
        returning new.spent_usd - old.spent_usd as charged, old.held_usd as held
    ), whole as (
        select sum(purse.charged) as charged, sum(purse.held) as held from purse
    )
    update public.runs as r set charged_usd = r.charged_usd + whole.charged, held_usd = r.held_usd - whole.held
        from whole where r.workspace_id = workspace and r.id = run and whole.held is not null;
end;

revoke execute on function pc.spend_state(uuid, uuid, text[], uuid),
    pc.reserve_spending(uuid, uuid, uuid, jsonb), pc.spend(uuid, uuid, uuid, text[], numeric[], timestamptz[]),
    pc.grant_money(uuid, uuid, uuid, uuid, numeric, numeric, numeric), pc.return_money(uuid, uuid, uuid, numeric),
    pc.charge(uuid, uuid, uuid, numeric), pc.close_purses(uuid, uuid, uuid, numeric) from public;
grant execute on function pc.spend_state(uuid, uuid, text[], uuid),
    pc.reserve_spending(uuid, uuid, uuid, jsonb), pc.spend(uuid, uuid, uuid, text[], numeric[], timestamptz[]),
    pc.grant_money(uuid, uuid, uuid, uuid, numeric, numeric, numeric), pc.return_money(uuid, uuid, uuid, numeric),
    pc.charge(uuid, uuid, uuid, numeric), pc.close_purses(uuid, uuid, uuid, numeric) to pc_app;
