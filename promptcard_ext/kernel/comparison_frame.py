"""A comparison as a data frame. The names of the columns are stable; docs/users/comparing.md lists them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from promptcard_ext.core.results import Outcome
from promptcard_ext.interchange.result_rows import well_formed
from promptcard_ext.kernel.compared_entry import Entry

if TYPE_CHECKING:
    import pandas as pd

DTYPES: dict[str, str] = {
    "side": "category",
    "case": "str",
    "case_uid": "str",
    "repeat": "int64",
    "label_a": "str",
    "label_b": "str",
    "model_a": "str",
    "model_b": "str",
    "outcome_a": "category",
    "outcome_b": "category",
    "reason_a": "str",
    "reason_b": "str",
    "score_a": "float64",
    "score_b": "float64",
    "latency_ms_a": "float64",
    "latency_ms_b": "float64",
    "cost_usd_a": "float64",
    "cost_usd_b": "float64",
    "flipped": "bool",
    "answer_changed": "bool",
    "assertions_changed": "bool",
    "ordinal_a": "Int64",
    "ordinal_b": "Int64",
}
_OF_SIDE = ("label", "model", "outcome", "reason", "score", "latency_ms", "cost_usd", "ordinal")
_OF_PAIR = ("flipped", "answer_changed", "assertions_changed")


def comparison_frame(entries: Sequence[Entry]) -> pd.DataFrame:
    """Return one row per entry, in their order; what a side does not have is missing, never zero."""
    import pandas as pd

    rows = [_row(entry) for entry in entries]
    columns = {name: [row.get(name) for row in rows] for name in DTYPES}
    outcome = pd.CategoricalDtype([str(value) for value in Outcome])
    side = pd.CategoricalDtype(["both", "a", "b"])
    return pd.DataFrame(columns).astype({**DTYPES, "side": side, "outcome_a": outcome, "outcome_b": outcome})


def _row(entry: Entry) -> dict[str, Any]:
    some = entry.some
    row: dict[str, Any] = {
        "side": "both" if entry.pair is not None else "a" if entry.b is None else "b",
        "case": well_formed(some.case),
        "case_uid": some.case_uid,
        "repeat": some.repeat,
        **{name: entry.pair is not None and getattr(entry.pair, name) for name in _OF_PAIR},
    }
    for side, found in (("a", entry.a), ("b", entry.b)):
        if found is not None:
            row |= {f"{name}_{side}": _value(getattr(found, name)) for name in _OF_SIDE}
    return row


def _value(value: Any) -> Any:
    return str(value) if isinstance(value, Outcome) else well_formed(value)
