"""What is left of a case table in a notebook file."""

import pytest

from tests.widgets.test_saved_notebook import WIDGET, executed

START = """
import promptcard_ext as pc
card = pc.Card("greet", "Say hello to {{ who }}.")
table = pc.edit_cases(card, [{"who": "<script>alert(1)</script>"}])
table
"""


def test_an_open_table_is_live_and_has_a_form_without_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_RENDER", "widget")
    book = executed([START])
    (output,) = book.cells[0].outputs
    assert set(output.data) == {WIDGET, "text/html", "text/plain"}
    assert "<script" not in output.data["text/html"]
    assert "&lt;script&gt;" in output.data["text/html"]


def test_a_closed_table_leaves_its_cases_as_they_were_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_RENDER", "widget")
    book = executed([START, 'table.add([{"who": "Grace"}]); table.close()'])
    (output,) = book.cells[0].outputs
    assert set(output.data) == {"text/html", "text/plain"}
    assert "Grace" in output.data["text/html"]


def test_in_static_mode_it_is_a_plain_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_RENDER", "static")
    book = executed([START])
    (output,) = book.cells[0].outputs
    assert set(output.data) == {"text/html", "text/plain"}
    assert output.data["text/plain"] == "<CaseTable 'greet': 1 case>"
