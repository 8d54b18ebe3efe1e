"""Results as files: whole, exact, and harmless whatever a model wrote."""

import csv
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptcard_ext.core.errors import FileError
from promptcard_ext.core.results import Call, Generation, ItemResult, Outcome, Verdict
from promptcard_ext.interchange.formula_guard import unguarded
from promptcard_ext.interchange.frames import DTYPES, LEDGER_DTYPES, ledger_frame, results_frame
from promptcard_ext.interchange.markdown import MAX_SHOWN, cell
from promptcard_ext.interchange.result_files import SUFFIXES, write_results
from promptcard_ext.stats.summary import summarise
from tests.interchange.strategies import LIKELY
from tests.widgets.fakes import result

HOSTILE = ["=1+1", "a\x00b", "\ud800", "<b>|`*\n# x", "x" * 40_000, "]]>&amp;\r\n\x1b[0m", "\ufffe"]


def every_outcome() -> list[ItemResult]:
    inner = (Verdict("i", "contains", Outcome.FAIL, "not_contained", "No."), Verdict("j", "regex", Outcome.PASS))
    group = Verdict("g", "assert-set", Outcome.FAIL, "not_contained", "No.", score=0.5, parts=inner)
    judge = Call("judge", Generation("openai", "j", "1", "{}", 5.0, cost_usd=Decimal("0.02")))
    return [
        result(0, cost="0.001", score=1.0, calls=(judge,)),
        result(1, "fail", "no", verdicts=(group,), score=0.5, repeat=1),
        result(2, "error", None, message="The provider is away."),
        result(3, "unscored", model="simulated:b"),
    ]


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# -- every form ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("output", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_a_model_wrote_can_be_written_and_read(tmp_path: Path, suffix: str, output: str) -> None:
    path = tmp_path / f"r{suffix}"
    results = [result(0, "fail", output, message=output, label=output[:50]), *every_outcome()]
    write_results(iter(results), path, title=output[:50], rows=summarise(results))
    if suffix == ".xml":
        assert len(list(ElementTree.parse(path).iter("testcase"))) == 5
    elif suffix == ".json":
        assert len(json.loads(path.read_bytes())["results"]) == 5
    elif suffix == ".jsonl":
        assert len([json.loads(line) for line in path.read_bytes().splitlines()]) == 5
    elif suffix == ".csv":
        rows = csv_rows(path)
        assert unguarded(rows[0]["output"]) == output.replace("\ud800", "?")
    elif suffix == ".parquet":
        assert list(pd.read_parquet(path)["ordinal"]) == [0, 0, 1, 2, 3]
    elif suffix == ".xlsx":
        assert openpyxl.load_workbook(path).active.max_row == 6
    else:
        lines = path.read_text("utf-8").splitlines()
        assert all(line.count("|") - line.count("\\|") in (8, 9) for line in lines if line.startswith("| "))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | LIKELY)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_answer_comes_back_from_csv_as_it_was(tmp_path: Path, output: str) -> None:
    write_results([result(0, output=output), result(1)], tmp_path / "r.csv")
    rows = csv_rows(tmp_path / "r.csv")
    assert [unguarded(rows[0]["output"]), rows[1]["ordinal"]] == [output, "1"]


def test_nothing_is_left_of_a_file_that_could_not_be_finished(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("before")

    def broken() -> Iterator[ItemResult]:
        yield result(0)
        raise RuntimeError

    for suffix in SUFFIXES:
        path = tmp_path / f"r{suffix}"
        path.write_text("before")
        with pytest.raises(RuntimeError):
            write_results(broken(), path)
        assert path.read_text() == "before"
    assert {one.name for one in tmp_path.iterdir()} == {f"r{suffix}" for suffix in SUFFIXES}


@pytest.mark.parametrize(
    ("name", "code"), [("r.gif", "file_format"), ("none/r.csv", "file_unwritable"), ("none/r.xlsx", "file_unwritable")]
)
def test_a_file_that_cannot_be_written_is_said(tmp_path: Path, name: str, code: str) -> None:
    with pytest.raises(FileError) as caught:
        write_results([result(0)], tmp_path / name)
    assert caught.value.code == code
    assert "r." in caught.value.message


def test_the_form_can_be_named(tmp_path: Path) -> None:
    write_results([result(0)], tmp_path / "report.txt", "junit")
    assert ElementTree.parse(tmp_path / "report.txt").getroot().tag == "testsuites"


# -- tables ----------------------------------------------------------------------------------------------------------


def test_money_is_exact_in_csv_and_what_is_unknown_is_empty(tmp_path: Path) -> None:
    write_results(every_outcome(), tmp_path / "r.csv")
    rows = csv_rows(tmp_path / "r.csv")
    assert list(rows[0]) == list(DTYPES)
    assert [rows[0][name] for name in ("cost_usd", "calls", "calls_cost_usd", "spent_usd")] == [
        "0.001",
        "1",
        "0.02",
        "0.021",
    ]
    assert [rows[1][name] for name in ("cost_usd", "spent_usd", "score", "cached")] == ["", "", "0.5", "false"]
    assert rows[2]["output"] == ""


def test_parquet_has_the_types_of_the_frame(tmp_path: Path) -> None:
    write_results(every_outcome(), tmp_path / "r.parquet")
    read = pd.read_parquet(tmp_path / "r.parquet")
    frame = results_frame(every_outcome())
    assert list(read.columns) == list(frame.columns)
    assert read["outcome"].astype(str).tolist() == frame["outcome"].astype(str).tolist()
    assert read["spent_usd"].tolist()[0] == frame["spent_usd"].tolist()[0] == 0.021


# -- frames ----------------------------------------------------------------------------------------------------------


def test_the_frame_has_scores_and_calls() -> None:
    frame = results_frame(every_outcome())
    assert frame["score"].tolist()[:2] == [1.0, 0.5]
    assert (frame["calls"][0], frame["calls_cost_usd"][0], frame["spent_usd"][0]) == (1, 0.02, 0.021)
    assert frame["spent_usd"].isna().tolist() == [False, True, True, True]


def test_a_frame_holds_answers_that_have_no_utf8() -> None:
    assert results_frame([result(0, output="a\ud800")])["output"][0] == "a\ufffd"


def test_the_ledger_has_a_row_for_every_assertion_at_every_depth() -> None:
    ledger = ledger_frame(every_outcome())
    assert list(ledger.columns) == list(LEDGER_DTYPES)
    assert ledger["path"].tolist() == ["0", "0", "0.0", "0.1", "0"]
    assert ledger["type"].tolist()[1:4] == ["assert-set", "contains", "regex"]
    assert ledger["score"].tolist()[:4] == [1.0, 0.5, 0.0, 1.0]
    assert ledger["score"].isna()[4]
    assert {name: str(dtype) for name, dtype in ledger.dtypes.items()} == LEDGER_DTYPES
    assert ledger_frame([]).dtypes.equals(ledger.dtypes)


# -- JUnit -----------------------------------------------------------------------------------------------------------


def test_junit_tells_failures_errors_and_what_nobody_judged_apart(tmp_path: Path) -> None:
    write_results(every_outcome(), tmp_path / "r.xml")
    root = ElementTree.parse(tmp_path / "r.xml").getroot()
    assert [root.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["4", "1", "1", "1"]
    first, second = root.findall("testsuite")
    assert (first.get("name"), first.get("tests"), second.get("skipped")) == ("card v1 × simulated:a", "3", "1")
    tags = [[child.tag for child in case if child.tag != "system-out"] for case in root.iter("testcase")]
    assert tags == [[], ["failure"], ["error"], ["skipped"]]
    assert [case.get("name") for case in first] == ["case 0", "case 1 (repeat 2)", "case 2"]
    assert "  fail contains [not_contained] No." in str(first[1].findtext("system-out"))
    error = first[2].find("error")
    assert error is not None
    assert (error.get("type"), error.get("message")) == ("missing", "The provider is away.")


# -- Markdown --------------------------------------------------------------------------------------------------------


def test_markdown_has_the_summary_and_what_did_not_pass(tmp_path: Path) -> None:
    results = every_outcome()
    write_results(results, tmp_path / "r.md", title="Nightly", rows=summarise(results))
    text = (tmp_path / "r.md").read_text()
    assert text.startswith("# Nightly\n")
    assert r"| card v1 | simulated\:a | 50%" in text
    assert text.count("\n| case") == 3
    write_results([result(number, "fail") for number in range(MAX_SHOWN + 7)], tmp_path / "r.md")
    assert "and 7 more" in (tmp_path / "r.md").read_text()
    write_results([result(0)], tmp_path / "r.md")
    assert "All 1 items passed" in (tmp_path / "r.md").read_text()
    write_results([], tmp_path / "r.md")
    assert "There are no results" in (tmp_path / "r.md").read_text()


@given(st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cell_is_one_cell_and_no_html(text: str) -> None:
    made = cell(text)
    assert len(made.splitlines()) <= 1
    assert "|" not in made.replace("\\\\", "").replace("\\|", "")
    assert "<" not in made.replace("<br>", "")
