-- Whom groups of the Hub have made members of something: who has left the Hub does not come by to be removed.
create function pc.hub_members(after text, max_rows integer)
returns table (subject text)
language sql stable security definer
set search_path = pg_catalog, public, pc, pg_temp
begin atomic
    select known.subject
    from public.user_identities as known
    where known.provider = 'hub' and known.subject > after
        and exists (
            select from public.memberships as member
            where member.user_id = known.user_id and member.source = 'hub'
        )
    order by known.subject
    limit max_rows;
end;

revoke execute on function pc.hub_members(text, integer) from public;
grant execute on function pc.hub_members(text, integer) to pc_app;
