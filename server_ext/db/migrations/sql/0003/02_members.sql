-- Invitations into a workspace, and tokens for its programs. Both are texts of which only a hash is kept.

create table invitations (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    email text not null check (char_length(email) between 3 and 255),
    role text not null check (role in ('owner', 'admin', 'member', 'viewer')),
    secret_hash bytea not null check (length(secret_hash) = 32),
    -- Null for an operator's.
    created_by uuid references users (id),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    accepted_by uuid references users (id),
    accepted_at timestamptz,
    revoked_at timestamptz,
    primary key (workspace_id, id)
);
select pc.isolate('invitations');
grant select, insert, update (accepted_by, accepted_at, revoked_at) on invitations to pc_app;

-- No foreign key to memberships: the tokens of somebody who has left stay as a record, and open nothing.
create table api_tokens (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    user_id uuid not null references users (id),
    name text not null check (char_length(name) between 1 and 255),
    purpose text not null check (purpose in ('api', 'service', 'kernel', 'job')),
    -- The actions that it allows; null is everything that the role does.
    scopes jsonb check (jsonb_typeof(scopes) = 'array'),
    secret_hash bytea not null check (length(secret_hash) = 32),
    last_four text not null check (char_length(last_four) = 4),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    last_used_at timestamptz,
    revoked_at timestamptz,
    primary key (workspace_id, id)
);
create index api_tokens_user_idx on api_tokens (workspace_id, user_id, id);
select pc.isolate('api_tokens');
grant select, insert, update (last_used_at, revoked_at) on api_tokens to pc_app;
