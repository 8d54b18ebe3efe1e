-- Limits of texts, which the program counts in characters: what PostgreSQL does not store is written as five of them.
alter table prompt_cards
    drop constraint prompt_cards_title_check,
    add constraint prompt_cards_title_check check (char_length(title) <= 2500);
alter table test_cases
    drop constraint test_cases_name_check,
    add constraint test_cases_name_check check (char_length(name) <= 1275),
    drop constraint test_cases_priority_check,
    add constraint test_cases_priority_check check (char_length(priority) <= 100);

-- What cards are searched by. Row security would keep the index from being used, because the operators of text search
-- may leak; so one function searches with the owner's rights, within the workspace of the transaction.

-- Both are trusted: the owner of the database may create them.
create extension if not exists pg_trgm;
create extension if not exists btree_gin;

create table card_search (
    workspace_id uuid not null references workspaces (id),
    card_id uuid not null,
    name text not null,
    -- Name, title and tags: what somebody who looks for a card remembers, perhaps with a typo.
    label text not null,
    named tsvector not null,
    -- The same, and the description and the messages of the latest version.
    words tsvector not null,
    primary key (workspace_id, card_id),
    foreign key (workspace_id, card_id) references prompt_cards (workspace_id, id)
);
create index card_search_name_idx on card_search (workspace_id, name);
create index card_search_idx on card_search using gin (workspace_id, label gin_trgm_ops, named, words);
select pc.isolate('card_search');
grant select, insert, delete on card_search to pc_app;
create policy across_workspaces on card_search to pc_owner using (true) with check (true);

-- The parser of PostgreSQL makes one word of file names, hosts and what hyphens join; here each part is a word.
create function pc.search_text(given text) returns text
language sql immutable parallel safe
return translate(lower(given), $$!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~$$, repeat(' ', 32));

-- Ten words at most; each also finds the words that begin with it.
create function pc.search_query(given text) returns tsquery
language sql immutable parallel safe
return (
    select to_tsquery('simple', coalesce(string_agg('''' || word || ''':*', ' & '), ''))
    from (
        select word from regexp_split_to_table(pc.search_text(left(given, 200)), '\s+') as word where word <> '' limit 10
    ) as parts
);

create function pc.search_row(card public.prompt_cards) returns public.card_search
language plpgsql stable
set search_path = pg_catalog, public, pc, pg_temp
as $$
declare
    made public.card_search;
    tags text;
    messages text;
begin
    select coalesce(string_agg(tag, ' '), '') into tags from jsonb_array_elements_text(card.tags) as tag;
    -- A tsvector holds a megabyte at most.
    select left(string_agg(message ->> 'content', ' '), 100000) into messages
        from public.card_versions as v, jsonb_array_elements(v.content -> 'messages') as message
        where v.workspace_id = card.workspace_id and v.card_id = card.id and v.version = card.latest_version;
    made.workspace_id := card.workspace_id;
    made.card_id := card.id;
    made.name := card.name;
    made.label := lower(concat_ws(' ', card.name, card.title, tags));
    made.named := setweight(to_tsvector('simple', pc.search_text(concat_ws(' ', card.name, card.title))), 'A')
        || setweight(to_tsvector('simple', pc.search_text(tags)), 'B');
    made.words := made.named
        || setweight(to_tsvector('simple', pc.search_text(card.description)), 'C')
        || to_tsvector('simple', pc.search_text(coalesce(messages, '')));
    return made;
end $$;

create function pc.index_card() returns trigger
language plpgsql
set search_path = pg_catalog, public, pc, pg_temp
as $$
begin
    delete from public.card_search where workspace_id = new.workspace_id and card_id = new.id;
    if new.archived_at is null then
        insert into public.card_search select (row).* from pc.search_row(new) as row;
    end if;
    return null;
end $$;
-- A card without a version is being made in this very transaction.
create trigger search_new after insert on prompt_cards
    for each row when (new.latest_version > 0) execute function pc.index_card();
create trigger search_changed after update on prompt_cards
    for each row when (
        new.latest_version > 0
        and (old.name, old.title, old.description, old.tags, old.latest_version, old.archived_at is null)
            is distinct from
            (new.name, new.title, new.description, new.tags, new.latest_version, new.archived_at is null)
    )
    execute function pc.index_card();

-- Cards of the transaction's workspace, best first: name, then name, title and tags, then anywhere; when no name, title
-- or tag has the words and few cards do, also what resembles them. Of what thousands of cards have, a thousand are
-- compared: to rank them all would take longer than anybody waits.
create function pc.search_cards(wanted text, most integer) returns table (card_id uuid, rank real)
language plpgsql stable security definer rows 100
set search_path = pg_catalog, public, pc, pg_temp
set plan_cache_mode = force_custom_plan
-- A scan of the table would read the cards of all workspaces.
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    workspace constant uuid := nullif(current_setting('app.workspace_id', true), '')::uuid;
    query constant tsquery := pc.search_query(wanted);
    plain constant text := lower(btrim(wanted));
begin
    if workspace is null then
        return;
    end if;
    -- The first call makes the parameter known: before, only a superuser may set it.
    perform show_limit(), set_config('pg_trgm.word_similarity_threshold', '0.5', true);
    return query
        with called as materialized (
            select s.card_id, s.label, s.words from public.card_search as s
            where s.workspace_id = workspace and s.name = plain
        ), titled as materialized (
            select c.card_id, c.label, c.words, 3 as tier from called as c
            union all
            (
                select s.card_id, s.label, s.words, 2 as tier from public.card_search as s
                where s.workspace_id = workspace and s.named @@ query
                    and s.card_id not in (select c.card_id from called as c)
                limit 1000
            )
        ), anywhere as materialized (
            select s.card_id, s.label, s.words from public.card_search as s
            where s.workspace_id = workspace and s.words @@ query limit 1000
        ), found as materialized (
            select t.card_id, t.label, t.words, t.tier from titled as t
            union all
            select a.card_id, a.label, a.words, 1 as tier from anywhere as a
            where a.card_id not in (select t.card_id from titled as t)
        ), alike as materialized (
            select s.card_id, s.label from public.card_search as s
            where s.workspace_id = workspace
                and char_length(plain) between 3 and 100
                and not exists (select from titled)
                and (select count(*) from found) < 20
                and plain <% s.label
            limit 1000
        ), ranked as (
            select f.card_id, (f.tier + ts_rank(f.words, query, 32))::real as rank from found as f
            union all
            select a.card_id, (word_similarity(plain, a.label) * 0.99)::real from alike as a
            where a.card_id not in (select f.card_id from found as f)
        )
        select r.card_id, r.rank from ranked as r order by r.rank desc, r.card_id limit least(most, 1000);
end $$;

revoke execute on function pc.search_text(text), pc.search_query(text) from public;
revoke execute on function pc.search_row(public.prompt_cards), pc.index_card() from public;
revoke execute on function pc.search_cards(text, integer) from public;
grant execute on function pc.search_text(text), pc.search_row(public.prompt_cards) to pc_app;
grant execute on function pc.search_cards(text, integer) to pc_app;

-- The cards that are there already. The owner sees none of them, so for this one statement it is no longer told to.
alter table prompt_cards no force row level security;
alter table card_versions no force row level security;
insert into card_search
    select (pc.search_row(card)).* from prompt_cards as card where latest_version > 0 and archived_at is null;
alter table prompt_cards force row level security;
alter table card_versions force row level security;
