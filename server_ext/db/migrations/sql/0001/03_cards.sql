-- Cards, their immutable versions, labels on versions, and test cases.

create table prompt_cards (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    name text not null check (char_length(name) between 1 and 100),
    title text not null default '' check (char_length(title) <= 500),
    description text not null default '',
    tags jsonb not null default '[]' check (jsonb_typeof(tags) = 'array'),
    draft jsonb,
    revision integer not null default 1,
    latest_version integer not null default 0,
    created_by uuid references users (id),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    archived_at timestamptz,
    primary key (workspace_id, id),
    unique (workspace_id, name)
);
select pc.isolate('prompt_cards');

create table card_versions (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    card_id uuid not null,
    version integer not null check (version > 0),
    content jsonb not null,
    content_hash text not null check (content_hash ~ '^[0-9a-f]{64}$'),
    note text not null default '',
    created_by uuid references users (id),
    created_at timestamptz not null default now(),
    primary key (workspace_id, id),
    unique (workspace_id, card_id, version),
    unique (workspace_id, card_id, id),
    foreign key (workspace_id, card_id) references prompt_cards (workspace_id, id)
);
select pc.isolate('card_versions');
create trigger immutable before update or delete or truncate on card_versions
    for each statement execute function pc.refuse_change();

create table card_labels (
    workspace_id uuid not null references workspaces (id),
    card_id uuid not null,
    label text not null check (char_length(label) between 1 and 100),
    version_id uuid not null,
    updated_at timestamptz not null default now(),
    primary key (workspace_id, card_id, label),
    -- With card_id, so that a label cannot point at a version of another card.
    foreign key (workspace_id, card_id, version_id) references card_versions (workspace_id, card_id, id)
);
select pc.isolate('card_labels');

create table test_cases (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    card_id uuid not null,
    position integer not null,
    name text not null check (char_length(name) <= 255),
    case_uid text not null check (char_length(case_uid) between 1 and 100),
    input_variables jsonb not null,
    expected_output text,
    assertions jsonb not null default '[]' check (jsonb_typeof(assertions) = 'array'),
    priority text not null default 'medium' check (char_length(priority) <= 20),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (workspace_id, id),
    unique (workspace_id, card_id, case_uid),
    foreign key (workspace_id, card_id) references prompt_cards (workspace_id, id)
);
select pc.isolate('test_cases');
