-- Cases get a threshold and metadata, results the calls of their judges, answers what perplexity needs.

alter table test_cases
    add column threshold double precision check (threshold between 0 and 1),
    add column metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object');

alter table run_cases
    add column threshold double precision check (threshold between 0 and 1),
    add column metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object');

-- Purpose and generation of each further call. No foreign key: it would need a table of its own, and generations are
-- never deleted before the results that name them.
alter table test_executions
    add column calls jsonb not null default '[]' check (jsonb_typeof(calls) = 'array'),
    add column cached boolean not null default false;

alter table generations add column logprobs jsonb;
