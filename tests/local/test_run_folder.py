"""A run on disk: enough to go on with, for one process at a time, and careful with what is not one."""

import json
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, ModelSettings, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError, Conflict, FileError, NotFound, PromptCardError
from promptcard_ext.core.results import Counts
from promptcard_ext.local.run_folder import RunFolder
from tests.local.programs import killed, says, started
from tests.local.values import result

CARD = Card("triage", "Is {{ text }} urgent?", variables=[Variable("text")], settings=ModelSettings(temperature=0))
CASES = [Case({"text": "fire"}, [Assertion("is-json")], "fire"), Case({"text": "\ud800\x00"})]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def create(base: Path, name: str = "Triage, v2!", **more: Any) -> RunFolder:
    fields: dict[str, Any] = {"cards": [CARD], "models": ["openai:gpt"], "cases": iter(CASES)} | more
    return RunFolder.create(name, base=base, **fields)


def test_a_run_is_there_again_with_all_that_it_needs(base: Path) -> None:
    now = datetime(2026, 11, 25, 1, 42, 33, tzinfo=UTC)
    with create(base, repeats=3, options={"judges": ["a:b"], "note": "\ud800"}, now=now) as run:
        assert run.id.startswith("20261125-014233-triage-v2-")
        run.results.append([result(0)])
    with RunFolder.open(run.id, base=base) as again:
        head = again.head
        assert (head.name, head.cards, head.models, head.repeats) == ("Triage, v2!", (CARD,), ("openai:gpt",), 3)
        assert (head.options, head.started) == ({"judges": ["a:b"], "note": "\ud800"}, now)
        assert (head.status, head.counts) == ("running", None)
        assert list(again.cases) == CASES
        assert list(again.results.iter_plan()) == [result(0)]
        again.results.append([result(1)])
        again.finish("completed", Counts(total=2, done=2, passed=2))
    with RunFolder.open(run.id[:20], base=base, write=False) as reading:
        assert (reading.head.status, reading.head.counts) == ("completed", Counts(total=2, done=2, passed=2))
        assert len(reading.results) == 2


def test_nobody_else_can_read_it(base: Path) -> None:
    with create(base) as run:
        assert {stat.S_IMODE(path.stat().st_mode) for path in run.path.iterdir()} == {0o600}
        assert {stat.S_IMODE(path.stat().st_mode) for path in (base, run.path)} == {0o700}


def test_a_run_that_cannot_start_leaves_nothing(base: Path) -> None:
    with pytest.raises(CardError):
        create(base, cases=[{"a": 1}, {"a": 1}])
    with pytest.raises(TypeError):
        create(base, options={"what": object()})
    assert list(base.iterdir()) == []


def test_one_process_at_a_time_works_on_a_run_and_others_read_it(base: Path) -> None:
    with create(base) as run:
        for attempt in (RunFolder.open, RunFolder.remove):
            with pytest.raises(Conflict) as caught:
                attempt(run.id, base=base)
            assert caught.value.code == "run_busy"
        run.results.append([result(0)])
        with RunFolder.open(run.id, base=base, write=False) as reading:
            assert len(reading.results) == 1
    RunFolder.open(run.id, base=base).close()


HOLDS = """
import sys
from pathlib import Path
from promptcard_ext.local.run_folder import RunFolder
from tests.local.values import result
run = RunFolder.open(sys.argv[2], base=Path(sys.argv[1]))
run.results.append([result(1)])
print("held", flush=True)
sys.stdin.read()
"""


def test_a_process_that_is_killed_lets_go_and_its_results_stay(base: Path) -> None:
    run = create(base)
    run.close()
    with started(HOLDS, str(base), run.id) as program:
        says(program, "held")
        with pytest.raises(Conflict):
            RunFolder.open(run.id, base=base)
        killed(program)
    with RunFolder.latest(base=base, unfinished=True) as again:
        assert again.id == run.id
        assert list(again.results.ordinals()) == [1]


def test_runs_are_listed_latest_first_and_found(base: Path) -> None:
    assert RunFolder.list(base) == []
    ids = []
    for day, (name, status) in enumerate([("a", "cancelled"), ("b", "completed"), ("c", "completed")], 1):
        card = Card(name, "x")
        with create(base, name, cards=[card], now=datetime(2026, 1, day, tzinfo=UTC)) as run:
            run.finish(status, Counts())
            ids.append(run.id)
    (base / "notes.txt").write_text("not a run")
    shutil.copytree(base / ids[0], base / "20260201-000000-copy-0000")
    assert [head.id for head in RunFolder.list(base)] == ids[::-1]

    def latest(**which: Any) -> str:
        with RunFolder.latest(base=base, **which) as found:
            return found.id

    assert (latest(), latest(card="b"), latest(unfinished=True)) == (ids[2], ids[1], ids[0])
    RunFolder.remove(ids[0], base=base)
    assert not (base / ids[0]).exists()
    for missing in ({"unfinished": True}, {"card": "a"}):
        with pytest.raises(NotFound) as caught:
            latest(**missing)
        assert caught.value.code == "run_not_found"


def test_an_unfinished_run_that_is_being_worked_on_is_passed_over(base: Path) -> None:
    create(base, "old", now=datetime(2026, 1, 1, tzinfo=UTC)).close()
    new = create(base, "new", now=datetime(2026, 1, 2, tzinfo=UTC))
    with new, RunFolder.latest(base=base, unfinished=True) as found:
        assert found.head.name == "old"
        with pytest.raises(Conflict):
            RunFolder.latest(base=base, unfinished=True)


@pytest.mark.parametrize("name", ["", "..", "/", "../../etc", "20260101-000000-a-0000", "2"])
def test_what_is_not_the_id_of_one_run_is_not_found(base: Path, name: str) -> None:
    for _ in range(2):
        create(base).close()
    for attempt in (RunFolder.open, RunFolder.remove):
        with pytest.raises(NotFound) as caught:
            attempt(name, base=base)
        assert caught.value.code == "run_not_found"
    assert len(RunFolder.list(base)) == 2


def changed(**fields: Any) -> Any:
    def change(path: Path) -> None:
        head = json.loads((path / "run.json").read_text())
        (path / "run.json").write_text(json.dumps(head | fields))

    return change


def linked(path: Path) -> None:
    (path / "results.jsonl").unlink()
    (path / "results.jsonl").symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda path: (path / "run.json").unlink(), "run_invalid"),
        (lambda path: (path / "run.json").write_bytes(b""), "run_invalid"),
        (lambda path: (path / "run.json").write_bytes(b"\xff\0{"), "run_invalid"),
        (lambda path: (path / "run.json").write_bytes(b"[" * 100_000), "run_invalid"),
        (changed(format=2), "run_newer"),
        (changed(format=2, id=[], more=1), "run_newer"),
        (changed(id="another"), "run_invalid"),
        (changed(models="x"), "run_invalid"),
        (changed(cards=[{"name": "c"}]), "run_invalid"),
        (changed(cards=[{"name": "C C", "template": "x"}]), "run_invalid"),
        (changed(cases_sha256="0"), "run_invalid"),
        (lambda path: (path / "cases.jsonl").unlink(), "cases_unusable"),
        (lambda path: (path / "cases.jsonl").write_bytes(b"{"), "cases_invalid"),
        (lambda path: (path / "results.jsonl").write_bytes(b"hello\n"), "results_invalid"),
        (linked, "run_invalid"),
    ],
)  # fmt: skip
def test_a_folder_that_was_damaged_is_an_error_that_says_so_and_hides_no_other(
    base: Path, damage: Any, code: str
) -> None:
    create(base).close()
    run = create(base)
    run.close()
    damage(run.path)
    for write in (True, False):
        with pytest.raises(PromptCardError) as caught:
            RunFolder.open(run.id, base=base, write=write)
        assert caught.value.code == code
    assert len([head for head in RunFolder.list(base) if head.id != run.id]) == 1


def test_a_place_that_cannot_be_written_is_an_error_that_says_so() -> None:
    with pytest.raises(FileError) as caught:
        create(Path("/dev/null/runs"))
    assert caught.value.code == "run_unusable"


def test_the_environment_says_where_runs_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_HOME", str(tmp_path))
    with RunFolder.create("a", cards=[CARD], models=["a:b"], cases=CASES) as run:
        assert run.path.parent == tmp_path / "runs"
    assert [head.id for head in RunFolder.list()] == [run.id]
