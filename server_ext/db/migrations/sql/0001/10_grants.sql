-- The application gets the verbs it uses and no more; what is written once has no UPDATE and no DELETE.

grant select, insert, update on workspaces to pc_app;
grant select, update on users to pc_app;
grant select, insert, delete on user_identities to pc_app;
grant select, insert, update, delete on memberships to pc_app;

grant select, insert, update on prompt_cards to pc_app;
grant select, insert on card_versions to pc_app;
grant select, insert, update, delete on card_labels to pc_app;
grant select, insert, update, delete on test_cases to pc_app;

grant select, insert, update on runs to pc_app;
grant select, insert on run_cases to pc_app;
grant select, insert on run_events to pc_app;
grant select, insert, update on reports to pc_app;
grant select, insert, update on tasks to pc_app;
grant select, insert, update on attempts to pc_app;
grant select, insert on outbox to pc_app;

grant select on price_book to pc_app;
grant select, insert on generations to pc_app;
grant select, insert on test_executions to pc_app;
grant select, insert, update on rollup_hours to pc_app;
grant select, insert, update on rollup_latency to pc_app;
grant select, insert on analytics_events to pc_app;
grant select, insert on performance_metrics to pc_app;
grant select, insert on audit_log to pc_app;

-- To know whether the schema fits the program.
grant select on alembic_version to pc_app;

-- Backups read everything, tables of later migrations included.
grant usage on schema public to pc_backup;
grant select on all tables in schema public to pc_backup;
grant select on all sequences in schema public to pc_backup;
alter default privileges in schema public grant select on tables to pc_backup;
alter default privileges in schema public grant select on sequences to pc_backup;
