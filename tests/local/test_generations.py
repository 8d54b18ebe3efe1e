"""Stored answers: exact, shared by processes, alive after a kill, and careful with files of others."""

import sqlite3
import stat
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptcard_ext.core.errors import FileError
from promptcard_ext.core.ports import GenerationStore
from promptcard_ext.core.results import Generation
from promptcard_ext.local.cache_writer import BATCH
from promptcard_ext.local.generations import FileGenerations, MemoryGenerations
from tests.local.programs import killed, says, started
from tests.local.values import GENERATIONS, HOSTILE, TEXTS, generation


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "generations.db"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_is_there_at_once_after_a_flush_and_in_the_next_process(path: Path) -> None:
    store: GenerationStore = FileGenerations(path)
    assert store.get("k") is None
    store.put("k", generation())
    assert store.get("k") == generation()
    store.flush()
    assert store.get("k") == generation()
    other = FileGenerations(path)
    assert other.get("k") == generation()
    store.put("k", generation("newer"))
    store.flush()
    assert other.get("k") == generation("newer")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_answers_and_keys_come_back_as_they_were(path: Path, text: str) -> None:
    store = FileGenerations(path)
    store.put(text, generation(text))
    store.close()
    assert FileGenerations(path).get(text) == generation(text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.dictionaries(TEXTS, GENERATIONS, max_size=4))
def test_any_answers_come_back_as_they_were(path: Path, answers: dict[str, Generation]) -> None:
    store = FileGenerations(path)
    for key, value in answers.items():
        store.put(key, value)
    store.close()
    again = FileGenerations(path)
    assert {key: again.get(key) for key in answers} == answers
    again.clear()
    again.close()


@pytest.mark.parametrize("kind", [FileGenerations, MemoryGenerations])
def test_an_answer_may_be_too_old(kind: type, path: Path) -> None:
    clock = Clock()
    store = FileGenerations(path, clock) if kind is FileGenerations else MemoryGenerations(clock)
    store.put("k", generation())
    for _ in range(2):
        clock.now = 1_000_060.0
        assert store.get("k", max_age_s=60) == generation()
        clock.now = 1_000_060.1
        assert store.get("k", max_age_s=60) is None
        assert store.get("k") == generation()
        store.flush()
    store.put("k", generation("again"))
    assert store.get("k", max_age_s=60) == generation("again")


def test_nobody_else_can_read_it(path: Path) -> None:
    store = FileGenerations(path)
    store.put("k", generation())
    store.flush()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_the_environment_says_where_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_CACHE", str(path))
    assert FileGenerations().path == path
    monkeypatch.delenv("PROMPTCARDS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(path.parent))
    if sys.platform == "linux":
        assert FileGenerations().path == path.parent / "promptcards" / "generations.db"


def test_a_full_batch_is_written_without_a_flush(path: Path) -> None:
    store, other = FileGenerations(path), FileGenerations(path)
    written = threading.Event()
    insert = store._writer._insert
    store._writer._insert = lambda rows: (insert(rows), written.set())  # type: ignore[method-assign, assignment]
    for number in range(BATCH):
        store.put(str(number), generation())
    assert written.wait(30)
    assert other.get("0") == generation()


WRITES = """
import sys
from promptcard_ext.core.results import Generation
from promptcard_ext.local.generations import FileGenerations
path, name, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = FileGenerations(path)
for i in range(number):
    store.put(f"{name}{i}", Generation("p", "m", "h", f"{name} {i}", 1.0))
    if i % 7 == 0:
        store.flush()
store.flush()
print("written", flush=True)
sys.stdin.read()
"""


def test_what_was_flushed_survives_a_kill(path: Path) -> None:
    with started(WRITES, str(path), "a", "1200") as program:
        says(program, "written")
        killed(program)
    store = FileGenerations(path)
    assert all(store.get(f"a{i}") is not None for i in range(1200))


def test_two_processes_write_one_file(path: Path) -> None:
    with started(WRITES, str(path), "a", "700") as one, started(WRITES, str(path), "b", "700") as two:
        mine = FileGenerations(path)
        for i in range(700):
            mine.put(f"c{i}", generation(f"c {i}"))
        mine.flush()
        says(one, "written")
        says(two, "written")
        found = {name: mine.get(f"{name}{i}") for name in "abc" for i in range(700)}
    assert None not in found.values()
    assert mine.stats().entries == 2100


def test_what_it_holds_and_what_is_old_and_clearing(path: Path) -> None:
    clock = Clock()
    store = FileGenerations(path, clock)
    store.put("old", generation())
    clock.now += 100
    for number in range(3):
        store.put(f"new {number}", Generation("ollama", "llama", "h", "x" * 10_000, 1.0))
    stats = store.stats()
    assert (stats.entries, stats.oldest) == (4, 1_000_000.0)
    assert stats.by_model == {"ollama:llama": 3, "openai:gpt": 1}
    assert stats.size_bytes > 30_000
    assert store.prune(max_age_s=50) == 1
    assert store.get("old") is None
    assert store.get("new 0") is not None
    before = path.stat().st_size
    assert store.clear() == 3
    assert path.stat().st_size < before
    assert store.stats() == (0, 0, None, {})


def broken(path: Path, code: str) -> FileError:
    content = path.read_bytes()
    with pytest.raises(FileError) as caught:
        FileGenerations(path)
    assert caught.value.code == code
    assert str(path) in caught.value.message
    assert path.read_bytes() == content
    return caught.value


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3\0" + b"x" * 5000, b"\0" * 4096])
def test_a_file_that_is_no_database_is_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    broken(path, "cache_invalid")


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE generation (mine)")
    other.close()
    assert "another program" in broken(path, "cache_invalid").message


def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    store = FileGenerations(path)
    store._writer._connection.execute("PRAGMA user_version = 2")
    store.close()
    broken(path, "cache_newer")


def test_a_file_that_is_damaged_later_is_an_error_that_says_so(path: Path) -> None:
    store = FileGenerations(path)
    store.put("k", generation())
    store.flush()
    store._writer._connection.execute("UPDATE generation SET body = x'7b'")
    with pytest.raises(FileError) as caught:
        store.get("k")
    assert caught.value.code == "cache_invalid"


def test_a_path_that_is_a_folder_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        FileGenerations(tmp_path)
    assert caught.value.code == "cache_unusable"
    with pytest.raises(FileError) as caught:
        FileGenerations("/dev/null/cache.db")
    assert caught.value.code == "cache_unusable"


def test_what_cannot_be_written_is_said_by_flush_and_kept(path: Path) -> None:
    store = FileGenerations(path)
    store._writer._connection.execute("PRAGMA query_only = ON")
    store.put("k", generation())
    with pytest.raises(FileError) as caught:
        store.flush()
    assert caught.value.code == "cache_unusable"
    assert store.get("k") == generation()
    store._writer._connection.execute("PRAGMA query_only = OFF")
    store.flush()
    assert FileGenerations(path).get("k") == generation()


def test_a_store_that_is_dropped_writes_what_it_has(path: Path) -> None:
    store = FileGenerations(path)
    store.put("k", generation())
    del store
    assert FileGenerations(path).get("k") == generation()


def test_closing_twice_is_fine(path: Path) -> None:
    store = FileGenerations(path)
    store.put("k", generation())
    store.close()
    store.close()
    assert not list(path.parent.glob("*-wal"))
