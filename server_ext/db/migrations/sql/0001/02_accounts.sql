-- People and workspaces.

create table workspaces (
    id uuid primary key default uuidv7(),
    name text not null check (char_length(name) between 1 and 255),
    -- Not unique: a unique slug would tell one tenant what another is called.
    slug text not null check (char_length(slug) between 1 and 100),
    plan_type text not null default 'free' check (char_length(plan_type) <= 50),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table users (
    id uuid primary key default uuidv7(),
    display_name text not null check (char_length(display_name) <= 255),
    email text check (char_length(email) <= 255),
    password_hash text check (char_length(password_hash) <= 255),
    token_version integer not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table user_identities (
    provider text not null check (char_length(provider) between 1 and 100),
    subject text not null check (char_length(subject) between 1 and 255),
    user_id uuid not null references users (id),
    created_at timestamptz not null default now(),
    primary key (provider, subject)
);
create index user_identities_user_id_idx on user_identities (user_id);

create table memberships (
    workspace_id uuid not null references workspaces (id),
    user_id uuid not null references users (id),
    role text not null check (role in ('owner', 'admin', 'member', 'viewer')),
    source text not null default 'local' check (char_length(source) <= 50),
    created_at timestamptz not null default now(),
    primary key (workspace_id, user_id)
);
-- "My workspaces" is asked by user, before any workspace is chosen.
create index memberships_user_id_idx on memberships (user_id);

select pc.isolate('memberships');
create policy own_memberships on memberships for select to pc_app
    using (user_id = (select nullif(current_setting('app.user_id', true), '')::uuid));

alter table workspaces enable row level security;
alter table workspaces force row level security;
create policy workspace on workspaces to pc_app
    using (id = (select nullif(current_setting('app.workspace_id', true), '')::uuid))
    with check (id = (select nullif(current_setting('app.workspace_id', true), '')::uuid));
create policy own_workspaces on workspaces for select to pc_app
    using (exists (
        select from memberships
        where memberships.workspace_id = workspaces.id
            and memberships.user_id = (select nullif(current_setting('app.user_id', true), '')::uuid)
    ));

alter table users enable row level security;
alter table users force row level security;
create policy own_user on users to pc_app
    using (id = (select nullif(current_setting('app.user_id', true), '')::uuid))
    with check (id = (select nullif(current_setting('app.user_id', true), '')::uuid));
create policy colleagues on users for select to pc_app
    using (exists (
        select from memberships
        where memberships.workspace_id = (select nullif(current_setting('app.workspace_id', true), '')::uuid)
            and memberships.user_id = users.id
    ));

alter table user_identities enable row level security;
alter table user_identities force row level security;
create policy own_identities on user_identities to pc_app
    using (user_id = (select nullif(current_setting('app.user_id', true), '')::uuid))
    with check (user_id = (select nullif(current_setting('app.user_id', true), '')::uuid));
