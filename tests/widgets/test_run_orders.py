"""Steering a run of this process from its view, with real runs."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.results import Outcome
from promptcard_ext.interchange.card_file import load_card_file
from promptcard_ext.kernel.again import do_again
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.run import run as start
from promptcard_ext.local.run_folder import RunFolder
from promptcard_ext.widgets import RunView
from tests.support import ECHO, wait_for
from tests.widgets.fakes import FakeComm

CARD = Card("greet", "Say hello to {{ who }}.")
CASES = [Case({"who": f"Ada {n}"}, (Assertion("contains", "Ada"),), name=f"ada-{n}") for n in range(4)]
SLOW = "simulated:steady?latency_ms=60000"


class Watched:
    """A run and its view."""

    def __init__(self, run: RunHandle, comms: list[FakeComm]) -> None:
        self.run, self.view = run, RunView(run)
        self.channel = next(one for one in comms if one.comm_id == self.view.channel)

    def do(self, action: str, **more: Any) -> dict[str, Any]:
        return self.channel.ask("do", action=action, **more)[0]

    def cannot(self, action: str) -> str:
        self.view._tick()
        return str(self.view.state["cannot"].get(action, ""))


@pytest.fixture
def done(comms: list[FakeComm]) -> Iterator[Watched]:
    watched = Watched(start(CARD, CASES, ECHO).wait(30), comms)
    yield watched
    watched.view.close()


@pytest.fixture
def going_on(comms: list[FakeComm]) -> Iterator[Watched]:
    watched = Watched(start(CARD, CASES, SLOW), comms)
    wait_for(lambda: watched.run.status == "running")
    yield watched
    watched.run.cancel()
    watched.run.wait(30)
    watched.view.close()


def test_a_run_is_paused_and_goes_on(going_on: Watched) -> None:
    assert going_on.cannot("resume") == "It is not paused."
    assert going_on.do("pause").get("problem") is None
    assert going_on.cannot("pause") == "It is paused."
    assert going_on.view.state["status"] == "paused"
    going_on.do("resume")
    assert going_on.cannot("pause") == ""
    assert going_on.view.state["status"] == "running"
    assert going_on.cannot("retry") == going_on.cannot("again") == "The run goes on."


def test_one_item_is_asked_again_in_the_same_run_and_the_view_counts_it_once(done: Watched) -> None:
    before = done.view.state["epoch"]
    assert done.do("again", ordinal=2)["said"] == "Asked again."
    done.run.wait(30)
    done.view._tick()
    assert (done.view.state["done"], done.view.state["pass"], done.view.state["status"]) == (4, 4, "completed")
    assert done.view.state["epoch"] > before
    assert [row[0] for row in done.channel.ask("rows", **{"from": 0, "to": 9})[1]][-1] == 2
    assert len(done.run.results()) == 4


def test_errors_are_asked_again_and_nothing_else_is(comms: list[FakeComm]) -> None:
    run = start(CARD, CASES, [ECHO, SLOW], timeout_s=0.05).wait(60)
    watched = Watched(run, comms)
    assert (run.counts.passed, run.counts.errored) == (4, 4)
    assert watched.cannot("retry") == ""
    watched.do("retry")
    run.wait(60)
    watched.view._tick()
    assert (watched.view.state["pass"], watched.view.state["error"]) == (4, 4)
    # Those that were done again have come last.
    assert [result.model for result in run.window(0, 8)] == [ECHO] * 4 + [SLOW] * 4
    watched.view.close()


def test_a_run_without_errors_says_that_nothing_is_to_be_asked_again(done: Watched) -> None:
    assert done.cannot("retry") == "Nothing ended as an error."
    assert done.cannot("pause") == done.cannot("resume") == "The run has ended."
    assert done.cannot("budget") == ""
    assert done.cannot("promote").startswith("No server")


def test_a_run_that_its_budget_has_ended_goes_on_with_a_higher_one(comms: list[FakeComm]) -> None:
    watched = Watched(start(CARD, CASES, "simulated:steady", budget_usd="0.000001").wait(30), comms)
    watched.view._tick()
    assert watched.view.state["unscored"] == 4
    assert watched.view.state["money"]["limit"] == "0.000001"
    assert watched.do("budget", budget="abc")["problem"].startswith("'abc' is no amount")
    watched.do("budget", budget="1000")
    watched.run.wait(30)
    watched.view._tick()
    assert (watched.view.state["done"], watched.view.state["unscored"]) == (4, 0)
    assert Decimal(watched.view.state["money"]["spent"]) > 0
    watched.view.close()


def test_the_story_has_the_prompt_and_a_case_is_copied_as_a_card_file_has_it(done: Watched, tmp_path: Path) -> None:
    story, _ = done.channel.ask("story", ordinal=1)
    assert story["messages"] == [["user", "Say hello to Ada 1."]]
    text = done.channel.ask("case", ordinal=1)[0]["text"]
    path = tmp_path / "card.yaml"
    path.write_text(f"card: {{name: greet}}\nversions: [{{template: 'Hi {{{{ who }}}}'}}]\ncases:\n{text}", "utf-8")
    assert load_card_file(path).cases == (CASES[1],)


def test_a_kept_run_that_goes_on_is_kept_as_it_is_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_HOME", str(tmp_path))
    run = start(CARD, CASES, ECHO, keep=True).wait(30)
    do_again(run, [0])
    run.wait(30)
    assert run.kept_as is not None
    with RunFolder.open(run.kept_as) as folder:
        assert folder.head.status == "completed"
        assert folder.head.counts is not None
        assert folder.head.counts.passed == 4
        assert [one.outcome for one in folder.results.iter_plan()] == [Outcome.PASS] * 4
