import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.errors import CardError
from promptcard_ext.widgets import clipboard
from promptcard_ext.widgets.clipboard import parse, written

CELLS = st.text(alphabet=st.one_of(st.sampled_from("a\"'\t\n\r,;=+-@ "), st.characters()), max_size=12)
TABLES = st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=6)


@given(TABLES)
def test_what_is_copied_is_pasted_again(rows: list[list[str]]) -> None:
    assert parse(written(rows), "tab") == rows


@given(st.text(alphabet=st.one_of(st.sampled_from('"\t\n\r,;'), st.characters()), max_size=60))
def test_any_text_can_be_pasted(text: str) -> None:
    rows = parse(text)
    assert all(rows)
    # No character is lost but the marks between and around cells.
    kept = sum(len(cell) for row in rows for cell in row)
    assert kept <= len(text)


@given(TABLES.filter(lambda rows: any(len(row) > 1 for row in rows)))
def test_tabs_are_found_by_themselves(rows: list[list[str]]) -> None:
    assert parse(written(rows)) == rows


def test_quoted_line_feeds_stay_in_their_cell() -> None:
    assert parse('a\t"one\r\ntwo ""2"""\r\nb\tc\r\n') == [["a", 'one\r\ntwo "2"'], ["b", "c"]]


def test_a_text_that_only_begins_with_a_quotation_mark_is_taken_as_it_is() -> None:
    assert parse('"Hi" she said\tb\n"open\tc') == [['"Hi" she said', "b"], ['"open', "c"]]


def test_a_sentence_with_a_comma_is_one_cell() -> None:
    assert parse("Hello, world") == [["Hello, world"]]
    assert parse("Hello, world\nGood day") == [["Hello, world"], ["Good day"]]


def test_commas_or_semicolons_separate_where_every_line_has_as_many() -> None:
    assert parse('a,b\nc,"d,e"') == [["a", "b"], ["c", "d,e"]]
    assert parse("a;1,5\nb;2") == [["a", "1,5"], ["b", "2"]]


def test_the_separator_can_be_told() -> None:
    assert parse("a,b", "comma") == [["a", "b"]]
    assert parse("a\tb", "semicolon") == [["a\tb"]]


def test_empty_rows_and_cells_are_kept() -> None:
    assert parse("a\n\nb\t") == [["a"], [""], ["b", ""]]
    assert parse("") == []


def test_no_copied_cell_is_run_as_a_formula() -> None:
    assert written([["=HYPERLINK(1)", "+1", "@x"]]) == "'=HYPERLINK(1)\t'+1\t'@x\n"


def test_more_than_can_be_taken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "MAX_CELLS", 3)
    assert len(parse("a\tb\nc")) == 2
    with pytest.raises(CardError, match="3 cells") as refused:
        parse("a\tb\nc\td")
    assert refused.value.code == "paste_too_large"
