-- Where versions and runs came from, as the notebook says, and what makes two runs the same.

alter table card_versions
    add column provenance jsonb check (jsonb_typeof(provenance) = 'object');

alter table runs
    add column provenance jsonb check (jsonb_typeof(provenance) = 'object'),
    add column fingerprint text check (fingerprint ~ '^[0-9a-f]{64}$');

create index runs_fingerprint_idx on runs (workspace_id, fingerprint, created_at) where fingerprint is not null;
