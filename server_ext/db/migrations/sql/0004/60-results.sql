-- Results are written by the thousand: what is checked for each row is checked once.

-- One reference in place of three. A task belongs to a run, and both to a workspace; that the attempt's run is the
-- task's is said here for the first time.
create unique index tasks_of_run_idx on tasks (workspace_id, run_id, id);
alter table attempts
    drop constraint attempts_workspace_id_fkey,
    drop constraint attempts_workspace_id_run_id_fkey,
    drop constraint attempts_workspace_id_task_id_fkey,
    add foreign key (workspace_id, run_id, task_id) references tasks (workspace_id, run_id, id);

-- The run's row refers to the workspace.
alter table test_executions drop constraint test_executions_workspace_id_fkey;

-- As before, but without 64 states of an automaton to be made for each row.
alter table generations
    drop constraint generations_request_hash_check,
    add constraint generations_request_hash_check
        check (char_length(request_hash) = 64 and request_hash !~ '[^0-9a-f]');
