"""A real JupyterHub with proxy and users' servers, on the example configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
import sqlalchemy as sa

from promptcard_ext.client.api import WorkspaceApi
from promptcard_ext.client.discovery import Address
from promptcard_ext.client.session import Session
from promptcard_ext.client.stream import follow
from promptcard_ext.core.contract.runs import RunSpec
from promptcard_ext.core.errors import Denied, NotFound, PromptCardError, SetupError, Unavailable
from promptcard_ext.kernel.workspace import Workspace
from server_ext.api.hub_reader import HubReader
from server_ext.auth import hub_roster
from server_ext.auth.actor import Actor
from server_ext.auth.hub import HubService
from server_ext.auth.hub_roster import read_roster
from server_ext.db.engine import Database
from server_ext.embedded import Services
from server_ext.services import accounts, hub_members, membership
from server_ext.services.hub_members import workspace_id_of
from server_ext.services.scope import Scope
from server_ext.settings import Settings
from tests.hub.browser import Browser
from tests.hub.hub import Answer, Hub, ask
from tests.hub.kernels import run_in_kernel
from tests.support import ECHO, GREET, greetings, wait_for

ACCESS = "access:services!service=promptcards"
API = "promptcards/api/v1/"


@pytest.fixture(scope="module")
def hub(settings: Settings, services: Services) -> Iterator[Hub]:
    """A Hub with alice, a member of the workspace 'team', bob, a viewer, and carol, who is nobody there."""
    with Hub(settings.home, settings.home.parent / "hub") as hub:
        hub.wait_ready()
        yield hub


@pytest.fixture(scope="module")
def alices_server(hub: Hub) -> psutil.Process:
    """The process of alice's own Jupyter server."""
    return hub.server_of("alice")


@pytest.fixture(scope="module")
def alice(alices_server: psutil.Process) -> str:
    """The token that the Hub has given alice's server."""
    return alices_server.environ()["JUPYTERHUB_API_TOKEN"]


@pytest.fixture(scope="module")
def bob(hub: Hub) -> str:
    """A token that bob has made for a program of his."""
    return hub.token_of("bob", ACCESS)


@pytest.fixture(scope="module")
def carol(hub: Hub) -> str:
    """A token that carol has made for a program of hers."""
    return hub.token_of("carol", ACCESS)


@pytest.fixture(scope="module")
def browser(hub: Hub) -> Browser:
    """A browser in which alice has logged in to the Hub, and to nothing else."""
    browser = Browser(hub)
    browser.log_in("alice")
    return browser


@contextmanager
def team(hub: Hub, token: str) -> Iterator[Workspace]:
    """Yield the shared workspace."""
    session = Session(Address(hub.service, token), exchange=True)
    try:
        yield Workspace(WorkspaceApi(session, "team"))
    finally:
        session.close()


def api(hub: Hub, token: str, path: str = "workspaces/team") -> Answer:
    return ask("GET", f"{hub.service}{API}{path}", token)


def test_groups_decide_who_reads_and_who_writes(hub: Hub, alice: str, bob: str, carol: str) -> None:
    with team(hub, alice) as workspace:
        workspace.save(GREET)
    with team(hub, bob) as workspace:
        assert api(hub, bob).json["role"] == "viewer"
        assert [card.name for card in workspace.api.cards.list()] == ["greet"]
        with pytest.raises(Denied):
            workspace.save(GREET)
    foreign, missing = api(hub, carol), api(hub, carol, "workspaces/nosuch")
    assert (foreign.status, missing.status) == (404, 404)
    assert foreign.json["code"] == missing.json["code"] == "not_found"
    with pytest.raises(NotFound), team(hub, carol):
        pass


def test_groups_of_other_names_are_mapped_as_the_operator_says(hub: Hub, bob: str) -> None:
    hub.join("bob", "staff-of-atelier")
    wait_for(lambda: api(hub, bob, "workspaces/atelier").status == 200)
    assert api(hub, bob, "workspaces/atelier").json["role"] == "admin"


def test_who_leaves_a_group_leaves_the_workspace_and_who_was_let_in_by_hand_stays(
    hub: Hub, carol: str, database: Database
) -> None:
    hub.join("carol", "promptcards-guild-member")
    wait_for(lambda: api(hub, carol, "workspaces/guild").status == 200)
    let_in_by_hand(database, only_member_of(database, "guild"), "team")
    wait_for(lambda: api(hub, carol).status == 200)

    hub.leave("carol", "promptcards-guild-member")
    wait_for(lambda: api(hub, carol, "workspaces/guild").status == 404, 10)
    assert api(hub, carol).json["role"] == "viewer"


def only_member_of(database: Database, slug: str) -> Actor:
    """Return the only member of a workspace of the Hub."""
    workspace_id = workspace_id_of(slug)
    members = sa.text("select user_id from memberships where workspace_id = :workspace")
    with database.transaction(workspace_id) as connection:
        return Actor(connection.execute(members, {"workspace": workspace_id}).scalar_one(), slug)


def let_in_by_hand(database: Database, actor: Actor, slug: str) -> None:
    """Make somebody a viewer of a workspace of the Hub, as its owner does."""
    workspace_id = workspace_id_of(slug)
    with database.transaction(workspace_id, actor.user_id) as connection:
        membership.enrol(Scope(connection, workspace_id, actor, "owner", database), actor.user_id, "viewer")


def test_a_user_who_is_deleted_is_refused(hub: Hub) -> None:
    hub.tell("POST", "users/dave")
    token = hub.token_of("dave", ACCESS)
    assert api(hub, token, "workspaces").status == 200
    hub.tell("DELETE", "users/dave")
    wait_for(lambda: api(hub, token, "workspaces").status == 401, 10)


def test_a_running_notebook_loses_what_its_user_loses(hub: Hub, bob: str) -> None:
    hub.join("bob", "promptcards-choir-member")
    wait_for(lambda: api(hub, bob, "workspaces/choir").status == 200)
    session = Session(Address(hub.service, bob), exchange=True)
    assert session.get("workspaces", "choir")["role"] == "member"
    own = session.credentials.headers()["X-PromptCards-Token"]
    session.close()

    hub.leave("bob", "promptcards-choir-member")
    wait_for(lambda: api(hub, bob, "workspaces/choir").status == 404, 10)
    headers = {"X-PromptCards-Token": own}
    assert ask("GET", f"{hub.service}{API}workspaces/choir", **headers).status == 404
    assert ask("GET", f"{hub.service}{API}workspaces/team", **headers).status == 200


def test_an_account_that_is_locked_is_out_at_once(hub: Hub, database: Database) -> None:
    hub.tell("POST", "users/erin")
    token = hub.token_of("erin", ACCESS)
    assert api(hub, token, "workspaces").status == 200
    erin = hub_members.sync(database, "erin", (), {}, admin=False)
    accounts.disable(database, str(erin.user_id))
    wait_for(lambda: api(hub, token, "workspaces").status == 401, 5)
    accounts.enable(database, str(erin.user_id))
    wait_for(lambda: api(hub, token, "workspaces").status == 200, 5)


def test_who_never_comes_again_leaves_with_the_group_and_with_the_hub(hub: Hub, database: Database) -> None:
    for user in ("frank", "grace"):
        hub.tell("POST", f"users/{user}")
        hub.join(user, "promptcards-crew-member")
        assert api(hub, hub.token_of(user, ACCESS), "workspaces/crew").status == 200
    assert hub_members.names(database)[-2:] == ["frank", "grace"]

    hub.leave("frank", "promptcards-crew-member")
    hub.tell("DELETE", "users/grace")
    wait_for(lambda: not {"frank", "grace"} & set(hub_members.names(database)), 10)
    assert "alice" in hub_members.names(database)


def test_all_pages_of_the_hubs_users_are_read(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    service = HubService("tests", "", "", 0, hub.api, hub.token)
    everybody = read_roster(service)
    assert everybody["alice"].groups == {"promptcards-team-member"}
    monkeypatch.setattr(hub_roster, "PAGE", 2)
    assert read_roster(service) == everybody
    assert len(everybody) > 2


def test_a_list_that_may_not_be_whole_is_not_used(hub: Hub, alice: str) -> None:
    with pytest.raises(SetupError) as refusal:
        read_roster(HubService("tests", "", "", 0, hub.api, alice))
    assert refusal.value.code == "hub_roster_denied"


@pytest.mark.parametrize("path", ["/nosuch", "/hub/nosuch"])
def test_a_hub_that_does_not_answer_has_no_list(hub: Hub, path: str) -> None:
    with pytest.raises(Unavailable) as refusal:
        read_roster(HubService("tests", "", "", 0, f"{hub.url}{path}", hub.token))
    assert refusal.value.code == "hub_unreachable"


def test_a_token_that_may_not_use_the_service_is_told_what_is_missing(hub: Hub) -> None:
    answer = api(hub, hub.token_of("alice", "read:users!user"), "workspaces")
    assert (answer.status, answer.json["code"]) == (403, "hub_access_missing")
    assert ACCESS in answer.json["hint"]


def test_other_services_of_the_hub_are_nobody_here(hub: Hub) -> None:
    answer = api(hub, hub.token, "workspaces")
    assert (answer.status, answer.json["code"]) == (401, "hub_service_refused")


@pytest.mark.parametrize("token", ["", "wrong", "é".encode().decode("latin-1")])
def test_strangers_are_refused(hub: Hub, token: str) -> None:
    assert api(hub, token, "workspaces").status == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "api/kernels"),
        ("POST", "api/kernels"),
        ("GET", "api/contents"),
        ("PUT", "api/contents/x.txt"),
        ("POST", "api/terminals"),
        ("POST", "api/sessions"),
        ("POST", "api/shutdown"),
        ("GET", "files/keys.json"),
        ("GET", "nbconvert/html/x.ipynb"),
        ("GET", "metrics"),
        ("GET", "api/status"),
        ("GET", "api/me"),
    ],
)
def test_users_get_nothing_of_the_service_but_prompt_cards(hub: Hub, alice: str, method: str, path: str) -> None:
    answer = ask(method, f"{hub.service}{path}", alice, {} if method != "GET" else None)
    assert answer.status in (302, 403, 404), answer
    if answer.status == 302:
        assert "/hub/" in answer.headers["Location"] or "login" in answer.headers["Location"]


class TestBrowser:
    def test_the_hubs_login_is_enough(self, hub: Hub, browser: Browser) -> None:
        answer = browser.get(hub.service)
        assert answer.status == 200
        assert b'"team"' in answer.raw

    def test_what_changes_something_needs_the_xsrf_token(self, hub: Hub, browser: Browser) -> None:
        browser.get(hub.service)
        url = f"{hub.service}{API}workspaces"
        refused = browser.post_json(url, {"name": "Mine"})
        assert refused.status in (401, 403)
        xsrf = browser.cookie("_xsrf", "/services/promptcards/")
        assert browser.post_json(url, {"name": "Mine"}, **{"X-XSRFToken": xsrf}).status == 201

    def test_who_logs_out_is_out(self, hub: Hub) -> None:
        browser = Browser(hub)
        browser.log_in("bob")
        assert browser.get(hub.service).status == 200
        browser.get(f"{hub.service}logout")
        assert browser.get(f"{hub.service}{API}workspaces").status == 401

    def test_who_is_not_logged_in_is_sent_to_the_hub(self, hub: Hub) -> None:
        answer = ask("GET", hub.service)
        assert answer.status == 302
        assert answer.headers["Location"].startswith("/hub/api/oauth2/authorize")


class TestUsersServer:
    def test_a_notebook_needs_no_login(self, hub: Hub, alice: str) -> None:
        code = """
import promptcard_ext as pc
team = pc.connect(workspace="team")
print(team, *team.api.session.credentials.headers())
"""
        printed = run_in_kernel(f"{hub.url}/user/alice/", alice, code)
        assert f"at {hub.service_url}/services/promptcards/, role member" in printed
        assert "X-PromptCards-Token" in printed

    @pytest.mark.parametrize("path", ["workspaces", "workspaces/team/cards", "workspaces/team/runs?limit=20"])
    def test_what_the_panel_reads_there_is_what_the_service_says(self, hub: Hub, alice: str, path: str) -> None:
        answer = ask("GET", f"{hub.url}/user/alice/{API}{path}", alice)
        assert (answer.status, answer.json) == (200, api(hub, alice, path).json)
        assert alice not in f"{answer.headers}{answer.raw!r}"
        # What users' servers log stands there too.
        assert f"/user/alice/{API}" in hub.output or "the side panel reads from" in hub.output
        assert alice not in hub.output

    def test_a_browser_reads_there_by_the_hubs_login(self, hub: Hub, alice: str, browser: Browser) -> None:
        assert browser.get(f"{hub.url}/user/alice/api/status").status == 200
        answer = browser.get(f"{hub.url}/user/alice/{API}workspaces/team")
        assert (answer.status, answer.json["code"]) == (503, "hub_not_supported")
        answer = browser.get(f"{hub.url}/user/alice/{API}workspaces")
        assert answer.json == api(hub, alice, "workspaces").json

    @pytest.mark.parametrize(("method", "path"), [("POST", "workspaces/team/cards"), ("GET", "workspaces/team/usage")])
    def test_the_extension_refuses_everything_else_there(self, hub: Hub, alice: str, method: str, path: str) -> None:
        answer = ask(method, f"{hub.url}/user/alice/{API}{path}", alice, {} if method == "POST" else None)
        assert (answer.status, answer.json["code"]) == (503, "hub_not_supported")

    @pytest.mark.parametrize("scopes", [(ACCESS,), ("access:servers!user=bob",)])
    def test_nobody_reads_by_somebody_elses_server(self, hub: Hub, alice: str, scopes: tuple[str, ...]) -> None:
        answer = ask("GET", f"{hub.url}/user/alice/{API}workspaces", hub.token_of("bob", *scopes))
        assert answer.status in (401, 403)
        assert b"team" not in answer.raw

    def test_a_server_whose_token_lacks_the_scope_says_who_can_help(self, hub: Hub) -> None:
        token = hub.token_of("alice", "read:users!user")
        environment = {
            "JUPYTERHUB_SERVICE_PREFIX": "/user/alice/",
            "JUPYTERHUB_API_TOKEN": token,
            "PROMPTCARDS_URL": hub.service,
        }
        refusal = asyncio.run(refusal_of(environment))
        assert (type(refusal), refusal.code) == (Denied, "hub_access_missing")
        assert ACCESS in refusal.hint
        assert token not in str(refusal)


async def refusal_of(environment: dict[str, str]) -> PromptCardError:
    """Return why the server with an environment reads nothing from the service."""
    reader = HubReader.of(environment)
    assert reader is not None
    try:
        with pytest.raises(PromptCardError) as refusal:
            await reader.read("workspaces")
        return refusal.value
    finally:
        await reader.close()


def test_events_come_through_the_proxy(hub: Hub, alice: str) -> None:
    async def events(workspace: Workspace, run_id: str) -> list[str]:
        kinds: list[str] = []
        async for event in follow(workspace.api.session, "team", run_id):
            kinds.append(event.kind)
            if len(kinds) == 1:
                await asyncio.to_thread(workspace.api.runs.cancel, run_id)
        return kinds

    with team(hub, alice) as workspace:
        workspace.save(GREET, greetings(2))
        run = workspace.api.runs.start(RunSpec("greet", [ECHO]))
        assert asyncio.run(events(workspace, str(run.id)))[-1] == "finished"
