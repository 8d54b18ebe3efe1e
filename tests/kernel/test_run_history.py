import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from promptcard_ext.core.contract.budgets import RunMoney
from promptcard_ext.core.contract.runs import PlanDocument, RunOut
from promptcard_ext.core.results import Counts
from promptcard_ext.kernel.run_history import COLUMNS, run_history, runs_frame

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
VEGALITE = "application/vnd.vegalite.v5+json"


def run(day: float, name: str = "nightly", repeats: int = 1, **counts: Any) -> RunOut:
    began = START + timedelta(days=day)
    return RunOut(
        id=uuid.uuid4(), name=name, status="completed", card_id=uuid.uuid4(),
        plan=PlanDocument("greet", [], ["simulated:echo"], repeats, 16, 120.0),
        counts=Counts(**counts), event_seq=1, engine_version=None, created_by=None, created_at=began,
        started_at=began, finished_at=began, error=None, retry_of=None, concurrency=16, priority="medium",
        on_unknown="retry", money=RunMoney(None, None, Decimal(0), Decimal(0)),
    )  # fmt: skip


def test_runs_are_rows_the_oldest_first_with_rates_among_the_judged() -> None:
    runs = [run(2, "second", total=10, passed=8, failed=1, errored=1), run(1, "first", total=4, passed=4)]
    frame = runs_frame(runs)
    assert dict(frame.dtypes.astype(str)) == COLUMNS
    assert list(frame["run"]) == ["first", "second"]
    assert frame["pass_rate"].tolist() == [1.0, pytest.approx(8 / 9)]
    assert (frame["low"] < frame["pass_rate"]).all()
    assert frame["cost_usd"].isna().all()


def test_a_run_without_a_judged_item_has_no_rate_and_is_not_drawn() -> None:
    runs = [run(1, total=3), run(2, total=3, passed=2, failed=1)]
    assert pd.isna(runs_frame(runs)["pass_rate"][0])
    assert len(next(iter(run_history(runs).to_dict()["datasets"].values()))) == 1


def test_repeats_of_a_case_make_the_interval_no_narrower() -> None:
    once, often = runs_frame([run(1, total=3, passed=3), run(2, repeats=8, total=24, passed=24)])["low"]
    assert once == pytest.approx(often)


def test_names_cannot_steer_what_shows_them() -> None:
    frame = runs_frame([run(1, "red \x1b[31m \u202e", total=1, passed=1)])
    assert frame["run"][0] == "red ␛[31m �"


def test_the_chart_shows_itself_without_a_network_also_when_there_is_nothing_to_draw() -> None:
    assert set(run_history([])._repr_mimebundle_()) >= {VEGALITE, "text/plain"}


@pytest.mark.parametrize(
    ("days", "form"),
    [([1], "%H:%M:%S"), ([1, 1.1], "%H:%M"), ([1, 3], "%b %d, %H:%M"), ([1, 30], "%b %d"), ([1, 500], "%b %Y")],
)
def test_times_are_written_as_finely_as_they_differ_and_in_utc_as_everywhere_else(days: list[float], form: str) -> None:
    drawn = run_history([run(day, total=1, passed=1) for day in days]).to_dict()
    x = drawn["layer"][0]["encoding"]["x"]
    assert (x["axis"]["format"], x["scale"]["type"], x["title"]) == (form, "utc", "started (UTC)")


def test_a_workspace_without_a_judged_run_says_so_in_place_of_empty_axes() -> None:
    for runs in ([], [run(1, total=3)]):
        assert run_history(runs).to_dict()["mark"]["type"] == "text"


def test_in_voila_a_chart_has_a_picture_already(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "image/png" not in run_history([])._repr_mimebundle_()
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.13")
    assert "image/png" in run_history([])._repr_mimebundle_()
