"""Results as data frames. The names of the columns are stable; docs/users/results.md lists them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.stats.summary import SummaryRow

if TYPE_CHECKING:
    import pandas as pd

DTYPES: dict[str, str] = {
    "ordinal": "int64",
    "card": "str",
    "version": "int64",
    "label": "str",
    "model": "str",
    "case": "str",
    "case_uid": "str",
    "repeat": "int64",
    "outcome": "category",
    "reason": "str",
    "message": "str",
    "output": "str",
    "latency_ms": "float64",
    "ttft_ms": "float64",
    "tokens_input": "Int64",
    "tokens_output": "Int64",
    "cost_usd": "float64",
    "finish_reason": "str",
    "attempts": "Int64",
}


def results_frame(results: Iterable[ItemResult]) -> pd.DataFrame:
    """Return one row per item, in the order of the plan.

    Unknown costs and token counts are missing values, never zero. ``cost_usd`` is a float here, for plotting; exact
    decimals are in the results themselves.
    """
    import pandas as pd

    rows = [_row(result) for result in sorted(results, key=lambda r: r.ordinal)]
    frame = pd.DataFrame(rows, columns=list(DTYPES))
    outcome = pd.CategoricalDtype([str(value) for value in Outcome])
    return frame.astype({**DTYPES, "outcome": outcome})


def _row(result: ItemResult) -> dict[str, Any]:
    row: dict[str, Any] = {
        name: getattr(result, name)
        for name in ("ordinal", "card", "version", "label", "model", "case", "case_uid", "repeat", "reason", "message")
    }
    row["outcome"] = str(result.outcome)
    generation = result.generation
    if generation is not None:
        row |= {
            "output": generation.output,
            "latency_ms": generation.latency_ms,
            "ttft_ms": generation.ttft_ms,
            "tokens_input": generation.tokens.input,
            "tokens_output": generation.tokens.output,
            "cost_usd": None if generation.cost_usd is None else float(generation.cost_usd),
            "finish_reason": generation.finish_reason,
            "attempts": generation.attempts,
        }
    return row


_SUMMARY_DTYPES: dict[str, str] = {
    "label": "str",
    "model": "str",
    "done": "int64",
    "passed": "int64",
    "failed": "int64",
    "errored": "int64",
    "unscored": "int64",
    "pass_rate": "float64",
    "low": "float64",
    "high": "float64",
    "p50_ms": "float64",
    "p95_ms": "float64",
    "cost_usd": "float64",
    "priced": "int64",
}


def summary_frame(rows: Sequence[SummaryRow]) -> pd.DataFrame:
    """Return one row per card version and model: counts, pass rate with its 95 % interval, latency, cost."""
    import pandas as pd

    frame = pd.DataFrame(
        [
            {
                "label": row.label,
                "model": row.model,
                "done": row.counts.done,
                "passed": row.counts.passed,
                "failed": row.counts.failed,
                "errored": row.counts.errored,
                "unscored": row.counts.unscored,
                "pass_rate": row.pass_rate.rate if row.pass_rate else None,
                "low": row.pass_rate.low if row.pass_rate else None,
                "high": row.pass_rate.high if row.pass_rate else None,
                "p50_ms": row.p50_ms,
                "p95_ms": row.p95_ms,
                "cost_usd": float(row.counts.cost_usd) if row.counts.priced else None,
                "priced": row.counts.priced,
            }
            for row in rows
        ],
        columns=list(_SUMMARY_DTYPES),
    )
    return frame.astype(_SUMMARY_DTYPES)
