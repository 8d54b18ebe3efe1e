"""Cases from tables and into them."""

import contextlib
import itertools
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import FileError
from promptcard_ext.interchange import spreadsheet, tables
from promptcard_ext.interchange.case_files import CasesInFile, load_cases
from promptcard_ext.interchange.case_writer import write_cases
from promptcard_ext.interchange.formula_guard import guarded, unguarded
from tests.interchange.strategies import ANY, CARD, LIKELY, PLAIN, cases

Load = Callable[..., Sequence[Case]]
ROUND_TRIP = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_load(name: str, content: str | bytes, card: Card | None = None) -> Sequence[Case]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load_cases(path, card)

    return write_and_load


def failure(load: Load, name: str, content: str | bytes, card: Card | None = None) -> FileError:
    with pytest.raises(FileError) as caught:
        load(name, content, card)
    return caught.value


# -- round trips -----------------------------------------------------------------------------------------------------


@given(cases(ANY))
@ROUND_TRIP
def test_cases_come_back_from_json_lines(tmp_path: Path, drawn: list[Case]) -> None:
    assert write_cases(tmp_path / "c.jsonl", drawn) == len(drawn)
    assert list(load_cases(tmp_path / "c.jsonl")) == drawn


@given(cases(st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | LIKELY))
@ROUND_TRIP
def test_cases_come_back_from_csv(tmp_path: Path, drawn: list[Case]) -> None:
    write_cases(tmp_path / "c.csv", drawn, CARD)
    assert list(load_cases(tmp_path / "c.csv", CARD)) == drawn


@pytest.mark.parametrize("text", ["a\rb", "\r", "a\r\nb\n", 'say "a", b', "\x00", "a\x85b\u2028", "\ufeffa", "'", " "])
def test_a_text_comes_back_from_csv_as_it_was(tmp_path: Path, text: str) -> None:
    drawn = [Case({"q": text, "r": "x"}), Case({"q": text, "r": ""})]
    write_cases(tmp_path / "c.csv", drawn)
    assert list(load_cases(tmp_path / "c.csv")) == drawn


def test_the_mark_and_line_ends_of_other_programs_are_no_part_of_a_text(load: Load) -> None:
    found = load("c.csv", b'\xef\xbb\xbfq,r\r\n1,"a\r\nb"\r\n2,c\r\n')
    assert [case.variables for case in found] == [{"q": "1", "r": "a\r\nb"}, {"q": "2", "r": "c"}]


def test_an_empty_cell_is_an_empty_text_or_leaves_a_variable_to_its_default(load: Load) -> None:
    card = Card(
        "c", "{{ a }}{{ b }}{{ n }}", variables=(Variable("a"), Variable("b", default="x"), Variable("n", "json"))
    )
    (case,) = load("c.csv", "a,b,n\n,,1\n", card)
    assert case.variables == {"a": "", "n": 1}


@given(cases(PLAIN))
@ROUND_TRIP
def test_cases_come_back_from_spreadsheets(tmp_path: Path, drawn: list[Case]) -> None:
    write_cases(tmp_path / "c.xlsx", drawn, CARD)
    assert list(load_cases(tmp_path / "c.xlsx", CARD)) == drawn


@given(ANY)
def test_a_guard_is_taken_away_again_and_nothing_else(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert guarded(text).lstrip("'")[:1] not in ("", *"=+-@＝＋－＠\t\r\n") or guarded(text)[:1] in ("'", "")


@pytest.mark.parametrize("name", ["c.csv", "c.xlsx"])
def test_a_case_of_empty_texts_is_not_taken_for_an_empty_row(tmp_path: Path, name: str) -> None:
    drawn = [Case({"q": ""}), Case({"q": "a"})]
    write_cases(tmp_path / name, drawn)
    assert list(load_cases(tmp_path / name)) == drawn


# -- tables ----------------------------------------------------------------------------------------------------------


def test_columns_are_variables_and_reserved_ones_say_more(load: Load) -> None:
    (case,) = load(
        "c.csv",
        "\ufeffq;__description;__expected1;__expected2;__metric;__threshold;__metadata:topic;__metadata:tags[];"
        "__config:__expected2:weight;__expected_output;__priority\r\n"
        '"a\r\nb";first;contains: x;"levenshtein(3): y";M;0.5;math;"a,b\\,c";2;42;high\r\n\r\n',
    )
    assert case.variables == {"q": "a\r\nb"}
    assert (case.name, case.threshold, case.priority, case.expected_output) == ("first", 0.5, "high", "42")
    assert case.metadata == {"topic": "math", "tags": ["a", "b,c"]}
    assert [(one.type, one.value, one.threshold, one.metric, one.weight) for one in case.assertions] == [
        ("contains", "x", None, "M", 1),
        ("levenshtein", "y", 3, "M", 2),
    ]


def test_plain_names_are_reserved_only_where_the_card_has_no_such_variable(load: Load) -> None:
    text = "who,name,priority,metadata.topic\nAda,first,low,math\n"
    (case,) = load("c.csv", text, Card("c", "{{ who }}"))
    assert (case.variables, case.name, case.priority) == ({"who": "Ada"}, "first", "low")
    assert case.metadata == {"topic": "math"}
    (case,) = load("c.csv", "who,name\nAda,first\n", Card("c", "{{ who }} {{ name }}"))
    assert case.variables == {"who": "Ada", "name": "first"}
    (case,) = load("c.csv", "who,name\nAda,first\n")
    assert case.variables == {"who": "Ada", "name": "first"}


def test_cells_have_the_types_that_the_card_declares(load: Load) -> None:
    header = "text,whole,real,flag,many,value\n"
    first, second, third = load(
        "c.csv",
        header + '007,-3,1.5e2,TRUE,"[1, ""a""]","{""a"": 1}"\n,,,no,,plain text\n x , 4 ,.5,0,[],"""7"""\n',
        CARD,
    )
    assert first.variables == {
        "text": "007", "whole": -3, "real": 150.0, "flag": True, "many": [1, "a"], "value": {"a": 1},
    }  # fmt: skip
    assert second.variables == {"text": "", "flag": False, "value": "plain text"}
    assert third.variables == {"text": " x ", "whole": 4, "real": 0.5, "flag": False, "many": [], "value": "7"}


@pytest.mark.parametrize(
    ("column", "cell"),
    [("whole", "1.5"), ("whole", "٣"), ("whole", "one"), ("real", "1,5"), ("real", "nan"), ("flag", "maybe"),
     ("many", "a;b"), ("many", "{}"), ("many", "[" * 9999)],
)  # fmt: skip
def test_a_cell_of_another_type_is_said_with_line_and_column(load: Load, column: str, cell: str) -> None:
    error = failure(load, "c.csv", f'text,{column}\nx,\ny,"{cell}"\n', CARD)
    assert error.code == "case_file_invalid"
    assert "line 3" in error.message
    assert f"'{column}'" in error.message


@pytest.mark.parametrize(
    ("name", "content", "code", "text"),
    [
        ("c.csv", "", "file_empty", "empty"),
        ("c.csv", "q\n", "file_empty", "no cases"),
        ("c.csv", b"q\nok\n\xff\n", "file_not_utf8", "line 3"),
        ("c.csv", "q\na,b\n", "table_invalid", "line 2"),
        ("c.csv", 'q\n"a\n', "table_invalid", "line 2"),
        ("c.csv", "q,q\na,b\n", "table_invalid", "twice"),
        ("c.csv", "q,__oops\na,b\n", "case_file_invalid", "__oops"),
        ("c.csv", "q,__threshold\na,high\n", "case_file_invalid", "__threshold"),
        ("c.csv", "q,__assertions\na,{}\n", "case_file_invalid", "list"),
        ("c.csv", "q,__prefix\na,b\n", None, ""),
        ("c.csv", "q,__expected\na,regex: (\n", "assertion_invalid", "line 2"),
        ("c.csv", "q,__expected\na,javascript: x\n", "assertion_unknown", "line 2"),
        ("c.csv", "q\na\nb\na\n", "case_twice", "line 4"),
        ("c.jsonl", '{"q": 1}\n{"q": \n', "table_invalid", "line 2"),
        ("c.jsonl", '{"q": NaN}\n', "table_invalid", "line 1"),
        ("c.jsonl", "[1]\n", "case_file_invalid", "line 1"),
        ("c.jsonl", '{"variables": {"q": 1}, "name": 5}\n', "case_file_invalid", "line 1"),
        ("c.json", '{"q": 1}', "table_invalid", "list"),
        ("c.json", "[" * 99_999, "table_invalid", "JSON"),
        ("c.txt", "q", "file_format", "c.txt"),
        ("c.xlsx", "no zip", "table_invalid", "spreadsheet"),
        ("c.parquet", "no parquet", "table_invalid", "Parquet"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(
    load: Load, name: str, content: str | bytes, code: str | None, text: str
) -> None:
    if code is None:
        assert load(name, content)[0].variables == {"q": "a", "prompt_prefix": "b"}
        content, code, text = content, "case_file_invalid", "__prefix"
        error = failure(load, name, content, Card("c", "{{ q }}"))
    else:
        error = failure(load, name, content)
    assert error.code == code
    assert text in error.message


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    for name in ("c.csv", "c.jsonl", "c.json", "c.xlsx"):
        with pytest.raises(FileError) as caught:
            load_cases(tmp_path / name)
        assert caught.value.code in ("file_unreadable", "table_invalid")


def test_lines_of_json_are_rows_or_cases_in_our_form_or_that_of_promptfoo(load: Load) -> None:
    row, ours, theirs = load(
        "c.jsonl",
        '{"q": 1, "__expected": "equals: 1"}\n'
        '{"variables": {"q": 2}, "assertions": [{"type": "equals", "value": "2"}], "name": "two"}\n\n'
        '{"vars": {"q": 3}, "assert": [{"type": "equals", "value": "3"}], "description": "three"}\n',
    )
    assert [case.variables for case in (row, ours, theirs)] == [{"q": 1}, {"q": 2}, {"q": 3}]
    assert [case.assertions[0].value for case in (row, ours, theirs)] == ["1", "2", "3"]
    assert [ours.name, theirs.name] == ["two", "three"]


def test_data_frames_and_mappings_are_tables(tmp_path: Path) -> None:
    frame = pd.DataFrame({"q": ["a", None], "n": [1, 2], "x": [0.5, float("nan")], "__expected": ["is-json", None]})
    first, second = load_cases(frame)
    assert (first.variables, second.variables) == ({"q": "a", "n": 1, "x": 0.5}, {"q": "", "n": 2, "x": ""})
    assert [one.type for one in first.assertions] == ["is-json"]
    assert load_cases([{"q": "a"}, Case({"q": "b"})])[1].variables == {"q": "b"}
    frame.to_parquet(tmp_path / "c.parquet")
    assert load_cases(tmp_path / "c.parquet") == (first, second)


# -- large files -----------------------------------------------------------------------------------------------------


def test_a_large_file_is_read_where_it_is_needed_and_not_held(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("q,n\n" + "".join(f'"text\n{number}",{number}\n' for number in range(2_000)))
    found = load_cases(path, Card("c", "{{ q }} {{ n }}", variables=[Variable("q"), Variable("n", "integer")]))
    assert isinstance(found, CasesInFile)
    assert len(found) == 2_000
    assert [found[index].variables["n"] for index in (1_999, 0, 255, 256, -1)] == [1_999, 0, 255, 256, 1_999]
    assert [case.variables["n"] for case in found] == list(range(2_000))
    assert [case.variables["n"] for case in found[5:7]] == [5, 6]
    assert len(found._chunk[1]) <= CasesInFile.CHUNK
    with pytest.raises(IndexError):
        found[2_000]


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"q": 1}\n{"q": 2}\n')
    found = load_cases(path)
    path.write_text('{"q": 1}\n{"q": 2}\n{"q": 3}\n')
    with pytest.raises(FileError) as caught:
        list(found)
    assert caught.value.code == "file_changed"


def test_a_line_without_end_is_refused(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_LINE_BYTES", 100)
    assert failure(load, "c.jsonl", '{"q": "' + "x" * 200 + '"}').code == "file_too_large"


# -- spreadsheets ----------------------------------------------------------------------------------------------------


def sheet(path: Path, *rows: Sequence[Any], title: str = "Cases") -> None:
    book = openpyxl.Workbook()
    book.active.title = "First"
    page = book.create_sheet(title)
    for row in rows:
        page.append(list(row))
        book.active.append(list(row)[:1])
    book.save(path)


def test_a_sheet_is_chosen_by_name_or_number(tmp_path: Path) -> None:
    path = tmp_path / "c.xlsx"
    sheet(
        path,
        ["q", "n", "day"],
        ["a", 2, pd.Timestamp("2024-01-31").to_pydatetime()],
        [None, None, None],
        ["b", True, None],
    )
    expected = [{"q": "a", "n": 2, "day": "2024-01-31"}, {"q": "b", "n": True, "day": ""}]
    for wanted in ("Cases", 2, "2"):
        assert [case.variables for case in load_cases(path, sheet=wanted)] == expected
    assert [case.variables for case in load_cases(path)] == [{"q": "a"}, {"q": "b"}]
    with pytest.raises(FileError) as caught:
        load_cases(path, sheet="Gone")
    assert caught.value.code == "sheet_missing"
    assert "First, Cases" in caught.value.hint


def test_numbers_become_text_where_the_card_wants_text(tmp_path: Path) -> None:
    sheet(tmp_path / "c.xlsx", ["q"], [7], [True])
    found = load_cases(tmp_path / "c.xlsx", Card("c", "{{ q }}", variables=[Variable("q")]))
    assert [case.variables["q"] for case in found] == ["7", "true"]


def test_formulas_are_never_written(tmp_path: Path) -> None:
    write_cases(tmp_path / "c.xlsx", [Case({"q": '=HYPERLINK("http://x")'})])
    (cell,) = openpyxl.load_workbook(tmp_path / "c.xlsx").active["A2:A2"][0]
    assert (cell.data_type, cell.value[0]) == ("s", "'")


def test_bombs_in_spreadsheets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>')
    with pytest.raises(FileError) as caught:
        load_cases(path)
    assert "entities" in caught.value.message
    sheet(path, ["q"], ["a"])
    monkeypatch.setattr(spreadsheet, "MAX_UNPACKED_BYTES", 100)
    with pytest.raises(FileError) as caught:
        load_cases(path)
    assert caught.value.code == "file_too_large"


@given(st.binary(max_size=200))
@ROUND_TRIP
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("c.csv", "c.jsonl", "c.json", "c.xlsx", "c.parquet"):
        (tmp_path / name).write_bytes(content)
        with contextlib.suppress(FileError):
            list(itertools.islice(load_cases(tmp_path / name), 3))


def test_cases_can_only_be_written_in_forms_that_hold_them(tmp_path: Path) -> None:
    for name, code in (("c.gif", "file_format"), ("none/c.csv", "file_unwritable"), ("none/c.xlsx", "file_unwritable")):
        with pytest.raises(FileError) as caught:
            write_cases(tmp_path / name, [Case({"q": "a"})])
        assert caught.value.code == code


def test_metadata_that_are_lists_of_texts_come_back(tmp_path: Path) -> None:
    drawn = [
        Case({"q": "a"}, metadata={"tags": ["x, y", "z"], "topic": "t"}),
        Case({"q": "b"}, metadata={"tags": ["w"]}),
    ]
    write_cases(tmp_path / "c.csv", drawn)
    assert list(load_cases(tmp_path / "c.csv")) == drawn


def test_assertions_that_no_cell_holds_are_written_as_json(tmp_path: Path) -> None:
    heavy = Case({"q": "a"}, [Assertion("contains", "x", weight=2), Assertion("is-json")])
    write_cases(tmp_path / "c.csv", [heavy, Case({"q": "b"}, [Assertion("contains", "y")])])
    header, first, second = (tmp_path / "c.csv").read_text().splitlines()
    assert header == "q,__expected1,__assertions"
    assert json.loads(first.partition(",,")[2][1:-1].replace('""', '"'))[0]["weight"] == 2
    assert second == "b,contains: y,"
