"""Where the run of a report comes from."""

import sys
from types import ModuleType

import pytest

from promptcard_ext import report
from promptcard_ext.core.errors import NotFound, RunError
from tests.report.conftest import RUN_ID, item, run_info


def test_a_snapshot_gives_the_run_it_was_made_of(snapshot, simulated) -> None:
    snapshot(simulated)
    run = report.load_run(RUN_ID)
    assert run.results == simulated
    assert (run.name, run.status, run.repeats) == ("Nightly", "completed", 1)
    assert run.labels == ["support-triage@1", "support-triage@2"]


def test_results_are_put_in_the_order_of_the_plan(snapshot) -> None:
    snapshot([item(2), item(0), item(1)])
    assert [result.ordinal for result in report.load_run(RUN_ID).results] == [0, 1, 2]


def test_a_snapshot_of_another_run_is_refused(snapshot) -> None:
    snapshot([item(0)])
    with pytest.raises(RunError, match=f"of run '{RUN_ID}', not of 'other'") as caught:
        report.load_run("other")
    assert caught.value.code == "snapshot_mismatch"


def test_without_a_run_it_says_where_to_put_one(snapshot) -> None:
    snapshot([item(0)])
    with pytest.raises(NotFound, match="Set run_id in the parameters cell"):
        report.load_run("")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"ordinal": "x"}\n'])
@pytest.mark.parametrize("name", ["run.json", "items.jsonl"])
def test_a_broken_snapshot_is_one_clear_error(snapshot, name: str, content: bytes) -> None:
    folder = snapshot([item(0)])
    if name == "items.jsonl" and not content:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(RunError) as caught:
        report.load_run(RUN_ID)
    assert caught.value.code in {"snapshot_invalid", "snapshot_mismatch"}
    assert str(folder) not in str(caught.value)


def test_without_a_snapshot_the_server_is_asked(monkeypatch) -> None:
    asked = []

    class Workspace:
        def run_snapshot(self, run_id: str):
            asked.append(run_id)
            return run_info([item(0)]), [item(0)]

    module = ModuleType("promptcard_ext.kernel.workspace")
    module.connect = Workspace
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delenv("PROMPTCARDS_SNAPSHOT", raising=False)
    assert report.load_run("r1").counts.passed == 1
    assert asked == ["r1"]
