-- What happened and what was measured, by month.

create table analytics_events (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    event_type text not null check (char_length(event_type) <= 100),
    event_data jsonb not null default '{}',
    user_id uuid references users (id),
    session_id text check (char_length(session_id) <= 255),
    "timestamp" timestamptz not null default now(),
    primary key (workspace_id, id, "timestamp")
) partition by range ("timestamp");
create index analytics_events_time_idx on analytics_events (workspace_id, "timestamp");
create index analytics_events_type_idx on analytics_events (workspace_id, event_type, "timestamp");
select pc.isolate('analytics_events');

create table performance_metrics (
    workspace_id uuid not null references workspaces (id),
    id uuid not null default uuidv7(),
    metric_name text not null check (char_length(metric_name) <= 100),
    metric_value numeric not null,
    dimensions jsonb not null default '{}',
    "timestamp" timestamptz not null default now(),
    primary key (workspace_id, id, "timestamp")
) partition by range ("timestamp");
create index performance_metrics_name_idx on performance_metrics (workspace_id, metric_name, "timestamp");
select pc.isolate('performance_metrics');
