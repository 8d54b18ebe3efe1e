"""The notebooks that users get, run from top to bottom against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from promptcard_ext.interchange.starters import shipped
from server_ext.settings import Settings
from tests.support import Program, environment, wait_for

# nbclient makes a loop of its own and leaves it to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def _record(settings: Settings, server: Program) -> Path:
    return settings.home.parent / "runtime" / f"jpserver-{server.pid}.json"


def _kernel_environment(settings: Settings, server: Program) -> dict[str, str]:
    """What a kernel gets that was started by this server: it finds the server by its parent's process id."""
    wait_for(_record(settings, server).exists, 90)
    return environment(settings.home, JPY_PARENT_PID=str(server.pid))


def _run(name: str, folder: Path, env: dict[str, str], cells: int | None = None) -> nbformat.NotebookNode:
    notebook = nbformat.read(shipped("notebooks") / name, as_version=4)
    notebook.cells = notebook.cells[:cells]
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env=env)
    return notebook


def test_the_welcome_notebook_runs_and_what_it_saves_needs_no_kernel(settings: Settings, tmp_path: Path) -> None:
    with Program(settings.home, "serve", "--port", "0") as server:
        notebook = _run("01_first_card.ipynb", tmp_path, _kernel_environment(settings, server))
        secret = json.loads(_record(settings, server).read_text())["token"]
        # A second time nothing is saved anew: the notebook is a document, not a script that piles up versions.
        again = _run("01_first_card.ipynb", tmp_path, _kernel_environment(settings, server), cells=4)

    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    shown = outputs["run"][0].data
    assert "completed" in shown["text/plain"]
    assert "56 of 56" in shown["text/html"]
    assert not [kind for kind in shown if "widget" in kind]
    assert "112 of 112" in outputs["second"][0].data["text/html"]
    assert any("vega" in kind for kind in outputs["compare"][0].data)
    assert "my-triage@2" in (tmp_path / "my-triage.html").read_text("utf-8")
    assert again.cells[3].outputs[0].data["text/plain"] == "'my-triage@1'"
    text = json.dumps(notebook)
    assert secret
    assert secret not in text
    assert "cdn.jsdelivr" not in text
