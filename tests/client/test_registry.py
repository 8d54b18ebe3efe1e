"""Prompts of a real server in programs: kept in memory and on disk, and told of when they change."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from promptcard_ext.client.api import WorkspaceApi
from promptcard_ext.client.discovery import Address
from promptcard_ext.client.session import Session
from promptcard_ext.core.card import Card, ModelSettings
from promptcard_ext.core.contract.api_tokens import ApiTokenSpec
from promptcard_ext.core.contract.cards import CardPatch
from promptcard_ext.core.errors import CardError, NotFound, StalePromptError, Unauthenticated, Unavailable
from promptcard_ext.local.prompt_files import PromptFiles
from promptcard_ext.registry.registry import MAX_STALE_S, Registry
from tests.client.conftest import Serve
from tests.support import Tenant, environment, free_port, wait_for

ONE = Card("triage", "Sort this: {{ text }}", settings=ModelSettings(temperature=0.2))
TWO = Card("triage", "Sort this carefully: {{ text }}")
FOREVER_S = 1e9


class Wall:
    """A clock on the wall that is set."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def api(api: WorkspaceApi) -> WorkspaceApi:
    """The workspace as somebody else changes it, with a card whose first version is in production."""
    api.cards.save(ONE)
    api.cards.save(TWO)
    api.labels.set("triage", "production", 1)
    return api


@pytest.fixture
def open_registry(tmp_path: Path) -> Iterator[Callable[..., Registry]]:
    """A function that makes a registry as a process would that starts now; all share one folder."""
    opened: list[tuple[Registry, Session]] = []

    def make(api: WorkspaceApi, at: Address | None = None, **more: object) -> Registry:
        session = Session(at or api.session.address)
        registry = Registry(session, api.workspace, PromptFiles(tmp_path / "prompts"), **more)  # type: ignore[arg-type]
        opened.append((registry, session))
        return registry

    yield make
    for registry, session in opened:
        registry.close()
        session.close()


def test_a_prompt_is_fetched_by_label_and_rendered(api: WorkspaceApi, open_registry: Callable[..., Registry]) -> None:
    prompt = open_registry(api).get("triage", label="production")
    assert (prompt.version, prompt.label, prompt.stale) == (1, "production", False)
    assert (prompt.content_hash, prompt.settings.temperature) == (ONE.content_hash, 0.2)
    assert [message.content for message in prompt.render(text="Broken!")] == ["Sort this: Broken!"]
    with pytest.raises(CardError):
        prompt.render()


def test_latest_and_numbers_are_prompts_of_their_own(api: WorkspaceApi, open_registry: Callable[..., Registry]) -> None:
    registry = open_registry(api)
    assert registry.get("triage").version == 2
    assert registry.get("triage", version=1).version == 1
    assert registry.get("triage", version=1).label is None
    assert registry.get("triage").version == 2


def test_a_label_that_is_moved_elsewhere_is_seen_within_a_second(
    api: WorkspaceApi, open_registry: Callable[..., Registry]
) -> None:
    registry = open_registry(api)
    followed(registry, api)

    def seen() -> int:
        return registry.get("triage", label="production", max_age_s=FOREVER_S).version

    for version in (2, 1, 2):
        api.labels.set("triage", "production", version, etag="*")
        wait_for(partial(lambda wanted: seen() == wanted, version), 1.0)


def followed(registry: Registry, api: WorkspaceApi) -> None:
    """Wait until changes are followed: then one that is made is seen, and the one before it was, too."""
    registry.get("triage", label="production", max_age_s=FOREVER_S)
    wait_for(lambda: registry._follower._heard)


def test_what_has_not_changed_is_not_asked_for_again(api: WorkspaceApi, open_registry: Callable[..., Registry]) -> None:
    registry = open_registry(api)
    followed(registry, api)
    other = Card("other", "Hello")
    api.cards.save(other)
    registry.get("other", max_age_s=FOREVER_S)
    wait_for(lambda: registry._clock() - registry._told_all > 2.0)
    first = registry.get("triage", label="production", max_age_s=FOREVER_S)
    registry.get("triage", max_age_s=FOREVER_S)

    api.cards.update("other", CardPatch(title="New"), etag="*")
    wait_for(lambda: registry.get("other", max_age_s=FOREVER_S).card.title == "New")
    assert registry.get("triage", label="production", max_age_s=FOREVER_S) is not first
    assert registry.get("triage", label="production", max_age_s=FOREVER_S).fetched_at == first.fetched_at


def test_a_prompt_is_asked_for_again_when_it_is_too_old(
    api: WorkspaceApi, open_registry: Callable[..., Registry]
) -> None:
    registry = open_registry(api)
    first = registry.get("triage", label="production")
    assert registry.get("triage", label="production", max_age_s=0).fetched_at > first.fetched_at


def test_many_threads_ask_once(api: WorkspaceApi, open_registry: Callable[..., Registry]) -> None:
    registry = open_registry(api)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(registry.get("triage").fetched_at)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 16
    assert len(set(found)) <= 2  # the follower's start may come in between


def test_what_is_gone_is_forgotten_at_once(
    api: WorkspaceApi, open_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    registry = open_registry(api)
    followed(registry, api)
    assert len(files(tmp_path)) == 1
    api.labels.delete("triage", "production", etag="*")
    wait_for(lambda: is_gone(registry), 1.0)
    assert files(tmp_path) == []


def is_gone(registry: Registry) -> bool:
    try:
        registry.get("triage", label="production", max_age_s=FOREVER_S)
    except NotFound:
        return True
    return False


def files(folder: Path) -> list[Path]:
    return sorted((folder / "prompts").glob("*"))


def test_files_are_for_their_owner_only(
    api: WorkspaceApi, open_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    open_registry(api).get("triage")
    (path,) = files(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_prompt_that_cannot_be_kept_is_used_all_the_same(
    api: WorkspaceApi, open_registry: Callable[..., Registry], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "prompts").write_text("not a folder")
    assert open_registry(api).get("triage").version == 2
    assert "not kept for later" in caplog.text


def test_a_damaged_file_is_as_good_as_none(
    tenant: Tenant, start_server: Callable[..., Serve], open_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    server = start_server(free_port(), "--no-worker")
    api = filled(server.wait_ready(), tenant)
    open_registry(api).get("triage")
    server.kill_all()
    assert open_registry(api).get("triage").stale
    (path,) = files(tmp_path)
    whole = path.read_text()
    changed = whole.replace("carefully", "carelessly")
    for damaged in ("", "{", '{"place":[],"prompt":{},"fetched_at":0}', whole[:-40], changed, "\ud800"):
        path.write_text(damaged, errors="surrogatepass")
        with pytest.raises(Unavailable) as problem:
            open_registry(api).get("triage")
        assert problem.value.code == "server_unreachable"
    path.write_text(whole)
    assert open_registry(api).get("triage").stale


def filled(at: Address, tenant: Tenant) -> WorkspaceApi:
    session = Session(at)
    api = WorkspaceApi(session, tenant.slug)
    api.cards.save(ONE)
    api.cards.save(TWO)
    api.labels.set("triage", "production", 1, etag="*")
    session.close()
    return api


def test_while_the_server_is_away_prompts_are_used_until_they_are_too_old(
    tenant: Tenant,
    start_server: Callable[..., Serve],
    open_registry: Callable[..., Registry],
) -> None:
    port = free_port()
    server = start_server(port, "--no-worker")
    api = filled(server.wait_ready(), tenant)
    wall = Wall()
    running = open_registry(api, wall=wall)
    running.get("triage", label="production")
    server.kill_all()

    def ask(registry: Registry) -> tuple[int, bool]:
        prompt = registry.get("triage", label="production", max_age_s=0)
        return prompt.version, prompt.stale

    wall.now += MAX_STALE_S
    assert ask(running) == (1, True)
    fresh = open_registry(api, wall=wall)
    assert ask(fresh) == (1, True)
    with pytest.raises(Unavailable):
        fresh.get("triage")  # nobody ever asked for that one
    wall.now += 1
    for registry in (running, fresh):
        with pytest.raises(StalePromptError) as problem:
            ask(registry)
        assert problem.value.code == "prompt_stale"
    assert fresh.get("triage", label="production", max_stale_s=FOREVER_S).version == 1

    start_server(port, "--no-worker").wait_ready()
    wait_for(lambda: open_registry(api, wall=wall).get("triage", label="production").stale is False)


def test_who_is_not_let_in_any_more_gets_nothing_from_the_files(
    api: WorkspaceApi, open_registry: Callable[..., Registry]
) -> None:
    made = api.tokens.create(ApiTokenSpec("program"))
    at = Address(api.session.address.url, made.token)
    registry = open_registry(api, at)
    assert registry.get("triage").version == 2
    api.tokens.revoke(made.api_token.id)

    def refused() -> bool:
        try:
            registry.get("triage", max_age_s=0)
        except Unauthenticated:
            return True
        return False

    wait_for(refused, 10)
    with pytest.raises(Unauthenticated):
        open_registry(api, at).get("triage")


PROGRAM = """
import os, promptcard_ext as pc
prompt = pc.get("triage", label="production")
print(prompt.version, prompt.stale, prompt.render(text="x")[0].content, flush=True)
if os.fork() == 0:
    print(pc.get("triage").version, flush=True)
    os._exit(0)
os.wait()
"""


def test_a_program_finds_server_and_workspace_by_its_token(api: WorkspaceApi, tmp_path: Path) -> None:
    token = api.tokens.create(ApiTokenSpec("program", scopes=["prompt:read"])).token
    more = {"PROMPTCARDS_URL": api.session.address.url, "PROMPTCARDS_TOKEN": token}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment(tmp_path / "home", **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["1 False Sort this: x", "2"]
    assert os.listdir(tmp_path / "home" / "prompts")  # noqa: PTH208
