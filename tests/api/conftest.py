"""The extension in a real Jupyter server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from pytest_jupyter.jupyter_server import *  # noqa: F403
from tornado.httpclient import HTTPResponse
from traitlets.config import Config

from server_ext.app import PromptCards
from server_ext.embedded import Services
from server_ext.settings import Settings
from tests.api.declared import check_declared
from tests.support import Tenant


@dataclass
class Answer:
    """What the server said."""

    status: int
    headers: Any
    raw: bytes
    json: Any = field(init=False)

    def __post_init__(self) -> None:
        is_json = self.headers.get("Content-Type", "").startswith("application/json")
        self.json = json.loads(self.raw) if is_json and self.raw else None


class Api:
    """Requests with the token; nothing is raised for a status that the OpenAPI document declares."""

    def __init__(self, client: Any, base: str, token: dict[str, str], workspace: str) -> None:
        self.client, self.base, self.token = client, base, token
        self.workspace = f"workspaces/{workspace}"

    async def ask(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, login: bool = True
    ) -> Answer:
        """Ask for a path below the interface's root; ``body`` is JSON unless it is bytes."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        response: HTTPResponse = await self.client.fetch(
            f"{self.base}promptcards/api/v1/{path}",
            method=method,
            body=data,
            headers={**(self.token if login else {}), **(headers or {})},
            allow_nonstandard_methods=True,
            follow_redirects=False,
            raise_error=False,
            request_timeout=60,
        )
        answer = Answer(response.code, response.headers, response.body)
        check_declared(method, path, answer.status, answer.headers, answer.json)
        return answer

    async def get(self, path: str, **more: Any) -> Answer:
        """GET a path below the workspace."""
        return await self.ask("GET", f"{self.workspace}/{path}", **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        """POST to a path below the workspace."""
        return await self.ask("POST", f"{self.workspace}/{path}", {} if body is None else body, **more)

    async def put(self, path: str, body: Any, **more: Any) -> Answer:
        """PUT to a path below the workspace."""
        return await self.ask("PUT", f"{self.workspace}/{path}", body, **more)


@pytest.fixture
def extension_config() -> dict[str, Any]:
    """Traits of the extension; tests override this."""
    return {"start_worker": False}


@pytest.fixture
def server_config() -> dict[str, Any]:
    """Traits of the server; tests override this."""
    return {}


@pytest.fixture
def jp_server_config(server_config: dict[str, Any], extension_config: dict[str, Any]) -> Config:
    """A server that lets nobody in without credentials, with our extension only."""
    return Config(
        {
            "ServerApp": {
                "jpserver_extensions": {"server_ext": True, "jupyter_server_terminals": False},
                "allow_unauthenticated_access": False,
                "reraise_server_extension_failures": True,
                **server_config,
            },
            "PromptCards": extension_config,
        }
    )


@pytest.fixture(autouse=True)
def _session_services(services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_HOME", str(settings.home))
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)


@pytest.fixture
def unstarted(jp_serverapp: Any) -> PromptCards:
    """The extension, loaded and linked; the server has not started it yet."""
    (found,) = jp_serverapp.extension_manager.extension_apps["server_ext"]
    return found


@pytest.fixture
def extension(unstarted: PromptCards, jp_asyncio_loop: asyncio.AbstractEventLoop) -> PromptCards:
    """The extension, started as the server does when its loop runs."""
    jp_asyncio_loop.run_until_complete(unstarted._start_jupyter_server_extension(unstarted.serverapp))
    return unstarted


@pytest.fixture
def api_of(http_server_client: Any, jp_base_url: str, jp_auth_header: dict[str, str]) -> Callable[[Tenant], Api]:
    """A function that gives the interface of a workspace."""
    return lambda tenant: Api(http_server_client, jp_base_url, jp_auth_header, tenant.slug)


@pytest.fixture
def api(extension: PromptCards, tenant: Tenant, api_of: Callable[[Tenant], Api]) -> Api:
    """The interface, in a workspace of its own."""
    return api_of(tenant)
