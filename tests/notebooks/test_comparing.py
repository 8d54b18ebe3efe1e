"""The notebooks that compare models and versions, run from top to bottom against a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError

from promptcard_ext.interchange.starters import shipped
from promptcard_ext.kernel.verification import verify_notebook
from tests.notebooks.conftest import Served

# nbclient makes a loop of its own and leaves it to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
REPORT = "03_regression_report.ipynb"


def outputs_of(book: nbformat.NotebookNode) -> dict[str, list[Any]]:
    return {cell.id: cell.outputs for cell in book.cells if cell.cell_type == "code"}


def test_models_are_compared_and_the_saved_notebook_is_true(served: Served, tmp_path: Path) -> None:
    source = nbformat.read(shipped("notebooks") / "02_compare_models.ipynb", as_version=4)
    book = served.execute(source, tmp_path)
    outputs = outputs_of(book)
    shown = outputs["run"][0].data
    assert "116 of 116" in shown["text/html"]
    assert not [kind for kind in shown if "widget" in kind]
    for chart in ("rates", "latencies"):
        assert any("vega" in kind for kind in outputs[chart][0].data)
    assert outputs["costs"][0].data["text/plain"].count("simulated:") == 2
    text = json.dumps(book)
    assert served.token not in text
    assert "cdn.jsdelivr" not in text

    path = tmp_path / "saved.ipynb"
    nbformat.write(book, path)
    assert verify_notebook(path, workspace=served.workspace).ok
    page, _ = HTMLExporter(embed_images=False).from_notebook_node(book)
    assert "116 of 116" in page


@pytest.fixture
def night(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that runs the regression report as papermill does, and returns what it wrote."""
    for name, value in served.env.items():
        if name.startswith(("PROMPTCARDS_", "JPY_", "JUPYTER_")):
            monkeypatch.setenv(name, value)

    def run(**parameters: Any) -> nbformat.NotebookNode:
        written = tmp_path / "night.ipynb"
        papermill.execute_notebook(
            shipped("notebooks") / REPORT, written, parameters, cwd=tmp_path, progress_bar=False, kernel_name="python3"
        )
        return nbformat.read(written, as_version=4)

    return run


def test_a_night_without_a_regression_passes_and_leaves_a_report(night: Any, tmp_path: Path) -> None:
    book = night(repeats=1)
    outputs = outputs_of(book)
    assert "support-triage@1" in outputs["connect"][0].data["text/plain"]
    assert "completed · 56 of 56" in outputs["run"][0].data["text/html"]
    assert "the pass rate changed by" in outputs["verdict"][0].text
    assert "support-triage@2" in (tmp_path / "regression.html").read_text("utf-8")
    text = json.dumps(book)
    assert "widget-view" not in text
    assert "widgets" not in book.metadata
    # The same the next night: nothing is asked again.
    again = outputs_of(night(repeats=1))
    manifest = outputs["run"][0].metadata["promptcards"]
    assert again["run"][0].metadata["promptcards"]["run"] == manifest["run"]


def test_a_night_with_a_regression_fails_and_names_it(night: Any) -> None:
    with pytest.raises(PapermillExecutionError) as caught:
        night(baseline=2, candidate=1, repeats=1, most_drop=-1.0)
    assert "support-triage@1 passes" in str(caught.value)


def test_the_report_of_the_night_says_which_parameters_it_takes() -> None:
    inspected = papermill.inspect_notebook(str(shipped("notebooks") / REPORT))
    assert set(inspected) == {"card", "baseline", "candidate", "models", "repeats", "most_drop", "report"}
