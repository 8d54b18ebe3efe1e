"""Cases on disk: the same cases, one at a time, each only once."""

import stat
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError, FileError
from promptcard_ext.core.matrix import Plan
from promptcard_ext.local.case_index import CaseIndex
from promptcard_ext.local.case_spool import CaseSpool
from tests.local.values import HOSTILE, JSON, TEXTS

FINITE = JSON.filter(lambda value: "inf" not in repr(value))


def test_it_is_a_sequence_of_the_same_cases(tmp_path: Path) -> None:
    cases = [
        Case({"n": 1}, [Assertion("is-json"), Assertion("latency", threshold=5)], "one", threshold=0.5),
        Case({"n": 2}, [Assertion("assert-set", assertions=[Assertion("is-json")])], metadata={"tag": ["a"]}),
        Case({"n": 3}, expected_output="x", priority="high"),
    ]
    spool = CaseSpool.write(iter(cases), tmp_path / "cases.jsonl")
    for one in (spool, CaseSpool.open(tmp_path / "cases.jsonl")):
        assert len(one) == 3
        assert list(one) == cases
        assert (one[-1], one[1:], one[::-1]) == (cases[2], cases[1:], cases[::-1])
        with pytest.raises(IndexError):
            one[3]
        assert one.sha256 == spool.sha256


def test_mappings_become_cases_and_a_plan_takes_them() -> None:
    spool = CaseSpool.write({"n": n} for n in range(10))
    plan = Plan([Card("c", "{{ n }}")], ["fake:m"], spool)
    assert plan.total == 10
    assert plan.cases is spool
    prepared = plan.prepare()
    assert prepared.messages(plan.item(7))[0].content == "7"


@given(st.lists(st.dictionaries(TEXTS, FINITE, max_size=3), max_size=4, unique_by=lambda v: Case(v).uid))
def test_any_cases_come_back_as_they_were(variables: list[dict[str, Any]]) -> None:
    cases = [Case(one) for one in variables]
    spool = CaseSpool.write(cases)
    assert list(spool) == cases
    assert [case.uid for case in spool] == [case.uid for case in cases]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_come_back_as_they_were(text: str) -> None:
    case = Case({"text": text}, [Assertion("is-json")], metadata={text: text})
    assert CaseSpool.write([case])[0] == case


def test_cases_with_the_same_assertions_share_them() -> None:
    spool = CaseSpool.write(Case({"n": n}, [Assertion("is-json")]) for n in range(3))
    assert spool[0].assertions[0] is spool[2].assertions[0]


def test_the_same_case_twice_is_refused_by_name_and_nothing_is_left(tmp_path: Path) -> None:
    def cases() -> Iterator[Case]:
        for n in range(3_000):
            yield Case({"n": n}, name=f"case {n}")
        yield Case({"n": 17}, name="again")

    with pytest.raises(CardError, match="'case 17' and 'again'") as caught:
        CaseSpool.write(cases(), tmp_path / "cases.jsonl")
    assert caught.value.code == "case_twice"
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=3_000))
def test_the_index_finds_an_earlier_place_with_the_same_64_bits(parts: list[tuple[int, int]]) -> None:
    index, first = CaseIndex(), dict[str, int]()
    for place, (high, low) in enumerate(parts):
        # Most share their lowest bits, which is where the table looks first.
        bits = f"{high:08x}{low:08x}"
        found = index.add(bits + "0" * 48)
        assert found is None or found == first.get(bits)
        assert (found is None) == (bits not in first)
        first.setdefault(bits, place)


def test_the_index_takes_less_than_40_bytes_per_case() -> None:
    number = 20_000
    uids = [Case({"n": n}).uid for n in range(number)]
    tracemalloc.start()
    index = CaseIndex()
    assert all(index.add(uid) is None for uid in uids)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 8 bytes more are the places of the lines.
    assert held / number + 8 < 40
    assert index.add(uids[15_000]) == 15_000


def test_nobody_else_can_read_it_and_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cases.jsonl"
    CaseSpool.write([{"n": 1}], path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileError) as caught:
        CaseSpool.write([{"n": 2}], path)
    assert caught.value.code == "cases_unusable"
    assert CaseSpool.open(path)[0] == Case({"n": 1})


def test_a_file_that_is_cut_off_or_damaged_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    CaseSpool.write([{"n": 1}, {"n": 2}], path)
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    with pytest.raises(FileError) as caught:
        CaseSpool.open(path)
    assert caught.value.code == "cases_invalid"
    path.write_bytes(content.replace(b'"variables"', b'"variable"'))
    with pytest.raises(FileError) as caught:
        CaseSpool.open(path)[0]
    assert caught.value.code == "cases_invalid"
    with pytest.raises(FileError) as caught:
        CaseSpool.open(tmp_path / "none")
    assert caught.value.code == "cases_unusable"
