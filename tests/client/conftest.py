"""``jupyter promptcards serve`` as a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from promptcard_ext.client.api import WorkspaceApi
from promptcard_ext.client.discovery import Address
from promptcard_ext.client.session import Session
from promptcard_ext.client.workspaces import Workspaces
from promptcard_ext.core.errors import NotFound
from promptcard_ext.kernel.workspace import Workspace
from server_ext.embedded import Services
from server_ext.settings import Settings
from tests.support import Program, Tenant, free_port, wait_for

TOKEN = "t0ken"


class Serve(Program):
    """A server without a worker of its own."""

    def __init__(self, home: Path, port: int, *arguments: str, **more: str) -> None:
        more |= {"JUPYTER_TOKEN": TOKEN, "PROMPTCARDS_LEASE_S": "3"}
        super().__init__(home, "serve", "--port", str(port), *arguments, **more)
        self.record = home.parent / "runtime" / f"jpserver-{self.pid}.json"

    def wait_ready(self) -> Address:
        """Return its address once it listens."""
        wait_for(lambda: self._record() or self.process.poll() is not None, 90)
        assert self.process.poll() is None, self.output
        return Address(str(json.loads(self._record())["url"]), TOKEN)

    def _record(self) -> str:
        """Return what Jupyter says of the server; nothing as long as it has not written all of it."""
        text = self.record.read_text() if self.record.exists() else ""
        return text if text.rstrip().endswith("}") else ""


@pytest.fixture
def start_server(settings: Settings, services: Services) -> Iterator[Callable[..., Serve]]:
    """A function that starts a server of the session's home."""
    with ExitStack() as started:

        def start(port: int, *arguments: str, **more: str) -> Serve:
            return started.enter_context(Serve(settings.home, port, *arguments, **more))

        yield start


@pytest.fixture(scope="module")
def address(settings: Settings, services: Services) -> Iterator[Address]:
    """A server that lives as long as the tests of a file."""
    with Serve(settings.home, free_port(), "--no-worker") as server:
        yield server.wait_ready()


@pytest.fixture
def api(address: Address, tenant: Tenant) -> Iterator[WorkspaceApi]:
    """All calls of a fresh workspace, of which the server has heard."""
    session = Session(address)
    wait_for(lambda: is_known(session, tenant), 5)
    yield WorkspaceApi(session, tenant.slug)
    session.close()


def is_known(session: Session, tenant: Tenant) -> bool:
    """Tell whether the server, which keeps rights in memory, has heard of a workspace that this process has made."""
    with suppress(NotFound):
        return bool(Workspaces(session).get(tenant.slug))
    return False


@pytest.fixture
def workspace(api: WorkspaceApi) -> Workspace:
    """A workspace as notebooks see it."""
    return Workspace(api)
