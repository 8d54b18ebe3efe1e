"""What the registry does with answers that a healthy server does not give."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from promptcard_ext.client.discovery import Address
from promptcard_ext.client.session import Session
from promptcard_ext.core import errors
from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.cards import RegisteredCard
from promptcard_ext.local.prompt_files import PromptFiles
from promptcard_ext.registry import registry as registry_module
from promptcard_ext.registry.registry import Registry

CARD = Card("triage", "Sort: {{ text }}", version=1)
GOOD = msgspec.json.encode(RegisteredCard(CARD, 1, "production", CARD.content_hash))


class Moody(ThreadingHTTPServer):
    """A server that answers prompts as it is told, and tells of no changes."""

    daemon_threads = True
    status, body = 200, GOOD
    asked = 0

    @staticmethod
    def meanwhile() -> None:
        """Happen while a request is on its way."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def say(self, status: int, code: str = "some_code") -> None:
        """Answer prompts with an error from now on."""
        self.status, self.body = status, msgspec.json.encode({"code": code, "message": "m"})


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Moody

    def do_GET(self) -> None:
        server, status, body = self.server, 503, b'{"code": "changes_unavailable", "message": "m"}'
        if "/fetch" in self.path:
            server.asked += 1
            status, body = server.status, server.body
            server.meanwhile()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class Clock:
    """A clock that is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[Moody]:
    server = Moody()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(server: Moody, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setattr("promptcard_ext.client.session.time.sleep", lambda seconds: None)
    session = Session(Address(server.url, "t0ken"))
    registry = Registry(session, "w", PromptFiles(tmp_path / "prompts"), clock=clock)
    yield registry
    registry.close()
    session.close()


def ask(registry: Registry, max_age_s: float = 0.0) -> bool:
    """Return whether what is got is stale."""
    return registry.get("triage", label="production", max_age_s=max_age_s).stale


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 507])
def test_errors_of_the_server_itself_do_not_matter_to_who_has_the_prompt(
    server: Moody, registry: Registry, clock: Clock, status: int
) -> None:
    assert not ask(registry)
    server.say(status)
    clock.now += 1
    assert ask(registry)
    asked = server.asked
    assert ask(registry)
    assert server.asked == asked  # not again with every call
    server.status, server.body = 200, GOOD
    clock.now += registry_module.AGAIN_AFTER_S
    assert not ask(registry)


def test_a_page_of_something_in_between_does_not_take_the_prompt_away(
    server: Moody, registry: Registry, clock: Clock
) -> None:
    assert not ask(registry)
    for server.status, server.body in ((404, b"<html>"), (200, b"<html>"), (302, b"")):
        clock.now += 100
        assert ask(registry)


@pytest.mark.parametrize(("status", "kind"), [(404, errors.NotFound), (410, errors.NotFound), (403, errors.Denied)])
def test_what_is_gone_or_not_ours_any_more_is_not_used_again(
    server: Moody, registry: Registry, clock: Clock, tmp_path: Path, status: int, kind: type[errors.PromptCardError]
) -> None:
    ask(registry)
    assert list((tmp_path / "prompts").iterdir())
    server.say(status)
    clock.now += 1
    with pytest.raises(kind):
        ask(registry)
    assert list((tmp_path / "prompts").iterdir()) == []
    server.say(500)
    with pytest.raises(errors.PromptCardError) as problem:
        ask(registry)
    assert problem.value.code == "some_code"


def test_a_change_that_is_told_while_the_prompt_is_on_its_way_is_not_lost(
    server: Moody, registry: Registry, clock: Clock
) -> None:
    def change(key: str) -> Callable[[], None]:
        def tell() -> None:
            clock.now += 1
            registry._changed(key)

        return tell

    server.meanwhile = change("triage/production")  # type: ignore[method-assign]
    ask(registry)
    server.meanwhile = change("triage/other")  # type: ignore[method-assign]
    clock.now += 1
    ask(registry, max_age_s=1000)
    assert server.asked == 2
    clock.now += registry_module.SETTLE_S  # another server may not have heard of the change yet
    ask(registry, max_age_s=1000)
    assert server.asked == 3
    clock.now += 900
    ask(registry, max_age_s=1000)
    assert server.asked == 3


def test_what_is_asked_for_without_end_does_not_fill_the_memory(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "KEPT", 5)
    monkeypatch.setattr(registry_module, "MOST_TOLD", 5)
    for number in range(50):
        registry.get(f"triage-{number}")
    assert len(registry._held) <= 5
    assert len(registry._told) <= 7
