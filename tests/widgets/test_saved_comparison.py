"""What is left of comparisons and charts in a notebook file."""

import nbclient
import nbformat
import pytest

CELLS = [
    """
import pandas as pd
import promptcard_ext as pc
frame = pd.DataFrame({"who": ["Ada", "Bo", None], "want": ["contains: Ada", "contains: x", None]})
pc.frames
cases = frame.pc.to_cases(expect="want")
cases
""",
    "pc.Card('greet', 'Hello {{ who }}', variables=(pc.Variable('who', default='you'),))",
    """
first = pc.run(_, cases, "simulated:echo").wait()
second = pc.run(pc.Card("greet", "Bye", variables=(pc.Variable("who", default="you"),)), cases, "simulated:echo").wait()
comparison = pc.compare(first, second)
comparison
""",
    "comparison.browse()",
    "first.chart.heatmap()",
    "from ipywidgets.widgets.widget import _instances; len(_instances)",
]
WIDGET = "application/vnd.jupyter.widget-view+json"


def executed(cells: list[str]) -> nbformat.NotebookNode:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    return nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()


def test_a_report_has_pages_and_images_and_no_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_RENDER", "static")
    book = executed(CELLS)
    told, card, compared, browsed, chart, widgets = (cell.outputs[0].data for cell in book.cells)
    assert "who=Ada" in told["text/html"]
    assert "{{ who }}" in card["text/html"]
    for data in (compared, browsed):
        assert set(data) == {"text/html", "text/plain"}
        assert "1 of 3 pairs flipped: 1 pass → fail" in data["text/html"]
        assert "<script" not in data["text/html"]
    assert chart["image/svg+xml"].startswith('<svg role="img" aria-label="greet@')
    assert widgets["text/plain"] == "0"
    assert len(nbformat.writes(book).encode()) < 150_000


def test_a_comparison_is_shown_as_a_page_and_browsed_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_RENDER", "widget")
    book = executed(CELLS[:4])
    compared, browsed = (cell.outputs[0].data for cell in book.cells[2:4])
    assert set(compared) == {"text/html", "text/plain"}
    assert set(browsed) == {WIDGET, "text/html", "text/plain"}
