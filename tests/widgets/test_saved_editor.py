"""What is left of an editor in a notebook file."""

import pytest
from nbconvert import HTMLExporter

from tests.widgets.test_saved_notebook import WIDGET, executed

BEGIN = """
import promptcard_ext as pc
editor = pc.edit(pc.Card("greet", "Say hello to {{ who }}. <script>alert(1)</script>"), [{"who": "Ada"}])
editor
"""
CELLS = [
    BEGIN,
    "editor.save('as it is').label",
    "from ipywidgets.widgets.widget import _instances; len(_instances)",
]


def test_a_saved_editor_shows_the_card_without_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_RENDER", "widget")
    book = executed(CELLS)
    (output,) = book.cells[0].outputs
    assert set(output.data) == {WIDGET, "text/html", "text/plain"}
    assert "Say hello to {{ who }}" in output.data["text/plain"]
    assert "<script" not in output.data["text/html"]
    assert book.cells[1].outputs[0].data["text/plain"].startswith("'greet@")
    book.metadata.pop("widgets", None)
    page, _ = HTMLExporter(embed_images=False).from_notebook_node(book)
    assert '<b class="pc-v">{{ who }}</b>' in page


def test_in_a_report_an_editor_is_no_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_RENDER", "static")
    book = executed(CELLS)
    assert set(book.cells[0].outputs[0].data) == {"text/html", "text/plain"}
    assert book.cells[1].outputs[0].data["text/plain"].startswith("'greet@")
    assert book.cells[2].outputs[0].data["text/plain"] == "0"
    assert "widgets" not in book.metadata
