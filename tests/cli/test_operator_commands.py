"""The operators' commands, as typed: in this process, against the session's database."""

from __future__ import annotations

import contextvars
import io
import json
import signal
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from promptcard_ext.cli import main
from promptcard_ext.core.contract.audit import AuditQuery
from server_ext.auth.actor import Actor
from server_ext.cli import FOR_OPERATORS
from server_ext.db.engine import Database, make_engine
from server_ext.embedded import Services
from server_ext.keys import load_ring
from server_ext.runtime import ready_services
from server_ext.services import audit, workspaces
from server_ext.settings import Settings
from tests.conftest import NewActor
from tests.support import Tenant, environment, new_tenant, run_command, temporary_home

NOUNS = [module.__name__.rpartition(".")[2] for module in FOR_OPERATORS]
PASSWORD = "correct horse battery staple 7"


@dataclass
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Said]


@pytest.fixture
def command(
    settings: Settings,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Command]:
    """A function that runs a command."""
    before = signal.getsignal(signal.SIGTERM)
    for name, value in environment(settings.home).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, stdin: str = "") -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            contextvars.copy_context().run(main, arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Said(int(ended.value.code or 0), out, err)

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def email() -> str:
    """An address that nobody has."""
    return f"ada-{uuid.uuid4().hex[:8]}@example.com"


@pytest.fixture
def user(command: Command, email: str) -> str:
    """The id of somebody who has that address."""
    return str(command("user", "create", email, "--json", stdin=PASSWORD).json["id"])


def last_entry(tenant: Tenant, action: str) -> Any:
    with tenant.scope() as scope:
        return audit.list_entries(scope, AuditQuery(action=action)).items[0]


# -- in general ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noun", NOUNS)
def test_every_command_explains_itself_with_examples(noun: str, tmp_path: Path) -> None:
    done = run_command(tmp_path / "home", noun, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"examples:\n  jupyter promptcards {noun}" in done.stdout
    assert not (tmp_path / "home").exists()


def test_a_noun_without_an_action_is_a_mistake(command: Command) -> None:
    assert command("user").code == 2


def test_without_the_owners_url_ids_do_and_names_do_not(
    command: Command, services: Services, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTCARDS_DATABASE_URL", services.database_url.replace("+psycopg", ""))
    assert command("member", "list", str(tenant.id)).code == 0
    for arguments in (("member", "list", tenant.slug), ("user", "list"), ("workspace", "list")):
        refused = command(*arguments)
        assert (refused.code, "owner_url_missing" in refused.err) == (1, True)
    monkeypatch.setenv("PROMPTCARDS_OWNER_DATABASE_URL", (services.owner_database_url or "").replace("+psycopg", ""))
    assert command("member", "list", tenant.slug).code == 0


# -- people and workspaces -------------------------------------------------------------------------------------------


def test_an_account_is_made_locked_and_let_in_again(command: Command, email: str, user: str) -> None:
    def shown() -> Any:
        return next(one for one in command("user", "list", "--json").json if one["id"] == user)

    assert (shown()["email"], shown()["logins"], shown()["disabled_at"]) == (email, ["password"], None)
    assert command("user", "disable", email).code == 0
    assert shown()["disabled_at"]
    assert command("user", "enable", user).code == 0
    assert shown()["disabled_at"] is None
    changed = command("user", "set-password", email, stdin=PASSWORD + "x\n")
    assert (changed.code, PASSWORD in changed.out + changed.err) == (0, False)
    assert user[:8] in command("user", "list").out


def test_mistakes_about_accounts_have_one_message_and_an_exit_code(command: Command, email: str, user: str) -> None:
    assert "account_exists" in command("user", "create", email, stdin=PASSWORD).err
    assert "email_invalid" in command("user", "create", "nobody", stdin=PASSWORD).err
    assert "password_refused" in command("user", "create", f"x{email}", stdin="short\n").err
    assert "secret_not_given" in command("user", "create", f"x{email}").err
    assert "not_found" in command("user", "disable", f"x{email}").err


def test_a_workspace_is_made_for_somebody_renamed_and_handed_on(
    command: Command, email: str, user: str, new_actor: NewActor, database: Database
) -> None:
    heir = str(new_actor().user_id)
    slug = f"team-{uuid.uuid4().hex[:8]}"
    made = command("workspace", "create", "Team", "--owner", email, "--slug", slug, "--json").json
    assert (made["name"], made["slug"]) == ("Team", slug)
    assert command("workspace", "rename", slug, "--name", "The Team").code == 0
    assert command("member", "add", slug, heir, "--role", "admin").code == 0
    assert "already_member" in command("member", "add", slug, heir).err
    assert command("workspace", "transfer", slug, heir).code == 0
    roles = {one["id"]: one["role"] for one in command("member", "list", slug, "--json").json}
    assert roles == {user: "admin", heir: "owner"}
    assert command("member", "set-role", slug, email, "viewer").code == 0
    assert "last_owner" in command("member", "remove", slug, heir).err
    assert command("member", "remove", slug, email).code == 0
    (shown,) = [one for one in command("workspace", "list", "--json").json if one["id"] == made["id"]]
    assert (shown["name"], shown["owners"], shown["members"]) == ("The Team", [heir], 1)
    assert "The Team" in command("workspace", "list").out


def test_a_slug_that_several_have_is_refused_with_their_ids(command: Command, me: Actor, database: Database) -> None:
    slug = f"twice-{uuid.uuid4().hex[:8]}"
    tenants = [new_tenant(database, me), new_tenant(database, me)]
    for tenant in tenants:
        assert command("workspace", "rename", str(tenant.id), "--slug", slug).code == 0
    refused = command("member", "list", slug)
    assert "workspace_ambiguous" in refused.err
    assert all(str(tenant.id) in refused.err for tenant in tenants)
    assert "not_found" in command("member", "list", f"{slug}-not").err
    assert "not_found" in command("member", "list", str(uuid.uuid4())).err


def test_a_workspace_that_lost_its_owner_gets_another(
    command: Command, tenant: Tenant, new_actor: NewActor, database: Database
) -> None:
    place, heir = str(tenant.id), str(new_actor().user_id)
    with database.transaction(tenant.id) as connection:
        connection.execute(sa.text("delete from memberships where workspace_id = :w"), {"w": tenant.id})
    assert "Nobody" in command("member", "list", place).out
    assert command("member", "add", place, heir, "--role", "owner").code == 0
    assert command("member", "add", place, str(tenant.actor.user_id), "--role", "owner").code == 0
    assert [one["role"] for one in command("member", "list", place, "--json").json] == ["owner", "owner"]


def test_what_an_operator_does_is_in_the_trail_as_that(command: Command, tenant: Tenant, new_actor: NewActor) -> None:
    command("member", "add", str(tenant.id), str(new_actor().user_id))
    entry = last_entry(tenant, "member.added")
    assert (entry.via, entry.actor, entry.request_id[:4]) == ("operator", None, "cli-")
    assert "@" in entry.address


# -- tokens, invitations, provider keys ------------------------------------------------------------------------------


def test_a_token_is_shown_once_and_can_be_revoked(command: Command, tenant: Tenant, new_actor: NewActor) -> None:
    member, place = str(new_actor(tenant).user_id), str(tenant.id)
    made = command("token", "create", place, "--user", member, "--name", "nightly", "--scope", "prompt:read")
    token = made.out.split()[0]
    assert token.startswith("pct_")
    listed = command("token", "list", place, "--json")
    (shown,) = listed.json
    assert token not in listed.out + command("token", "list", place).out
    assert (shown["user"], shown["scopes"], shown["name"]) == (member, ["prompt:read"], "nightly")
    assert command("token", "revoke", place, shown["id"]).code == 0
    assert command("token", "list", place, "--json").json == []
    for wrong, code in ((("--days", "9999"), "argument_invalid"), (("--scope", "fly"), "scope_unknown")):
        assert code in command("token", "create", place, "--user", member, "--name", "n", *wrong).err
    assert "not_found" in command("token", "create", place, "--user", str(uuid.uuid4()), "--name", "n").err


def test_an_invitation_is_made_and_taken_back(command: Command, tenant: Tenant, email: str) -> None:
    place = str(tenant.id)
    made = command("invitation", "create", place, email, "--role", "admin", "--json").json
    assert made["token"].startswith("pci_")
    listed = command("invitation", "list", place, "--json")
    assert [(one["email"], one["role"]) for one in listed.json] == [(email, "admin")]
    assert made["token"] not in listed.out
    assert command("invitation", "revoke", place, made["invitation"]["id"]).code == 0
    assert "No invitation" in command("invitation", "list", place).out


def test_a_provider_key_is_saved_and_never_shown(command: Command, tenant: Tenant) -> None:
    place, key = str(tenant.id), "sk-verysecretkey-1234567890"
    saved = command("credential", "set", place, "openai", stdin=key + "\n")
    assert saved.code == 0
    again = command("credential", "set", place, "openai", "--json", stdin=key + "2\n")
    assert again.json["revision"] == 2
    listed = command("credential", "list", place)
    assert key not in saved.out + again.out + listed.out
    assert "openai" in listed.out
    assert "credential_invalid" in command("credential", "set", place, "simulated", stdin=key).err
    assert command("credential", "delete", place, "openai").code == 0
    assert "not_found" in command("credential", "delete", place, "openai").err
    assert "not_found" in command("credential", "test", place, "openai").err


def test_a_provider_key_is_limited_without_being_given_again(command: Command, tenant: Tenant) -> None:
    place = str(tenant.id)
    command("credential", "set", place, "openai", "--requests-per-minute", "500", stdin="sk-verysecretkey-1234567890")
    limited = command("credential", "limit", place, "openai", "--tokens-per-minute", "90000", "--json").json
    assert (limited["requests_per_minute"], limited["tokens_per_minute"]) == (500, 90_000)
    assert (limited["has_key"], limited["revision"]) == (True, 1)
    free = command("credential", "limit", place, "openai", "--requests-per-minute", "0", "--json").json
    assert (free["requests_per_minute"], free["tokens_per_minute"]) == (None, 90_000)
    again = command(
        "credential", "set", place, "openai", "--tokens-per-minute", "0", "--json", stdin="sk-another-key-123"
    )
    assert (again.json["tokens_per_minute"], again.json["revision"]) == (None, 2)
    wrong = command("credential", "limit", place, "openai", "--requests-per-minute", "-1")
    assert "argument_invalid" in wrong.err
    assert "not_found" in command("credential", "limit", place, "ollama", "--requests-per-minute", "1").err


@pytest.fixture
def elsewhere(command: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A workspace of another installation, which commands are for from now on."""
    with (
        temporary_home() as home,
        ready_services(Settings(home=home)) as services,
        Database(services.database_url, pool_size=2, keys=load_ring(home / "keys.json")) as database,
    ):
        monkeypatch.setenv("PROMPTCARDS_HOME", str(home))
        yield str(new_tenant(database, workspaces.local_owner(database, "Ada")).id)


def test_spend_rules_are_set_listed_and_removed(command: Command, tenant: Tenant, me: Actor) -> None:
    workspace, user = str(tenant.id), str(me.user_id)
    made = command("budget", "set", workspace, "50", "--span", "day", "--json").json
    assert (made["scope"], made["span"], made["limit_usd"], made["hard"]) == ("workspace", "day", "50", True)
    assert command("budget", "set", workspace, "0.5", "--user", user, "--soft").code == 0
    assert command("budget", "set", workspace, "2", "--model", "simulated:steady", "--span", "hour").code == 0
    again = command("budget", "set", workspace, "40", "--span", "day", "--json").json
    assert (again["id"], again["left_usd"]) == (made["id"], "40")
    listed = command("budget", "list", workspace, "--json").json
    assert {(rule["scope"], rule["subject"], rule["hard"]) for rule in listed} == {
        ("workspace", "", True), ("user", user, False), ("model", "simulated:steady", True),
    }  # fmt: skip
    for rule in listed:
        assert command("budget", "remove", workspace, rule["id"]).code == 0
    assert "no spend rules" in command("budget", "list", workspace).out


@pytest.mark.parametrize("wrong", [("much",), ("-1",), ("NaN",), ("1", "--user", "nobody"), ("1", "--span", "year")])
def test_a_spend_rule_that_makes_no_sense_has_one_message(
    command: Command, tenant: Tenant, wrong: tuple[str, ...]
) -> None:
    said = command("budget", "set", str(tenant.id), *wrong)
    assert said.code != 0
    assert said.err.strip()
    assert command("budget", "list", str(tenant.id), "--json").json == []


def test_the_sealing_key_is_replaced_and_the_old_one_dropped_when_nothing_needs_it(
    command: Command, elsewhere: str
) -> None:
    place = elsewhere
    command("credential", "set", place, "openai", stdin="sk-verysecretkey-1234567890")
    old = command("keys", "list", "--json").json["credentials"][0]
    assert "credential rotate" in command("keys", "rotate", "credentials").out
    assert "key_needed" in command("keys", "drop", "credentials", old).err
    assert command("credential", "rotate", "--json").json == {"done": 1, "unreadable": []}
    assert command("keys", "drop", "credentials", old).code == 0
    assert old not in command("keys", "list").out
    assert "key_unknown" in command("keys", "drop", "credentials", old).err
    sealing = command("keys", "list", "--json").json["audit"][0]
    assert command("keys", "rotate", "audit").code == 0
    assert "key_needed" in command("keys", "drop", "audit", sealing).err
    assert command("audit", "verify", place).code == 0


# -- audit and contract ----------------------------------------------------------------------------------------------


def test_a_trail_is_listed_verified_and_its_head_copied(command: Command, tenant: Tenant, tmp_path: Path) -> None:
    place, heads = str(tenant.id), tmp_path / "heads.jsonl"
    (entry,) = command("audit", "list", place, "--action", "workspace.created", "--json").json
    assert entry["seq"] == 1
    assert "workspace.created" in command("audit", "list", place).out
    assert "argument_invalid" in command("audit", "list", place, "--since", "yesterday").err
    assert command("audit", "head", "--out", str(heads)).code == 0
    assert "0 of" in command("audit", "head", "--out", str(heads)).out
    assert place in command("audit", "head", "--json").out
    (found,) = command("audit", "verify", place, "--head", str(heads), "--json").json
    assert (found["problem"], found["heads"]) == (None, 1)
    assert "audit_heads_invalid" in command("audit", "verify", "--head", str(tmp_path / "no.jsonl")).err


def test_a_trail_that_was_changed_has_an_exit_code_of_its_own(
    command: Command, database: Database, me: Actor, services: Services, tmp_path: Path
) -> None:
    cut, edited, heads = new_tenant(database, me), new_tenant(database, me), tmp_path / "heads.jsonl"
    command("audit", "head", "--out", str(heads))
    engine = make_engine(services.owner_database_url or "")
    with engine.begin() as connection:
        for statement in ("no force row level security", "disable trigger immutable"):
            connection.exec_driver_sql(f"alter table audit_log {statement}")
        connection.execute(sa.text("delete from audit_log where workspace_id = :w and seq > 1"), {"w": cut.id})
        connection.execute(
            sa.text("update audit_log set action = 'x' where workspace_id = :w and seq = 1"), {"w": edited.id}
        )
        for statement in ("force row level security", "enable trigger immutable"):
            connection.exec_driver_sql(f"alter table audit_log {statement}")
    engine.dispose()
    found = command("audit", "verify", str(edited.id))
    assert (found.code, "BROKEN" in found.out, "[hash]" in found.out) == (10, True, True)
    assert command("audit", "verify", str(cut.id)).code == 0
    found = command("audit", "verify", str(cut.id), "--head", str(heads))
    assert (found.code, "[cut]" in found.out) == (10, True)
    assert command("audit", "verify", "--head", str(heads)).code == 10


def test_the_contract_is_written(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "openapi.json"
    assert command("openapi", "--out", str(path)).code == 0
    assert json.loads(path.read_text("utf-8")) == command("openapi").json
    assert "file_unwritable" in command("openapi", "--out", str(tmp_path / "no" / "file")).err
