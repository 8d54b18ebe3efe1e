"""A server as a user has it, and what a kernel gets that it has started."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from promptcard_ext.client.api import WorkspaceApi
from promptcard_ext.client.discovery import Address
from promptcard_ext.client.session import Session
from promptcard_ext.kernel.workspace import Workspace
from server_ext.settings import Settings
from tests.support import Program, environment, wait_for


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        env: The environment of its kernels: they find it by their parent's process id.
        token: Of the Jupyter server.
        workspace: The one of its owner, as this process sees it.
    """

    home: Path
    env: dict[str, str]
    token: str
    workspace: Workspace

    def execute(self, notebook: Any, folder: Path, **more: str) -> nbformat.NotebookNode:
        """Run a notebook, or cells, in a kernel of its own."""
        if isinstance(notebook, list):
            cells = [nbformat.v4.new_code_cell(text) for text in notebook]
            notebook = nbformat.v4.new_notebook(cells=cells)
        client = NotebookClient(
            notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )
        client.execute(env={**self.env, **more})
        return notebook


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Served]:
    """A server of the session's home."""
    with Program(settings.home, "serve", "--port", "0") as server:
        record = settings.home.parent / "runtime" / f"jpserver-{server.pid}.json"
        wait_for(record.exists, 90)
        told = json.loads(record.read_text())
        env = environment(settings.home, JPY_PARENT_PID=str(server.pid))
        session = Session(Address(told["url"], told["token"]), exchange=True)
        yield Served(settings.home, env, told["token"], Workspace(WorkspaceApi(session, "personal")))
        session.close()
        # Its workers, too: one that was killed with it may only just have been started.
        server.stop()
