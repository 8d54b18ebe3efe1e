"""The log of results: exact, in order, small in memory, and whole after a kill."""

import os
import stat
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptcard_ext.core.errors import FileError
from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.local.results_log import ResultsLog
from tests.local.programs import killed, says, started
from tests.local.values import HOSTILE, RESULTS, result


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "results.jsonl"


@pytest.mark.parametrize("named", [True, False])
def test_results_come_back_by_item_by_arrival_and_by_plan(path: Path, named: bool) -> None:
    log = ResultsLog(path if named else None)
    log.append([result(5), result(2)])
    log.append([result(9)])
    assert len(log) == 3
    assert (log.get(2), log.get(3), log.get(-1), log.get(10**9)) == (result(2), None, None, None)
    assert [one.ordinal for one in log.window(0, 2)] == [5, 2]
    assert [one.ordinal for one in log.window(-3, 99)] == [5, 2, 9]
    assert log.window(3, 9) == log.window(2, 1) == []
    assert [one.ordinal for one in log.iter_plan()] == list(log.ordinals()) == [2, 5, 9]
    assert 5 in log
    assert 4 not in log


def test_the_last_result_of_an_item_counts_in_the_place_of_the_first(path: Path) -> None:
    log = ResultsLog(path)
    log.append([result(0, outcome=Outcome.ERROR), result(1)])
    log.append([result(0, "again")])
    for one in (log, ResultsLog(path, write=False)):
        assert len(one) == 2
        assert [found.generation.output for found in one.window(0, 9) if found.generation] == ["again", "hello"]
        assert one.get(0) == result(0, "again")
    assert path.read_bytes().count(b"\n") == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.lists(RESULTS, max_size=3), max_size=4))
def test_any_results_come_back_as_they_were(path: Path, batches: list[list[ItemResult]]) -> None:
    path.unlink(missing_ok=True)
    expected: dict[int, ItemResult] = {}
    for batch in batches:
        log = ResultsLog(path)
        log.append(batch)
        expected |= {one.ordinal: one for one in batch}
        assert {one.ordinal: one for one in log.iter_plan()} == expected
        assert [one.ordinal for one in log.window(0, 99)] == list(expected)
        log.close()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_answers_come_back_as_they_were(path: Path, text: str) -> None:
    ResultsLog(path).append([result(0, text), result(1)])
    assert list(ResultsLog(path).iter_plan()) == [result(0, text), result(1)]


def test_nobody_else_can_read_it(path: Path) -> None:
    ResultsLog(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_memory_does_not_grow_with_what_the_results_say() -> None:
    log = ResultsLog()
    large = result(0, "x" * 2_000)
    log.append([large])
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for ordinal in range(1, 20_001):
        log.append([ItemResult(ordinal, *[getattr(large, name) for name in large.__struct_fields__[1:]])])
    log.flush()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / 20_000 <= 16
    assert log.get(20_000) is not None


KILLED = """
import sys
from promptcard_ext.local.results_log import ResultsLog
from tests.local.values import result
log = ResultsLog(sys.argv[1])
for ordinal in range(500):
    log.append([result(ordinal)])
print("written", flush=True)
sys.stdin.read()
"""


def test_everything_appended_survives_a_kill(path: Path) -> None:
    with started(KILLED, str(path)) as program:
        says(program, "written")
        killed(program)
    log = ResultsLog(path)
    assert log.torn_bytes == 0
    assert list(log.ordinals()) == list(range(500))


@pytest.mark.parametrize("keep", [1, 50, -1])
def test_a_last_line_that_was_torn_is_cut_off_and_the_file_goes_on(path: Path, keep: int) -> None:
    ResultsLog(path).append([result(0), result(1)])
    first, second, _ = path.read_bytes().split(b"\n")
    torn = second[:keep]
    path.write_bytes(first + b"\n" + torn)
    reading = ResultsLog(path, write=False)
    assert (reading.torn_bytes, list(reading.ordinals())) == (len(torn), [0])
    assert path.read_bytes().endswith(torn)
    log = ResultsLog(path)
    assert (log.torn_bytes, list(log.ordinals())) == (len(torn), [0])
    log.append([result(1, "again")])
    assert list(ResultsLog(path).iter_plan()) == [result(0), result(1, "again")]


def test_zeros_that_a_crash_of_the_machine_left_are_cut_off(path: Path) -> None:
    ResultsLog(path).append([result(0)])
    with path.open("ab") as file:
        file.write(bytes(5_000))
    log = ResultsLog(path)
    assert (log.torn_bytes, len(log)) == (5_000, 1)


@pytest.mark.parametrize(
    "line", [b"hello", b"{}", b'{"ordinal": -1}', b'{"ordinal": 99999999999}', b'{"ordinal": "1"}']
)
def test_a_line_that_is_no_result_is_an_error_and_nothing_is_removed(path: Path, line: bytes) -> None:
    ResultsLog(path).append([result(0)])
    with path.open("ab") as file:
        file.write(line + b"\n")
    content = path.read_bytes()
    with pytest.raises(FileError, match="line 2") as caught:
        ResultsLog(path)
    assert caught.value.code == "results_invalid"
    assert path.read_bytes() == content


def test_a_file_that_somebody_changes_is_an_error_when_it_is_read(path: Path) -> None:
    log = ResultsLog(path)
    log.append([result(0)])
    path.write_bytes(b"#" * path.stat().st_size)
    with pytest.raises(FileError) as caught:
        log.get(0)
    assert caught.value.code == "results_invalid"


def test_what_cannot_be_written_is_said_and_kept() -> None:
    log = ResultsLog()
    closed, log._fd = log._fd, os.open("/dev/full", os.O_RDWR)
    log.append([result(0)])
    with pytest.raises(FileError) as caught:
        log.flush()
    assert caught.value.code == "results_unusable"
    os.close(log._fd)
    log._fd = closed
    assert log.get(0) == result(0)


def test_a_file_that_cannot_be_opened_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        ResultsLog(tmp_path)
    assert caught.value.code == "results_unusable"


def test_others_read_while_one_appends(path: Path) -> None:
    log = ResultsLog()
    problems: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            problems.extend(
                f"{one.ordinal}" for one in log.window(len(log) - 20, len(log)) if one != result(one.ordinal)
            )

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for ordinal in range(2_000):
        log.append([result(ordinal)])
    done.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert len(list(log.iter_plan())) == 2_000


def test_closing_twice_is_fine(path: Path) -> None:
    log = ResultsLog(path)
    log.append([result(0)])
    log.close()
    log.close()
    assert len(ResultsLog(path)) == 1
