"""The dashboard, run from top to bottom by a service that may only look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from promptcard_ext.client.api import WorkspaceApi
from promptcard_ext.client.discovery import Address
from promptcard_ext.client.session import Session
from promptcard_ext.core.contract.api_tokens import ApiTokenSpec
from promptcard_ext.interchange.starters import shipped
from promptcard_ext.kernel.workspace import Workspace
from server_ext.settings import Settings
from tests.support import ECHO, GREET, Program, environment, greetings, wait_for

# nbclient makes a loop of its own and leaves it to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def outputs_of(env: dict[str, str], folder: Path) -> dict[str, Any]:
    """Run the dashboard; return its outputs by cell, each as JSON."""
    notebook = nbformat.read(shipped("notebooks") / "04_dashboard.ipynb", as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute(env=env)
    return {cell.id: json.dumps(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"} | {
        "widgets": notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    }


def test_the_dashboard_shows_stored_runs_with_a_token_that_may_only_look(settings: Settings, tmp_path: Path) -> None:
    with Program(settings.home, "serve", "--port", "0") as server:
        record = settings.home.parent / "runtime" / f"jpserver-{server.pid}.json"
        wait_for(record.exists, 90)
        told = json.loads(record.read_text())
        session = Session(Address(told["url"], told["token"]))
        workspace = Workspace(WorkspaceApi(session, "personal"))
        spec = ApiTokenSpec(name="dashboard", purpose="service", scopes=["viewer"], expires_in_days=1)
        token = workspace.api.tokens.create(spec).token
        card = workspace.save(GREET, greetings(3))
        workspace.run(card, ECHO, name="<b>bold</b> greetings").wait(60)
        given = {"PROMPTCARDS_URL": told["url"], "PROMPTCARDS_TOKEN": token}
        shown = outputs_of(environment(settings.home, SERVER_SOFTWARE="voila/0", **given), tmp_path)
        session.close()

    assert "Passed: **100%** of 3" in shown["figures"]
    assert "vegalite.v5" in shown["history"]
    assert "&lt;b&gt;bold&lt;/b&gt; greetings" in shown["latest"]
    assert "<b>bold" not in shown["latest"]
    widgets = shown["widgets"]["state"]
    assert 0 < len(widgets) < 10
    inside = json.dumps(widgets)
    assert "completed" in inside
    assert "vegalite.v5" in inside
    everything = json.dumps(shown)
    assert token not in everything
    assert "cdn.jsdelivr" not in everything


def test_without_a_server_the_dashboard_says_so_and_breaks_nothing(settings: Settings, tmp_path: Path) -> None:
    shown = outputs_of(environment(settings.home, PROMPTCARDS_URL="http://127.0.0.1:9/"), tmp_path)
    assert "Prompt Cards cannot be asked" in shown["connect"]
    assert "There are no runs yet" in shown["figures"]
    assert "error" not in {output["output_type"] for output in json.loads(shown["one"])}
