"""What is left in a notebook file after it was run."""

import nbclient
import nbformat
import pytest
from nbconvert import HTMLExporter

START = """
import promptcard_ext as pc
card = pc.Card("greet", "Say hello to {{ who }}. <script>alert(1)</script>")
run = pc.run(card, [{"who": str(i)} for i in range(20)], "simulated:steady?latency_ms=10")
run
"""
CELLS = [START, "done = run.wait()", "run", "pc.outcomes(run.summary())"]
WIDGET = "application/vnd.jupyter.widget-view+json"


def executed(cells: list[str]) -> nbformat.NotebookNode:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    return nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()


def test_after_waiting_the_saved_output_is_static(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_RENDER", "widget")
    book = executed(CELLS)
    for cell in (book.cells[0], book.cells[2]):
        (output,) = cell.outputs
        assert set(output.data) == {"text/html", "text/plain"}
        assert "completed · 20 of 20" in output.data["text/html"]
        assert "<script" not in output.data["text/html"]
    assert WIDGET not in nbformat.writes(book)


def test_a_notebook_that_nobody_waited_in_still_shows_something_without_a_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROMPTCARDS_RENDER", "widget")
    book = executed(CELLS[:1])
    (output,) = book.cells[0].outputs
    assert {WIDGET, "text/html", "text/plain"} == set(output.data)
    book.metadata.pop("widgets", None)
    page, _ = HTMLExporter(embed_images=False).from_notebook_node(book)
    assert 'class="pc-run"' in page


def test_where_nobody_sits_before_the_kernel_nothing_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMPTCARDS_RENDER", raising=False)
    book = executed([*CELLS, "run.browse()", "from ipywidgets.widgets.widget import _instances; len(_instances)"])
    for cell in (book.cells[0], book.cells[2], book.cells[4]):
        (output,) = cell.outputs
        assert set(output.data) == {"text/html", "text/plain"}
        assert "completed · 20 of 20" in output.data["text/html"]
    assert "image/svg+xml" in book.cells[3].outputs[0].data
    assert book.cells[5].outputs[0].data["text/plain"] == "0"
    assert "widgets" not in book.metadata
    page, _ = HTMLExporter(embed_images=False).from_notebook_node(book)
    assert "unpkg" not in page


def test_in_static_mode_no_widget_is_ever_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_RENDER", "static")
    book = executed([*CELLS, "from ipywidgets.widgets.widget import _instances; len(_instances)"])
    assert [set(cell.outputs[0].data) for cell in (book.cells[0], book.cells[2])] == [{"text/html", "text/plain"}] * 2
    assert "completed · 20 of 20" in book.cells[0].outputs[0].data["text/html"]
    assert "image/svg+xml" in book.cells[3].outputs[0].data
    assert book.cells[4].outputs[0].data["text/plain"] == "0"
    assert "widgets" not in book.metadata


def test_the_extension_makes_the_package_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_RENDER", "widget")
    book = executed(
        [
            "%load_ext promptcard_ext\npc.kernel.display.live_view.__qualname__, pc.__name__",
            "%unload_ext promptcard_ext\n'pc' in globals()",
        ]
    )
    assert book.cells[0].outputs[0].data["text/plain"] == "('RunView.of', 'promptcard_ext')"
    assert book.cells[1].outputs[0].data["text/plain"] == "False"
