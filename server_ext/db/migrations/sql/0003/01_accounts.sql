-- Accounts with a password, their sessions, and how often somebody has tried to log in.

alter table users
    add column disabled_at timestamptz,
    add column password_changed_at timestamptz;

-- A session is what access tokens belong to and end with: of a login, or of a token that was got in exchange.
create table sessions (
    id uuid primary key default uuidv7(),
    user_id uuid not null references users (id),
    kind text not null check (kind in ('human', 'kernel', 'job', 'service')),
    -- The session from which it was got, and with which it ends.
    parent uuid references sessions (id) on delete cascade,
    -- The only workspace that it opens, and the API token of that workspace from which it was got.
    pinned_workspace uuid,
    api_token uuid,
    scopes jsonb check (jsonb_typeof(scopes) = 'array'),
    user_agent text not null default '' check (char_length(user_agent) <= 200),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    last_used_at timestamptz not null default now(),
    revoked_at timestamptz,
    revoked_reason text check (char_length(revoked_reason) <= 50),
    -- Hashes of the refresh token that counts, and of the one that it came after: with which key, and when.
    refresh_hash bytea check (length(refresh_hash) = 32),
    previous_hash bytea check (length(previous_hash) = 32),
    key_id text check (char_length(key_id) <= 100),
    rotated_at timestamptz,
    check (api_token is null or pinned_workspace is not null)
);
create index sessions_user_idx on sessions (user_id, id);
create index sessions_parent_idx on sessions (parent) where parent is not null;

alter table sessions enable row level security;
alter table sessions force row level security;
create policy own_sessions on sessions to pc_app
    using (user_id = (select nullif(current_setting('app.user_id', true), '')::uuid))
    with check (user_id = (select nullif(current_setting('app.user_id', true), '')::uuid));
grant select, insert, update, delete on sessions to pc_app;

-- Guesses at passwords, by account and by network. It is keyed by a keyed hash, so that it says nothing about who they
-- are; nobody is known yet, so that the application reaches it through the functions below only.
create table login_attempts (
    kind text not null check (kind in ('account', 'network')),
    key_hash bytea not null check (length(key_hash) = 32),
    attempts integer not null,
    last_at timestamptz not null,
    next_at timestamptz not null,
    primary key (kind, key_hash)
);
create index login_attempts_age_idx on login_attempts (last_at);
alter table login_attempts enable row level security;
alter table login_attempts force row level security;
create policy across_workspaces on login_attempts to pc_owner using (true) with check (true);

-- Count an attempt and return 0; or return the seconds after which one is welcome, and count nothing.
--
-- An account has five attempts at once, then one after 30 s, 60 s, 120 s and so on up to 15 minutes: 9 in the first
-- quarter of an hour, fewer in any later one. It starts anew after a day without an attempt. A network has 30, then one
-- after 1 s, 2 s, 4 s up to a minute, and starts anew after an hour.
create function pc.admit_login(account bytea, network bytea) returns double precision
language plpgsql security definer
set search_path = pg_catalog, public, pc, pg_temp
as $$
declare
    this_moment timestamptz;
    wait double precision;
begin
    -- Rows are made or locked in one order, whoever comes: of two attempts one waits for the other, never both. What is
    -- there already is written as it was, so that it cannot vanish before it is counted.
    insert into public.login_attempts as a
        select one.kind, one.hash, 0, clock_timestamp(), clock_timestamp()
        from (values ('account', account), ('network', network)) as one (kind, hash)
        where one.hash is not null order by one.kind
        on conflict (kind, key_hash) do update set attempts = a.attempts;
    this_moment := clock_timestamp();
    select coalesce(max(extract(epoch from a.next_at - this_moment)), 0) into wait from public.login_attempts as a
        where (a.kind = 'account' and a.key_hash = account) or (a.kind = 'network' and a.key_hash = network);
    if wait > 0 then
        return wait;
    end if;
    update public.login_attempts as a
        set last_at = this_moment, attempts = 1 + case
            when a.last_at > this_moment - case a.kind when 'account' then interval '1 day' else interval '1 hour' end
            then a.attempts else 0 end
        where (a.kind = 'account' and a.key_hash = account) or (a.kind = 'network' and a.key_hash = network);
    update public.login_attempts as a
        set next_at = this_moment + make_interval(secs => case
            when a.kind = 'account' and a.attempts >= 5 then least(900, 30 * 2 ^ least(a.attempts - 5, 20))
            when a.kind = 'network' and a.attempts >= 30 then least(60, 2 ^ least(a.attempts - 30, 20))
            else 0 end)
        where (a.kind = 'account' and a.key_hash = account) or (a.kind = 'network' and a.key_hash = network);
    -- What no longer counts goes, a few at a time.
    delete from public.login_attempts as a using (
        select o.kind, o.key_hash from public.login_attempts as o
        where o.last_at < this_moment - interval '1 day' order by o.last_at limit 20 for update skip locked
    ) as old where a.kind = old.kind and a.key_hash = old.key_hash;
    return 0;
end $$;

-- Take note that an attempt was good: the account starts anew, and the network has one attempt less.
create function pc.forgive_login(account bytea, network bytea) returns void
language sql volatile security definer
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    delete from public.login_attempts as a where a.kind = 'account' and a.key_hash = account;
    update public.login_attempts as a set attempts = greatest(a.attempts - 1, 0)
        where a.kind = 'network' and a.key_hash = network;
end;

revoke execute on function pc.admit_login(bytea, bytea), pc.forgive_login(bytea, bytea) from public;
grant execute on function pc.admit_login(bytea, bytea), pc.forgive_login(bytea, bytea) to pc_app;
