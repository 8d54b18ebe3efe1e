"""The extension's own life: starting, refusing to start, stopping."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from promptcard_ext.core.errors import SetupError, Unavailable
from server_ext import app as app_module
from server_ext.app import PromptCards
from server_ext.runtime import is_loopback
from tests.api.conftest import Api
from tests.support import Tenant, wait_for


def our_threads(earlier: Iterable[threading.Thread] = ()) -> set[str]:
    return {one.name for one in threading.enumerate() if one.name.startswith("promptcards") and one not in earlier}


async def test_requests_that_come_too_early_wait(
    unstarted: PromptCards, api_of: Callable[[Tenant], Api], tenant: Tenant
) -> None:
    early = asyncio.create_task(api_of(tenant).ask("GET", "health"))
    done, _ = await asyncio.wait([early], timeout=0.3)
    assert not done
    await unstarted._start_jupyter_server_extension(unstarted.serverapp)
    answer = await early
    assert (answer.status, answer.json["status"], answer.json["worker"]) == (200, "ok", "none")


async def test_a_server_that_takes_too_long_to_start_says_so(
    unstarted: PromptCards, api_of: Callable[[Tenant], Api], tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server_ext.api.base.READY_TIMEOUT_S", 0.05)
    answer = await api_of(tenant).ask("GET", "health")
    assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "starting", "2")


@pytest.mark.parametrize(
    ("problem", "code"),
    [(SetupError("The disk is full.", code="disk_full_of_cats"), "disk_full_of_cats"), (KeyError("x"), "setup_error")],
)
async def test_a_start_that_fails_is_told_to_whoever_asks(
    unstarted: PromptCards,
    api_of: Callable[[Tenant], Api],
    tenant: Tenant,
    monkeypatch: pytest.MonkeyPatch,
    problem: Exception,
    code: str,
) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise problem

    monkeypatch.setattr(app_module.Runtime, "start", broken)
    await unstarted._start_jupyter_server_extension(unstarted.serverapp)
    answer = await api_of(tenant).ask("GET", "health")
    assert (answer.status, answer.json["code"]) == (503, code)


class TestPublicAddress:
    @pytest.fixture
    def server_config(self) -> dict[str, Any]:
        return {"ip": "0.0.0.0"}

    async def test_whom_jupyter_lets_in_is_nobody_yet(self, api: Api) -> None:
        answer = await api.ask("GET", "workspaces")
        assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
        assert "auth/login" in answer.json["hint"]


class TestPublicAddressOnPurpose:
    @pytest.fixture
    def server_config(self) -> dict[str, Any]:
        return {"ip": "0.0.0.0"}

    @pytest.fixture
    def extension_config(self) -> dict[str, Any]:
        return {"start_worker": False, "identity_mode": "local"}

    async def test_local_mode_works_where_the_operator_says_so(self, api: Api) -> None:
        assert (await api.ask("GET", "workspaces")).status == 200


@pytest.mark.parametrize("ip", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_this_machine_only_is_local(ip: str) -> None:
    assert is_loopback(ip)


@pytest.mark.parametrize("ip", ["", "0.0.0.0", "::", "192.168.1.7", "127.example.com", "localhost.example.com", "box"])
def test_what_others_may_reach_is_not_local(ip: str) -> None:
    assert not is_loopback(ip)


class TestHub:
    @pytest.fixture(autouse=True)
    def hub(self, _session_services: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/")

    async def test_a_hub_users_server_is_refused(self, api: Api) -> None:
        answer = await api.ask("GET", "workspaces")
        assert (answer.status, answer.json["code"]) == (503, "hub_not_supported")


class TestHubModeWithoutAHub:
    @pytest.fixture
    def extension_config(self) -> dict[str, Any]:
        return {"start_worker": False, "identity_mode": "hub"}

    async def test_it_is_refused(self, api: Api) -> None:
        answer = await api.ask("GET", "workspaces")
        assert (answer.status, answer.json["code"]) == (503, "hub_service_missing")


class TestServiceOfAHubWithMoreInIt:
    @pytest.fixture(autouse=True)
    def service(self, _session_services: None, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("NAME", "PREFIX", "URL"):
            monkeypatch.setenv(f"JUPYTERHUB_SERVICE_{name}", "http://127.0.0.1:1/")
        for name in ("URL", "TOKEN"):
            monkeypatch.setenv(f"JUPYTERHUB_API_{name}", "http://127.0.0.1:1/hub/api")

    async def test_it_is_refused(self, api: Api) -> None:
        answer = await api.ask("GET", "workspaces")
        assert (answer.status, answer.json["code"]) == (503, "hub_service_missing")


class TestWorker:
    @pytest.fixture
    def extension_config(self) -> dict[str, Any]:
        return {"start_worker": True}

    async def test_a_worker_lives_and_ends_with_the_server(self, api: Api, extension: PromptCards) -> None:
        import psutil

        worker = (await extension.ready(60)).worker
        assert worker is not None
        assert (await api.ask("GET", "health")).json["worker"] == "running"
        first = worker.pid
        psutil.Process(first).kill()
        await asyncio.to_thread(wait_for, lambda: worker.pid != first and worker.alive)

        last = worker.pid
        await extension.stop_extension()
        assert not psutil.pid_exists(last)
        answer = await api.ask("GET", "health")
        assert (answer.status, answer.json["code"]) == (503, "stopping")


@pytest.fixture
def earlier() -> set[threading.Thread]:
    """The threads that were there before the server: of tests before, in this process."""
    return set(threading.enumerate())


async def test_stopping_leaves_no_thread_and_no_watcher_behind(
    earlier: set[threading.Thread], api: Api, extension: PromptCards, tenant: Tenant, jp_ws_fetch: Any
) -> None:
    await extension.ready(30)
    path = f"promptcards/api/v1/workspaces/{tenant.slug}/runs/{tenant.start()}/events".split("/")
    socket = await jp_ws_fetch(*path)
    assert {"promptcards-relay", "promptcards-live"} <= our_threads()

    await extension.stop_extension()
    async with asyncio.timeout(10):
        while await socket.read_message() is not None:
            pass
    assert (socket.close_code, socket.close_reason) == (1011, "stopping")
    socket.close()
    await asyncio.to_thread(wait_for, lambda: not our_threads(earlier))
    with pytest.raises(Unavailable):
        await extension.ready(1)


async def test_a_server_that_is_stopped_while_it_starts_lets_go_of_the_services(unstarted: PromptCards) -> None:
    from server_ext.embedded.attach import _open

    before = len(_open)
    await unstarted._start_jupyter_server_extension(unstarted.serverapp)
    await unstarted.stop_extension()
    assert len(_open) == before


async def test_jupyters_own_pages_are_hardened_and_ours_say_what_they_say(api: Api) -> None:
    page = await api.client.fetch(f"{api.base}login", raise_error=False)
    assert page.code == 200
    assert "object-src 'self' blob:" in page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["Referrer-Policy"] == "same-origin"
    ours = await api.ask("GET", "health")
    assert ours.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert ours.headers["Referrer-Policy"] == "no-referrer"


class TestHeadersOfTheOperator:
    @pytest.fixture
    def server_config(self) -> dict[str, Any]:
        return {"tornado_settings": {"headers": {"Content-Security-Policy": "frame-ancestors https://portal.example"}}}

    async def test_what_the_operator_has_set_stays(self, api: Api) -> None:
        page = await api.client.fetch(f"{api.base}login", raise_error=False)
        assert page.headers["Content-Security-Policy"] == "frame-ancestors https://portal.example"
