"""Groups of a Hub make members, and unmake those that they have made."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.members import Member, MemberQuery
from promptcard_ext.core.errors import NotFound, SetupError, Unauthenticated
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.db.tables import audit_log, memberships, workspaces
from server_ext.services import hub_members, members
from server_ext.services import workspaces as workspace_service
from server_ext.services.hub_members import PATTERNS, roles_of, workspace_id_of
from server_ext.services.scope import Scope, open_scope


@pytest.fixture
def team() -> str:
    """A name of a workspace that no other test uses."""
    return f"team-{uuid.uuid4().hex[:8]}"


def login(database: Database, name: str, *groups: str, admin: bool = False) -> Actor:
    return hub_members.sync(database, name, groups, {}, admin=admin)


def user() -> str:
    return f"ada-{uuid.uuid4().hex[:8]}"


def mine(database: Database, actor: Actor) -> dict[str, str]:
    return {one.slug: one.role for one in workspace_service.list_mine(database, actor).items}


def member(database: Database, team: str, actor: Actor) -> Member:
    with open_scope(database, actor, team) as scope:
        return members.get(scope, str(actor.user_id))


def add_by_hand(database: Database, team: str, actor: Actor, role: str) -> None:
    workspace_id = workspace_id_of(team)
    with database.transaction(workspace_id) as connection:
        row = {"workspace_id": workspace_id, "user_id": actor.user_id, "role": role}
        connection.execute(sa.insert(memberships).values(**row))


def test_a_first_login_makes_account_workspaces_and_memberships(database: Database, team: str) -> None:
    name = user()
    actor = login(database, name, f"promptcards-{team}-member", "staff")
    assert (actor.name, actor.kind, actor.via) == (name, "human", "hub")
    assert mine(database, actor) == {"personal": "owner", team: "member"}
    assert member(database, team, actor).source == "hub"
    assert login(database, name, f"promptcards-{team}-member").user_id == actor.user_id


def test_two_users_of_a_group_share_its_workspace(database: Database, team: str) -> None:
    first = login(database, user(), f"promptcards-{team}-owner")
    second = login(database, user(), f"promptcards-{team}-viewer")
    with open_scope(database, first, team) as scope:
        found = {one.id: one.role for one in members.list_members(scope, MemberQuery()).items}
    assert found == {first.user_id: "owner", second.user_id: "viewer"}


def test_memberships_follow_the_groups(database: Database, team: str) -> None:
    name = user()
    for groups, expected in (
        (("viewer",), "viewer"),
        (("viewer", "admin"), "admin"),
        (("member",), "member"),
        ((), None),
        (("owner",), "owner"),
        ((), None),  # a last owner too
    ):
        actor = login(database, name, *(f"promptcards-{team}-{role}" for role in groups))
        assert mine(database, actor).get(team) == expected
    query = sa.select(audit_log.c.action).where(audit_log.c.object_id == str(actor.user_id)).order_by(audit_log.c.seq)
    with database.transaction(workspace_id_of(team)) as connection:
        assert list(connection.execute(query).scalars()) == [
            "member.added",
            "member.role_changed",
            "member.role_changed",
            "member.removed",
            "member.added",
            "member.removed",
        ]


def test_a_sync_that_changes_nothing_writes_nothing(database: Database, team: str) -> None:
    name = user()
    actor = login(database, name, f"promptcards-{team}-member")
    count = sa.select(sa.func.count()).select_from(audit_log)

    def entries() -> list[int]:
        found = []
        for one in workspace_service.list_mine(database, actor).items:
            with database.transaction(one.id) as connection:
                found.append(connection.execute(count).scalar_one())
        return found

    before = entries()
    login(database, name, f"promptcards-{team}-member")
    assert entries() == before


def test_what_was_made_by_hand_stays(database: Database, team: str) -> None:
    name = user()
    login(database, user(), f"promptcards-{team}-owner")
    actor = login(database, name)
    add_by_hand(database, team, actor, "admin")
    login(database, name, f"promptcards-{team}-viewer")
    assert (member(database, team, actor).role, member(database, team, actor).source) == ("admin", "local")
    login(database, name)
    assert member(database, team, actor).role == "admin"


def test_an_administrator_of_the_hub_owns_what_the_groups_lead_to(database: Database, team: str) -> None:
    name = user()
    actor = login(database, name, f"promptcards-{team}-viewer", admin=True)
    assert mine(database, actor)[team] == "owner"
    login(database, name, f"promptcards-{team}-viewer")
    assert mine(database, actor)[team] == "viewer"
    assert "other" not in mine(database, login(database, name, admin=True))


def test_an_account_that_is_locked_stays_out_whatever_the_hub_says(database: Database, team: str) -> None:
    name = user()
    actor = login(database, name)
    with database.transaction(user_id=actor.user_id) as connection:
        connection.execute(sa.text("update users set disabled_at = now()"))
    with pytest.raises(Unauthenticated):
        login(database, name, f"promptcards-{team}-member")
    assert mine(database, actor) == {"personal": "owner"}


def test_a_name_is_not_an_address_or_a_name_of_another_kind(database: Database) -> None:
    name = f"{user()}@example.com"
    actor = login(database, name)
    with database.transaction() as connection:
        resolve = sa.func.pc.resolve_identity
        others = [
            connection.execute(sa.select(resolve(kind, name, None, type_=sa.Uuid))).scalar_one()
            for kind in ("local", "password", "jwt")
        ]
    assert others == [None, None, None]
    assert login(database, name).user_id == actor.user_id
    assert login(database, name.upper()).user_id != actor.user_id


def test_a_workspace_given_away_is_not_made_again(database: Database) -> None:
    name = user()
    actor, heir = login(database, name), login(database, user())
    with open_scope(database, actor, "personal") as scope:
        personal = scope.workspace_id
        with database.transaction(personal) as connection:
            row = {"workspace_id": personal, "user_id": heir.user_id, "role": "owner"}
            connection.execute(sa.insert(memberships).values(**row))
        workspace_service.leave(scope)
    assert mine(database, login(database, name)) == {}


def test_a_workspace_that_was_renamed_is_still_the_groups(database: Database, team: str) -> None:
    login(database, user(), f"promptcards-{team}-owner")
    with database.transaction(workspace_id_of(team)) as connection:
        connection.execute(sa.update(workspaces).values(slug=f"{team}-renamed"))
    other = login(database, user(), f"promptcards-{team}-member")
    assert mine(database, other)[f"{team}-renamed"] == "member"


def test_a_group_leads_nobody_into_a_workspace_of_others(database: Database, team: str) -> None:
    owner = login(database, user())
    theirs = workspace_service.create(database, owner, "Theirs", team)
    other = login(database, user(), f"promptcards-{team}-owner")
    assert theirs.id not in {one.id for one in workspace_service.list_mine(database, other).items}
    with pytest.raises(NotFound), open_scope(database, other, str(theirs.id)):
        pass


@pytest.mark.parametrize("turn", range(3))
def test_logins_at_once_agree(database: Database, team: str, turn: int) -> None:
    names = [user(), user()]
    gate = threading.Barrier(8)
    groups = [f"promptcards-{team}-member", f"promptcards-{team}-2-owner", f"promptcards-{team}-3-viewer"]

    def work(number: int) -> Actor:
        gate.wait()
        # In different orders, which must not make them wait for each other in a circle.
        return login(database, names[number % 2], *(groups if number % 4 < 2 else groups[::-1]))

    with ThreadPoolExecutor(8) as pool:
        actors = list(pool.map(work, range(8)))
    assert len({actor.user_id for actor in actors}) == 2
    for actor in actors[:2]:
        assert mine(database, actor) == {
            "personal": "owner",
            team: "member",
            f"{team}-2": "owner",
            f"{team}-3": "viewer",
        }


def test_logins_at_once_with_different_groups_end_with_one_of_them(database: Database, team: str) -> None:
    name = user()
    gate = threading.Barrier(6)

    def work(number: int) -> None:
        gate.wait()
        groups = [(), (f"promptcards-{team}-member",), (f"promptcards-{team}-admin",)][number % 3]
        login(database, name, *groups)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    actor = login(database, name, f"promptcards-{team}-viewer")
    assert mine(database, actor)[team] == "viewer"


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (["promptcards-nlp-owner"], {"nlp": "owner"}),
        (["promptcards-a-b-c-viewer", "promptcards-x.y_z-admin"], {"a-b-c": "viewer", "x.y_z": "admin"}),
        (["promptcards-nlp-viewer", "promptcards-nlp-admin", "promptcards-nlp-member"], {"nlp": "admin"}),
        (["promptcards-owner", "promptcards--owner", "promptcards-nlp", "promptcards-nlp-root"], {}),
        (["xpromptcards-a-owner", "promptcards-a-ownerx", "promptcards-a-Owner"], {}),
        (["promptcards-UP-owner", "promptcards-a b-owner", "promptcards-../x-owner", "promptcards-é-owner"], {}),
        ([f"promptcards-{'a' * 101}-owner", "promptcards-a-owner\n"], {}),
        (["course-101-staff", "course-101-students"], {"101": "admin"}),
        (["deans"], {"school": "owner"}),
    ],
)  # fmt: skip
def test_groups_mean_roles_in_workspaces(groups: list[str], expected: dict[str, str]) -> None:
    patterns = {**PATTERNS, "course-*-staff": "admin", "deans": "school:owner"}
    assert roles_of(groups, patterns) == expected


@pytest.mark.parametrize(
    ("pattern", "meaning"),
    [
        ("course-*", "boss"),
        ("staff", "admin"),
        ("a-*-*", "admin"),
        ("a-*", "x:admin"),
        ("a", "X Y:admin"),
        ("a-*", ""),
        ("a", ":admin"),
    ],
)
def test_a_map_of_roles_that_makes_no_sense_is_refused(pattern: str, meaning: str) -> None:
    with pytest.raises(SetupError) as refused:
        roles_of([], {pattern: meaning})
    assert refused.value.code == "hub_role_map_invalid"


@pytest.mark.parametrize("name", ["", "a" * 256])
def test_a_name_that_is_none_is_nobody(database: Database, name: str) -> None:
    with pytest.raises(Unauthenticated):
        login(database, name)


def test_a_scope_of_a_sync_is_no_right(database: Database, team: str) -> None:
    actor = login(database, user(), f"promptcards-{team}-viewer")
    with database.transaction(workspace_id_of(team), actor.user_id) as connection:
        stale = Scope(connection, workspace_id_of(team), actor, "owner", database)
        with pytest.raises(Exception, match="viewer"):
            members.remove(stale, str(actor.user_id))
