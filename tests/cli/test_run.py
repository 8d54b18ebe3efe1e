"""`jupyter promptcards run` and its neighbours: runs that are kept, resumed, judged again and written out."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import openpyxl
import pandas as pd
import pytest

from tests.stub_server import Behaviour, Call, Stub
from tests.support import Program, run_command, wait_for

CARD = """\
card:
  name: greet
versions:
  - template: Say hello to {{ who }}.
cases:
"""
CASE = """\
  - name: case-{n}
    variables: {{who: Ada {n}}}
    metadata: {{half: {half}}}
    assertions:
      - {{type: contains, value: Ada {n}, metric: named}}
      - {{type: not-contains, value: Ada 3}}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def card_file(folder: Path, count: int = 6) -> Path:
    path = folder / "greet.yaml"
    cases = "".join(CASE.format(n=n, half="upper" if n % 2 else "lower") for n in range(count))
    path.write_text(CARD + cases)
    return path


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return card_file(tmp_path)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub(echo) as server:
        yield server


def echo(call: Call) -> Behaviour:
    return Behaviour(text=call.body["messages"][-1]["content"])


def lines(home: Path) -> list[dict[str, object]]:
    """Return what the only run in a home has written."""
    (log,) = home.glob("runs/*/results.jsonl")
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_results_are_kept_and_listed(home: Path, card: Path) -> None:
    done = run_command(home, "run", str(card), "--model", "simulated:echo")
    assert done.returncode == 10, done.stderr
    assert "83%" in done.stdout
    assert "case-3" in done.stdout
    assert len(lines(home)) == 6
    listed = run_command(home, "runs")
    assert "completed" in listed.stdout
    assert "6 of 6" in listed.stdout
    run_id = next(home.glob("runs/*")).name
    assert "83%" in run_command(home, "runs", run_id).stdout
    assert run_command(home, "runs", run_id, "--remove").returncode == 0
    assert "No run is kept" in run_command(home, "runs").stdout


@pytest.mark.parametrize(
    ("filters", "ran"),
    [(["case-[12]"], 2), (["half=upper"], 3), (["half=*"], 6), (["half=upper", "case-1"], 1), (["failing"], 1)],
)
def test_a_filter_chooses_cases(home: Path, card: Path, filters: list[str], ran: int) -> None:
    run_command(home, "run", str(card), "--model", "simulated:echo")
    options = [word for text in filters for word in ("--filter", text)]
    done = run_command(home, "run", str(card), "--model", "simulated:echo", *options)
    assert done.returncode in (0, 10), done.stderr
    assert f"of {ran} " in done.stdout


def test_a_filter_that_fits_nothing_is_an_error(home: Path, card: Path) -> None:
    done = run_command(home, "run", str(card), "--model", "simulated:echo", "--filter", "nosuch")
    assert (done.returncode, "no_cases" in done.stderr) == (2, True)
    unknown = run_command(home, "run", str(card), "--model", "simulated:echo", "--filter", "failing")
    assert "run_not_found" in unknown.stderr


def test_a_run_that_is_killed_goes_on_where_it_was_and_pays_nothing_twice(home: Path, tmp_path: Path) -> None:
    card = card_file(tmp_path, 200)
    with Stub(lambda call: Behaviour(text=echo(call).text, latency_s=0.02)) as stub:
        address = {"OPENAI_BASE_URL": f"{stub.url}/v1"}
        with Program(home, "run", str(card), "--model", "openai:m", "--concurrency", "4", **address) as program:
            wait_for(lambda: len([*home.glob("runs/*/results.jsonl")]) == 1 and len(lines(home)) >= 20)
            program.kill()
        kept, paid = len(lines(home)), len(stub.calls)
        assert 20 <= kept < 200
        card.unlink()  # the run needs none of the files it was started from
        done = run_command(home, "run", "--resume", **address)
    assert done.returncode == 10, done.stderr
    ordinals = [line["ordinal"] for line in lines(home)]
    assert sorted(ordinals) == list(range(200))
    # What was answered in the last fifth of a second before the kill may not have been written yet.
    assert len(stub.calls) == paid + 200 - kept


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(home: Path, tmp_path: Path) -> None:
    card = card_file(tmp_path, 60)
    blocked = {"yes": True}

    def rule(call: Call) -> Behaviour:
        stuck = blocked["yes"] and int(call.body["messages"][-1]["content"].rstrip(".").split()[-1]) >= 10
        return Behaviour(text=echo(call).text, silent=stuck)

    with Stub(rule) as stub:
        address = {"OPENAI_BASE_URL": f"{stub.url}/v1"}
        with Program(home, "run", str(card), "--model", "openai:m", **address) as program:
            wait_for(lambda: [*home.glob("runs/*/results.jsonl")] and len(lines(home)) == 10)
            program.process.send_signal(signal.SIGINT)
            assert program.process.wait(20) == 130
            assert "10 of 60 results are kept" in program.output
            assert "run --resume 2" in program.output
            assert "Traceback" not in program.output
        blocked["yes"] = False
        done = run_command(home, "run", "--resume", **address)
    assert done.returncode == 10, done.stderr
    assert len(lines(home)) == 60


def test_errors_are_tried_again_when_asked_for(home: Path, card: Path) -> None:
    broken = {"yes": True}
    with Stub(lambda call: Behaviour(status=400) if broken["yes"] else echo(call)) as stub:
        address = {"OPENAI_BASE_URL": f"{stub.url}/v1"}
        first = run_command(home, "run", str(card), "--model", "openai:m", **address)
        assert first.returncode == 20
        assert (
            run_command(home, "run", str(card), "--model", "openai:m", "--max-errors", "1", **address).returncode == 0
        )
        run_id = sorted(path.name for path in home.glob("runs/*"))[0]
        broken["yes"] = False
        calls = len(stub.calls)
        unchanged = run_command(home, "run", "--resume", run_id, **address)
        assert (unchanged.returncode, len(stub.calls)) == (20, calls)
        done = run_command(home, "run", "--resume", run_id, "--retry-errors", **address)
    assert done.returncode == 10, done.stderr
    assert len(stub.calls) == calls + 6


PRICES = """\
prices:
  - {provider: simulated, model: echo, input_per_mtok: 0, output_per_mtok: 0, per_call: 1}
"""


def test_a_budget_stops_a_run_and_a_larger_one_lets_it_go_on(home: Path, card: Path) -> None:
    prices = ("--prices", str(card.with_name("prices.yaml")))
    card.with_name("prices.yaml").write_text(PRICES)
    first = run_command(home, "run", str(card), "--model", "simulated:echo", "--max-cost", "2.5", *prices)
    assert "budget" in first.stdout + first.stderr, first
    assert first.returncode == 20
    assert "4 of 6 items were not finished" in first.stderr
    done = run_command(home, "run", "--resume", next(home.glob("runs/*")).name, "--max-cost", "9", *prices)
    assert done.returncode == 10, done.stderr
    assert len({line["ordinal"] for line in lines(home)}) == 6


def test_a_run_that_is_over_has_nothing_to_resume(home: Path, card: Path) -> None:
    run_command(home, "run", str(card), "--model", "simulated:echo")
    done = run_command(home, "run", "--resume")
    assert "run_not_found" in done.stderr


def test_changed_assertions_are_applied_without_a_call(home: Path, card: Path, stub: Stub) -> None:
    address = {"OPENAI_BASE_URL": f"{stub.url}/v1"}
    assert run_command(home, "run", str(card), "--model", "openai:m", **address).returncode == 10
    card.write_text(card.read_text().replace("value: Ada 3}", "value: Ada 4}"))
    done = run_command(home, "regrade", str(card), **address)
    assert done.returncode == 10, done.stderr
    assert "2 of 6 items flipped" in done.stdout
    assert "fail → pass" in done.stdout
    assert len(stub.calls) == 6


def test_stored_answers_are_taken_and_shown_and_removed(home: Path, card: Path, stub: Stub, tmp_path: Path) -> None:
    kept = ("--cache-file", str(tmp_path / "answers.db"))
    address = {"OPENAI_BASE_URL": f"{stub.url}/v1"}
    for _ in range(2):
        run_command(home, "run", str(card), "--model", "openai:m", "--cache", "cache", *kept, **address)
    assert len(stub.calls) == 6
    assert "6 answers" in run_command(home, "cache", *kept).stdout
    replayed = run_command(home, "run", str(card), "--model", "openai:m", "--cache", "replay", *kept, **address)
    assert (replayed.returncode, len(stub.calls)) == (10, 6)
    assert "Removed 0" in run_command(home, "cache", "prune", "--older", "1h", *kept).stdout
    assert "Removed 6" in run_command(home, "cache", "clear", *kept).stdout
    assert "age_invalid" in run_command(home, "cache", "prune", "--older", "soon", *kept).stderr


def test_results_are_written_in_every_form(home: Path, card: Path, tmp_path: Path) -> None:
    forms = ("json", "jsonl", "junit", "html", "csv", "xlsx", "parquet", "markdown")
    options = [word for form in forms for word in (f"--{form}", str(tmp_path / f"out.{form}"))]
    done = run_command(home, "run", str(card), "--model", "simulated:echo", *options)
    assert done.returncode == 10, done.stderr
    assert len(json.loads((tmp_path / "out.json").read_text())["results"]) == 6
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 6
    suite = ElementTree.parse(tmp_path / "out.junit").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("6", "1")
    assert "<script" not in (tmp_path / "out.html").read_text()
    assert len(pd.read_csv(tmp_path / "out.csv")) == len(pd.read_parquet(tmp_path / "out.parquet")) == 6
    assert openpyxl.load_workbook(tmp_path / "out.xlsx").active.max_row == 7
    assert "case-3" in (tmp_path / "out.markdown").read_text()
    run_id = next(home.glob("runs/*")).name
    exported = run_command(home, "export", run_id, str(tmp_path / "again.xml"))
    assert exported.returncode == 0, exported.stderr
    assert 'failures="1"' in (tmp_path / "again.xml").read_text()


def test_a_file_that_cannot_be_written_is_known_before_the_first_call(home: Path, card: Path, stub: Stub) -> None:
    done = run_command(
        home, "run", str(card), "--model", "openai:m", "--json", "/nosuch/out.json", OPENAI_BASE_URL=f"{stub.url}/v1"
    )
    assert (done.returncode, "file_unwritable" in done.stderr, stub.calls) == (2, True, [])


def test_repeats_are_reduced(home: Path, card: Path) -> None:
    done = run_command(home, "run", str(card), "--model", "simulated:echo", "--repeat", "3", "--reduce", "pass^3")
    assert "pass^3" in done.stdout
    assert "of 18" in done.stdout
    unknown = run_command(home, "run", str(card), "--model", "simulated:echo", "--reduce", "best")
    assert (unknown.returncode, "reducer_unknown" in unknown.stderr) == (2, True)


def test_an_estimate_makes_no_call(home: Path, card: Path, stub: Stub) -> None:
    done = run_command(home, "estimate", str(card), "--model", "openai:m", OPENAI_BASE_URL=f"{stub.url}/v1")
    assert done.returncode == 0, done.stderr
    for word in ("calls", "minutes", "dollars", "not known"):
        assert word in done.stdout
    assert stub.calls == []


CONFIG = """\
prompts: ["Say hello to {{who}}."]
providers: [openai:chat:gpt-4o-mini]
defaultTest:
  assert: [{type: icontains, value: hello}]
tests:
  - vars: {who: [Ada, Grace]}
    assert:
      - {type: javascript, value: "output.length > 3"}
"""


def test_a_promptfoo_configuration_runs_as_it_is(home: Path, tmp_path: Path) -> None:
    config = tmp_path / "promptfooconfig.yaml"
    config.write_text(CONFIG)
    done = run_command(home, "run", str(config), "--model", "simulated:echo")
    assert "line 8" in done.stderr
    assert "javascript" in done.stderr
    assert "of 2" in done.stdout
    imported = run_command(home, "import", str(config), "--out", str(tmp_path))
    assert imported.returncode == 10  # one assertion was not carried over
    written = tmp_path / "prompt.yaml"
    assert run_command(home, "lint", str(written)).returncode == 0
    again = run_command(home, "import", str(config), "--out", str(tmp_path))
    assert (again.returncode, "file_exists" in again.stderr) == (2, True)


def test_a_card_becomes_a_promptfoo_configuration_and_its_cases_a_table(home: Path, card: Path, tmp_path: Path) -> None:
    assert run_command(home, "export", str(card), str(tmp_path / "promptfooconfig.yaml")).returncode == 0
    assert (
        run_command(home, "run", str(tmp_path / "promptfooconfig.yaml"), "--model", "simulated:echo").returncode == 10
    )
    assert run_command(home, "export", str(card), str(tmp_path / "cases.csv")).returncode == 0
    done = run_command(home, "run", str(card), "--model", "simulated:echo", "--cases", str(tmp_path / "cases.csv"))
    assert "83%" in done.stdout, done.stderr


def test_what_may_be_wrong_with_a_card_is_told_and_only_errors_fail(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "greet.yaml"
    path.write_text(CARD.replace("name: greet", "name: greet\n  variables: [{name: who}, {name: unused}]") + "  []\n")
    done = run_command(home, "lint", str(path))
    assert done.returncode == 0, done.stderr
    assert "unused" in done.stderr
    assert run_command(home, "lint", "--strict", str(path)).returncode == 2


def test_several_files_write_a_result_file_each(home: Path, card: Path, tmp_path: Path) -> None:
    other = card.with_name("other.yaml")
    other.write_text(card.read_text().replace("name: greet", "name: other"))
    out = ("--junit", str(tmp_path / "results.xml"))
    run_command(home, "run", str(card), str(other), str(other), "--model", "simulated:echo", *out)
    assert {path.name for path in tmp_path.glob("results*.xml")} == {
        "results-greet.xml", "results-2-other.xml", "results-3-other.xml"
    }  # fmt: skip


def test_an_estimate_without_a_judge_that_is_needed_is_refused_as_the_run_would_be(home: Path, card: Path) -> None:
    card.write_text(
        card.read_text().replace("{type: not-contains, value: Ada 3}", "{type: llm-rubric, value: Is kind.}")
    )
    done = run_command(home, "estimate", str(card), "--model", "openai:gpt-4o-mini")
    assert (done.returncode, "no_judge" in done.stderr) == (2, True), done.stdout
    judged = ("--judge", "openai:gpt-4o-mini")
    assert run_command(home, "estimate", str(card), "--model", "openai:gpt-4o-mini", *judged).returncode == 0
