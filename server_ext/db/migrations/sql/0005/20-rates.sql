-- How often a provider key may be called, as its account allows.

alter table provider_credentials
    add column requests_per_minute integer check (requests_per_minute between 1 and 1000000),
    add column tokens_per_minute integer check (tokens_per_minute between 1 and 1000000000);
