"""Cards, cases, results and lists of them as a notebook shows them."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import promptcard_ext as pc
from promptcard_ext.core.contract.cards import SavedVersion
from promptcard_ext.core.messages import Message
from promptcard_ext.core.shown import Listing
from promptcard_ext.kernel import value_html
from promptcard_ext.local.run_folder import RunFolder
from tests.kernel.page import HOSTILE, Page, assert_nothing_is_obeyed
from tests.widgets.fakes import result

CARD = pc.Card(
    "trip",
    "Plan {{ days }} days in {{ city }}.",
    system="You are brief.",
    title="Trips",
    tags=("travel",),
    variables=(pc.Variable("city"), pc.Variable("days", type="integer", default=2)),
    settings=pc.ModelSettings(temperature=0.5),
)
CASE = pc.Case({"city": "Rome", "days": 3}, (pc.Assertion("contains", "Rome"), pc.Assertion("latency", threshold=500)))
NOBODY = UUID(int=0)


def page(value: Any) -> Page:
    html = value._repr_html_()
    assert isinstance(html, str)
    found = Page(html.replace(value_html.STYLE, ""))
    assert found.open == []
    assert "<script" not in html
    return found


def test_a_card_shows_its_messages_variables_and_settings() -> None:
    text = page(CARD).text
    for part in (
        "Trips",
        "travel",
        "You are brief.",
        "Plan {{ days }} days in {{ city }}",
        "integer",
        "temperature 0.5",
    ):
        assert part in text
    assert "<b>{{ days }}</b>" in CARD._repr_html_()  # type: ignore[operator]


def test_a_case_shows_its_variables_and_assertions_in_their_short_form() -> None:
    text = page(CASE).text
    for part in ("city Rome", "days 3", "contains: Rome", "latency(500)"):
        assert part in text
    assert "it will be unscored" in page(pc.Case({"a": 1})).text


def test_lists_are_tables() -> None:
    text = page(Listing([CASE, pc.Case({"city": "Oslo"}, name="north")])).text
    assert "2 cases" in text
    assert "city=Oslo" in text
    saved = SavedVersion(
        id=NOBODY, card_id=NOBODY, version=3, created_by=None, created_at=datetime(2026, 11, 28, tzinfo=UTC), card=CARD,
        content_hash="ab" * 32,
    )  # fmt: skip
    assert "3" in page(Listing([saved])).text
    assert "Saved 2026-11-28 00:00" in page(saved).text
    assert "Nothing." in page(Listing()).text


def test_results_card_files_and_runs_on_disk_show_themselves(tmp_path: Path) -> None:
    text = page(result(0, "fail", "an answer", message="It lacks Rome.")).text
    assert "fail case 0 · card v1 · simulated:a" in text
    assert "an answer" in text
    assert "It lacks Rome." in text
    file = pc.starter_cards()["support-triage"]
    assert "support-triage" in page(file).text
    with RunFolder.create("kept", cards=[CARD], models=["simulated:echo"], cases=[CASE], base=tmp_path) as folder:
        assert "kept" in page(folder).text
        assert "running" in page(folder.head).text


def test_nothing_in_them_is_obeyed() -> None:
    card = pc.Card(
        "c", f"{HOSTILE} {{{{ x }}}}", title=HOSTILE, description=HOSTILE, note=HOSTILE, tags=(HOSTILE[:40],)
    )
    case = pc.Case({HOSTILE: HOSTILE}, (pc.Assertion("contains", HOSTILE),), name=HOSTILE, metadata={"a": HOSTILE})
    for value in (card, case, Listing([case]), result(0, "fail", HOSTILE, case=HOSTILE, message=HOSTILE)):
        html = value._repr_html_()
        assert html is not None
        assert_nothing_is_obeyed(html.replace(value_html.STYLE, ""))


@pytest.mark.parametrize(
    "value",
    [
        pc.Card("long", "x{{ y }}" * 12_000, description="d" * 2000),
        pc.Card("chat", messages=tuple(Message("user", "y" * 4_000) for _ in range(100))),
        pc.Case({f"v{i}": "z" * 1000 for i in range(500)}),
        Listing([pc.Case({"n": i, "text": "w" * 5_000}) for i in range(1_000)]),
        result(0, "pass", "a" * 1_000_000),
    ],
    ids=["card", "chat", "case", "cases", "result"],
)
def test_they_stay_small(value: Any) -> None:
    html = value._repr_html_()
    assert len(html.encode()) < 100_000


def test_outside_of_a_notebook_nothing_is_loaded_for_it() -> None:
    program = (
        "import sys, promptcard_ext as pc\n"
        "assert pc.Card('c', 'hello')._repr_html_() is None\n"
        "assert 'promptcard_ext.kernel' not in sys.modules\n"
        "import IPython\n"
        "assert 'hello' in pc.Card('c', 'hello')._repr_html_()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
