import math

import pandas as pd

from promptcard_ext.interchange.frames import DTYPES, results_frame, summary_frame
from promptcard_ext.stats.summary import summarise
from tests.widgets.fakes import result


def test_rows_are_in_the_order_of_the_plan_with_stable_columns_and_types() -> None:
    frame = results_frame([result(2), result(0, "fail", message="No."), result(1, "error", None)])
    assert list(frame.columns) == list(DTYPES)
    assert list(frame["ordinal"]) == [0, 1, 2]
    assert list(frame["outcome"]) == ["fail", "error", "pass"]
    assert list(frame["outcome"].cat.categories) == ["pass", "fail", "error", "unscored"]
    expected = {name: dtype for name, dtype in DTYPES.items() if name != "outcome"}
    assert {name: str(frame[name].dtype) for name in expected} == expected


def test_an_empty_frame_has_the_same_columns_and_types() -> None:
    assert results_frame([]).dtypes.equals(results_frame([result(0)]).dtypes)
    assert summary_frame([]).dtypes.equals(summary_frame(summarise([result(0, cost="1")])).dtypes)


def test_what_is_not_known_is_missing_and_never_zero() -> None:
    frame = results_frame([result(0), result(1, cost="0"), result(2, "error", None)])
    assert math.isnan(frame["cost_usd"][0])
    assert frame["cost_usd"][1] == 0.0
    assert frame["tokens_input"][2] is pd.NA
    assert math.isnan(frame["latency_ms"][2])
    assert frame["output"].isna().tolist() == [False, False, True]
    assert frame["reason"].isna().tolist() == [True, True, False]


def test_a_summary_with_nothing_judged_and_nothing_priced_says_so() -> None:
    frame = summary_frame(summarise([result(0, "unscored"), result(1, "error", None)]))
    assert frame[["pass_rate", "low", "high", "cost_usd"]].isna().all(axis=None)
    assert (frame["unscored"][0], frame["errored"][0], frame["priced"][0]) == (1, 1, 0)
    assert frame["pass_rate"].dtype == "float64"


def test_half_a_character_in_a_name_is_replaced() -> None:
    rows = summarise([result(0, label="card \ud800", model="simulated:\udfff")])
    frame = summary_frame(rows)
    assert (frame["label"][0], frame["model"][0]) == ("card \ufffd", "simulated:\ufffd")
    assert rows[0].label == "card \ud800"
