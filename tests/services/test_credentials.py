"""Provider keys of a workspace: who may do what with them, where they are sent, and where they never appear."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec import UNSET
from redis import Redis

from promptcard_ext.core import wire
from promptcard_ext.core.contract.credentials import (
    Credential,
    CredentialPatch,
    CredentialQuery,
    NewCredential,
    NewNetworkRule,
)
from promptcard_ext.core.contract.runs import FINAL
from promptcard_ext.core.errors import CardError, Conflict, Denied, NotFound, PromptCardError, ProviderError, SetupError
from promptcard_ext.providers import Providers
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database, make_engine
from server_ext.db.tables import audit_log, provider_credentials
from server_ext.embedded import Services
from server_ext.services import connections, credentials, network_rules
from server_ext.services.precondition import etag_of, if_match, unconditional
from server_ext.settings import Settings
from tests.conftest import NewActor, StartWorker
from tests.run_async import run_async
from tests.stub_server import Behaviour, Stub
from tests.support import Tenant, wait_for

KEY = "sk-canary-7f3a91c05d-of-the-test"
OTHER_KEY = "sk-another-canary-55aa-of-the-test"
table = provider_credentials


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as server:
        yield server


def save(tenant: Tenant, **changes: Any) -> Credential:
    with tenant.scope() as scope:
        return credentials.create(scope, NewCredential(**{"provider": "openai", "key": KEY, **changes}))


def allow(tenant: Tenant, stub: Stub) -> None:
    with tenant.scope() as scope:
        network_rules.create(scope, NewNetworkRule("127.0.0.1", stub.port), "*")


def change(tenant: Tenant, saved: Credential, **changes: Any) -> Credential:
    with tenant.scope() as scope:
        return credentials.update(scope, str(saved.id), CredentialPatch(**changes), unconditional)


def connected(tenant: Tenant, wanted: str, *, shared_keys: bool = False) -> dict[str, Any]:
    with tenant.scope() as scope:
        return connections.load(scope, shared_keys=shared_keys).options(wanted)


def audited(tenant: Tenant) -> list[tuple[str, dict[str, Any]]]:
    query = sa.select(audit_log.c.action, audit_log.c.detail).order_by(audit_log.c.seq)
    with tenant.scope() as scope:
        return [(row.action, row.detail) for row in scope.connection.execute(query)]


def as_role(tenant: Tenant, new_actor: NewActor, role: str) -> Tenant:
    return Tenant(tenant.database, new_actor(tenant, role), tenant.id, tenant.slug)


# -- saving and showing ----------------------------------------------------------------------------------------------


def test_a_credential_is_shown_with_the_end_of_its_key(tenant: Tenant) -> None:
    saved = save(tenant)
    assert (saved.provider, saved.name, saved.base_url) == ("openai", "default", "https://api.openai.com/v1")
    assert (saved.has_key, saved.last_four, saved.revision, saved.enabled) == (True, KEY[-4:], 1, True)
    with tenant.scope() as scope:
        assert credentials.get(scope, str(saved.id)) == saved
        assert credentials.list_credentials(scope).items == [saved]


def test_a_short_key_does_not_show_its_end(tenant: Tenant) -> None:
    assert save(tenant, key="local-key").last_four is None


@pytest.mark.parametrize("key", ["", "   ", "sk-\u00fc", "sk-\x00", "sk-a\nb", "\n"])
def test_what_is_no_key_is_refused(tenant: Tenant, key: str) -> None:
    with pytest.raises(CardError) as caught:
        save(tenant, key=key)
    assert caught.value.code == "credential_invalid"


def test_a_name_is_taken_once_for_each_provider(tenant: Tenant, stub: Stub) -> None:
    allow(tenant, stub)
    save(tenant, name="eu")
    save(tenant, provider="ollama", name="eu", base_url=stub.url)
    other = save(tenant, name="us")
    with pytest.raises(CardError) as twice:
        save(tenant, name="eu")
    with pytest.raises(CardError) as renamed:
        change(tenant, other, name="eu")
    assert twice.value.code == renamed.value.code == "credential_exists"
    with tenant.scope() as scope:
        assert len(credentials.list_credentials(scope).items) == 3


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"provider": "nope"}, "unknown_provider"),
        ({"provider": "simulated"}, "credential_invalid"),
        ({"provider": "ollama"}, "credential_invalid"),
        ({"name": "eu\n"}, "credential_invalid"),
        ({"base_url": "http://127.0.0.1:11434"}, "address_refused"),
        ({"base_url": "https://user:word@api.openai.com/v1"}, "address_refused"),
        ({"base_url": "https://169.254.169.254/v1"}, "address_refused"),
    ],
)
def test_what_cannot_be_used_is_refused_when_it_is_saved(tenant: Tenant, changes: dict[str, Any], code: str) -> None:
    with pytest.raises(PromptCardError) as caught:
        save(tenant, **changes)
    assert caught.value.code == code
    with tenant.scope() as scope:
        assert credentials.list_credentials(scope).items == []


def test_lists_go_page_by_page(tenant: Tenant) -> None:
    for name in ("d", "a", "c", "b"):
        save(tenant, name=name)
    seen, cursor = list[str](), None
    while True:
        with tenant.scope() as scope:
            page = credentials.list_credentials(scope, CredentialQuery(limit=3, cursor=cursor))
        seen += [one.name for one in page.items]
        if (cursor := page.next) is None:
            break
    assert seen == ["a", "b", "c", "d"]


# -- who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "reads", "writes"), [("admin", True, False), ("member", False, False)])
def test_owners_write_admins_read_others_do_neither(
    tenant: Tenant, new_actor: NewActor, role: str, reads: bool, writes: bool
) -> None:
    saved = save(tenant)
    other = as_role(tenant, new_actor, role)
    with other.scope() as scope:
        for read in (
            lambda: credentials.list_credentials(scope),
            lambda: credentials.get(scope, str(saved.id)),
            lambda: network_rules.list_rules(scope),
        ):
            if reads:
                read()
            else:
                with pytest.raises(Denied):
                    read()
        for write in (
            lambda: credentials.create(scope, NewCredential("openai", "x")),
            lambda: credentials.update(scope, str(saved.id), CredentialPatch(name="x"), unconditional),
            lambda: credentials.delete(scope, str(saved.id), unconditional),
            lambda: connections.check(scope, str(saved.id)),
            lambda: network_rules.create(scope, NewNetworkRule("127.0.0.1", 1)),
        ):
            with pytest.raises(Denied):
                write()


def test_another_workspace_sees_nothing(tenant: Tenant, stranger: Tenant) -> None:
    saved = save(tenant)
    with stranger.scope() as scope:
        assert credentials.list_credentials(scope).items == []
        for use in (
            lambda: credentials.get(scope, str(saved.id)),
            lambda: credentials.update(scope, str(saved.id), CredentialPatch(name="x"), unconditional),
            lambda: credentials.delete(scope, str(saved.id), unconditional),
            lambda: connections.check(scope, str(saved.id)),
        ):
            with pytest.raises(NotFound):
                use()
    with pytest.raises(ProviderError, match="no credential"):
        connected(stranger, "openai")


def test_a_change_is_made_to_the_state_that_was_read(tenant: Tenant) -> None:
    saved = save(tenant)
    tag = f'"{etag_of(saved)}"'
    with tenant.scope() as scope:
        credentials.update(scope, str(saved.id), CredentialPatch(enabled=False), if_match(tag))
    with tenant.scope() as scope, pytest.raises(Conflict) as late:
        credentials.update(
            scope, str(saved.id), CredentialPatch(key=OTHER_KEY), if_match(tag, CredentialPatch(key=KEY))
        )
    assert KEY not in repr(late.value.diff) + repr(late.value.current)


def test_changes_are_audited_without_the_key(tenant: Tenant) -> None:
    saved = save(tenant)
    change(tenant, saved, base_url="https://llm.example.com/v1")
    with tenant.scope() as scope:
        credentials.delete(scope, str(saved.id), unconditional)
    entries = [entry for entry in audited(tenant) if entry[0].startswith("credential")]
    assert [action for action, _ in entries] == ["credential.created", "credential.updated", "credential.deleted"]
    assert entries[1][1]["key"] == "dropped"
    assert (entries[1][1]["origin_before"], entries[1][1]["origin"]) == (
        "https://api.openai.com:443",
        "https://llm.example.com:443",
    )


# -- a key belongs to scheme, host and port ---------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["https://llm.example.com/v1", "https://api.openai.com:80/v1"])
def test_another_host_or_port_does_not_get_the_key(tenant: Tenant, there: str) -> None:
    saved = save(tenant)
    moved = change(tenant, saved, base_url=there)
    assert (moved.has_key, moved.last_four, moved.revision) == (False, None, 2)
    assert connected(tenant, "openai")["api_key"] == ""
    back = change(tenant, saved, base_url="https://api.openai.com/v1")
    assert not back.has_key


def test_another_path_name_or_state_keeps_the_key(tenant: Tenant) -> None:
    saved = save(tenant)
    changed = change(tenant, saved, base_url="https://API.openai.com:443/v2/", name="main", enabled=True)
    assert (changed.has_key, changed.revision, changed.base_url) == (True, 1, "https://api.openai.com/v2")
    assert connected(tenant, "openai")["api_key"] == KEY


def test_a_key_is_changed_moved_with_its_host_and_taken_away(tenant: Tenant) -> None:
    saved = save(tenant)
    assert change(tenant, saved, key=OTHER_KEY).revision == 2
    assert connected(tenant, "openai")["api_key"] == OTHER_KEY
    assert change(tenant, saved, key=KEY, base_url="https://llm.example.com/v1").has_key
    assert connected(tenant, "openai")["api_key"] == KEY
    assert not change(tenant, saved, key=None).has_key
    assert change(tenant, saved, key=UNSET).revision == 4


def test_a_stored_key_is_never_sent_to_a_changed_host(tenant: Tenant, stub: Stub) -> None:
    with Stub() as evil:
        allow(tenant, stub)
        allow(tenant, evil)
        saved = save(tenant, base_url=f"{stub.url}/v1")
        with tenant.scope() as scope:
            assert connections.check(scope, str(saved.id)).ok
        change(tenant, saved, base_url=f"{evil.url}/v1")
        with tenant.scope() as scope:
            assert connections.check(scope, str(saved.id)).ok
        assert [call.headers.get("authorization") for call in stub.calls] == [f"Bearer {KEY}"]
        assert [call.headers.get("authorization") for call in evil.calls] == [None]


# -- rows that somebody changed in the database -----------------------------------------------------------------------


def tampered(tenant: Tenant, saved: Credential, **values: Any) -> str:
    """Change a row behind our back and return the code of what opening it ends with."""
    with tenant.scope() as scope:
        scope.connection.execute(sa.update(table).where(table.c.id == saved.id).values(**values))
    with pytest.raises(ProviderError) as caught:
        connected(tenant, f"openai/{saved.name}")
    return caught.value.code


def stored(tenant: Tenant, saved: Credential) -> Any:
    with tenant.scope() as scope:
        return scope.connection.execute(sa.select(table).where(table.c.id == saved.id)).one()


def test_the_key_of_another_row_does_not_open(tenant: Tenant, stranger: Tenant) -> None:
    mine, same = save(tenant, name="one"), save(tenant, name="two", key=OTHER_KEY)
    theirs = save(stranger)
    for other in (stored(tenant, same), stored(stranger, theirs)):
        assert tampered(tenant, mine, sealed=other.sealed, key_id=other.key_id) == "credential_unreadable"


def test_an_older_key_put_back_does_not_open(tenant: Tenant) -> None:
    saved = save(tenant)
    before = stored(tenant, saved)
    change(tenant, saved, key=OTHER_KEY)
    assert tampered(tenant, saved, sealed=before.sealed, key_id=before.key_id) == "credential_unreadable"


def test_a_row_that_was_pointed_elsewhere_in_the_database_does_not_open(tenant: Tenant) -> None:
    assert tampered(tenant, save(tenant), base_url="https://evil.example.com/v1") == "credential_unreadable"


@pytest.mark.parametrize("place", [0, 11, 12, -1])
def test_a_changed_byte_is_noticed(tenant: Tenant, place: int) -> None:
    saved = save(tenant)
    changed = bytearray(stored(tenant, saved).sealed)
    changed[place] ^= 1
    assert tampered(tenant, saved, sealed=bytes(changed)) == "credential_unreadable"


# -- which one a run uses ---------------------------------------------------------------------------------------------


def test_a_reference_finds_its_credential(stranger: Tenant) -> None:
    save(stranger, name="eu", key="key-of-eu")
    assert connected(stranger, "openai")["api_key"] == "key-of-eu"  # the only one
    save(stranger, name="us", key="key-of-us")
    with pytest.raises(ProviderError, match="several") as several:
        connected(stranger, "openai")
    assert "openai/eu, openai/us" in several.value.hint
    save(stranger, key="key-of-default")
    assert connected(stranger, "openai")["api_key"] == "key-of-default"
    assert connected(stranger, "openai/us")["api_key"] == "key-of-us"
    for wanted in ("openai/asia", "ollama", "ollama/eu"):
        with pytest.raises(ProviderError) as caught:
            connected(stranger, wanted)
        assert caught.value.code == "credential_missing"
    assert connected(stranger, "simulated") == {}


def test_a_credential_that_is_switched_off_is_not_replaced_by_the_environment(tenant: Tenant) -> None:
    change(tenant, save(tenant), enabled=False)
    with pytest.raises(ProviderError) as caught:
        connected(tenant, "openai", shared_keys=True)
    assert caught.value.code == "credential_missing"


def test_keys_of_the_environment_are_the_local_owners_unless_they_are_shared(tenant: Tenant, stranger: Tenant) -> None:
    assert connected(tenant, "openai") == connected(tenant, "ollama") == {}
    assert connected(stranger, "openai", shared_keys=True) == {}
    with pytest.raises(ProviderError) as caught:
        connected(stranger, "openai")
    assert caught.value.code == "credential_missing"


def test_the_operator_says_that_keys_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, shared in (("1", True), ("0", False), ("", False), ("yes", False)):
        monkeypatch.setenv("PROMPTCARDS_SHARED_PROVIDER_KEYS", text)
        assert Settings.from_environment().shared_provider_keys is shared


def test_a_guest_of_the_local_owner_does_not_get_the_keys_of_the_environment(
    tenant: Tenant, new_actor: NewActor
) -> None:
    with pytest.raises(ProviderError) as caught:
        connected(as_role(tenant, new_actor, "member"), "openai")
    assert caught.value.code == "credential_missing"


def test_a_credential_without_a_key_does_not_borrow_that_of_the_environment(
    tenant: Tenant, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    allow(tenant, stub)
    saved = save(tenant, key=None, base_url=f"{stub.url}/v1")
    with tenant.scope() as scope:
        assert connections.check(scope, str(saved.id)).ok
    assert "authorization" not in stub.calls[0].headers


# -- networks ---------------------------------------------------------------------------------------------------------


def test_an_owner_allows_a_private_host_and_takes_it_back(tenant: Tenant, stub: Stub) -> None:
    with tenant.scope() as scope:
        rule = network_rules.create(scope, NewNetworkRule("127.0.0.1", stub.port, "my Ollama"))
        assert network_rules.create(scope, NewNetworkRule("127.0.0.1", stub.port)) == rule
        assert network_rules.list_rules(scope).items == [network_rules.get(scope, str(rule.id))] == [rule]
    saved = save(tenant, provider="ollama", key=None, base_url=stub.url)
    with tenant.scope() as scope:
        found = connections.check(scope, str(saved.id))
        assert (found.ok, found.models) == (True, ["stub-a:1b", "stub-b:1b"])
        network_rules.delete(scope, str(rule.id))
    with tenant.scope() as scope:
        refused = connections.check(scope, str(saved.id))
    assert (refused.ok, refused.code) == (False, "address_refused")
    assert stub.connections == 1
    actions = [action for action, _ in audited(tenant)]
    assert actions.count("network_rule.created") == actions.count("network_rule.deleted") == 1


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "::ffff:169.254.169.254"])
def test_a_rule_that_could_allow_nothing_is_refused(tenant: Tenant, host: str) -> None:
    with tenant.scope() as scope, pytest.raises(CardError) as caught:
        network_rules.create(scope, NewNetworkRule(host, 80))
    assert caught.value.code == "rule_useless"


@pytest.mark.parametrize("host", ["127.1", "https://x", "a b", "x.", "user@x", "x/y", "0x7f000001"])
def test_a_rule_needs_a_host_in_its_usual_form(tenant: Tenant, host: str) -> None:
    with tenant.scope() as scope, pytest.raises(ProviderError) as caught:
        network_rules.create(scope, NewNetworkRule(host, 80))
    assert caught.value.code == "address_refused"


@pytest.mark.parametrize(
    ("offered", "fits"),
    [
        ("*", True),
        ("ollama.lan:11434", True),
        ("10.0.0.1:80, OLLAMA.lan:11434", True),
        ("", False),
        ("ollama.lan:11435", False),
        ("lan:11434", False),
        ("x.ollama.lan:11434", False),
    ],
)
def test_owners_allow_what_the_operator_offers(stranger: Tenant, tenant: Tenant, offered: str, fits: bool) -> None:
    wanted = NewNetworkRule("ollama.lan", 11434)
    with stranger.scope() as scope:
        if fits:
            assert network_rules.create(scope, wanted, offered).host == "ollama.lan"
        else:
            with pytest.raises(CardError) as caught:
                network_rules.create(scope, wanted, offered)
            assert caught.value.code == "rule_not_offered"
    with tenant.scope() as scope:
        assert network_rules.create(scope, wanted, offered).port == 11434  # the local owner is the operator


def test_a_list_of_the_operators_that_cannot_be_read_is_said_so(stranger: Tenant) -> None:
    for offered in ("ollama.lan", "ollama.lan:x", "127.1:80", "a:1,,http://b:2", ":80"):
        with stranger.scope() as scope, pytest.raises(SetupError) as caught:
            network_rules.create(scope, NewNetworkRule("ollama.lan", 11434), offered)
        assert caught.value.code == "private_hosts_invalid"


def test_rules_of_one_workspace_allow_nothing_in_another(tenant: Tenant, stranger: Tenant, stub: Stub) -> None:
    allow(tenant, stub)
    with pytest.raises(ProviderError) as caught:
        save(stranger, base_url=f"{stub.url}/v1")
    assert caught.value.code == "address_refused"


# -- in a run ---------------------------------------------------------------------------------------------------------


def test_a_worker_uses_the_workspaces_key_and_notes_when(
    stranger: Tenant, stub: Stub, start_worker: StartWorker
) -> None:
    allow(stranger, stub)
    eu = save(stranger, name="eu", base_url=f"{stub.url}/v1")
    us = save(stranger, name="us", base_url=f"{stub.url}/v1", key=OTHER_KEY)
    run_id = stranger.start(["openai/eu:some-model"])
    start_worker()
    wait_for(lambda: stranger.status(run_id) in FINAL)
    assert stranger.status(run_id) == "completed"
    assert {call.headers["authorization"] for call in stub.calls} == {f"Bearer {KEY}"}
    assert {call.body["model"] for call in stub.calls} == {"some-model"}
    wait_for(lambda: stored(stranger, eu).last_used_at is not None)
    assert stored(stranger, us).last_used_at is None


def test_a_run_without_a_credential_fails_with_a_reason(stranger: Tenant, start_worker: StartWorker) -> None:
    run_id = stranger.start(["openai:some-model"])
    start_worker()
    wait_for(lambda: stranger.status(run_id) in FINAL)
    assert stranger.status(run_id) == "failed"


def test_one_provider_object_serves_a_connection(stranger: Tenant) -> None:
    save(stranger, name="eu")
    with stranger.scope() as scope:
        loaded = connections.load(scope, shared_keys=False)
    providers = Providers(loaded.options)
    assert providers("openai/eu:a") is providers("openai/eu:b")
    assert len(loaded.used) == 1
    run_async(providers.close())


# -- the canary -------------------------------------------------------------------------------------------------------


def test_the_key_stands_nowhere(
    tenant: Tenant,
    services: Services,
    database: Database,
    redis: Redis,
    stub: Stub,
    start_worker: StartWorker,
    me: Actor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    allow(tenant, stub)
    saved = save(tenant, base_url=f"{stub.url}/v1")
    # A server that repeats the key in its error and in its answer.
    stub.rule = lambda call: _echoing(call.headers.get("authorization", ""))
    answers: list[Any] = [saved]
    with tenant.scope() as scope:
        answers += [credentials.list_credentials(scope), connections.check(scope, str(saved.id))]
    run_id = tenant.start(["openai:m"])
    worker = start_worker()
    wait_for(lambda: tenant.status(run_id) in FINAL)
    answers += [tenant.run(run_id), NewCredential("openai", key=KEY), CredentialPatch(key=KEY)]
    shown = wire.encode(answers[:-2]).decode() + repr(answers)
    everything = {"answers": shown, "log": caplog.text, "worker": worker.output, "redis": _dump_of(redis)}
    everything |= _dump_of_tables(services)
    assert len(everything) > 20
    assert [place for place, text in everything.items() if KEY in text or KEY[3:20] in text] == []
    assert stub.calls[0].headers["authorization"] == f"Bearer {KEY}"


def _echoing(authorization: str) -> Behaviour:
    return Behaviour(status=401, body=f'{{"error": {{"message": "bad key {authorization}"}}}}'.encode())


def _dump_of_tables(services: Services) -> dict[str, str]:
    """Return every table as text, as a backup sees it; bytes both as they are and in hexadecimal digits."""
    engine = make_engine(services.backup_database_url or "")
    found: dict[str, str] = {}
    try:
        with engine.connect() as connection:
            names = connection.scalars(
                sa.text("select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'public'")
            ).all()
            for name in names:
                rows = connection.scalars(sa.text(f"select t::text from {name} as t")).all()
                text = "\n".join(rows)
                # A bytea is written as \x and hexadecimal digits; what they spell is looked at as well.
                decoded = [
                    bytes.fromhex(digits).decode("latin-1") for digits in re.findall(r"\\x((?:[0-9a-f]{2})+)", text)
                ]
                found[name] = "\n".join([text, *decoded])
    finally:
        engine.dispose()
    return found


def _dump_of(redis: Redis) -> str:
    return "\n".join(repr(redis.dump(key)) + repr(key) for key in redis.scan_iter())
