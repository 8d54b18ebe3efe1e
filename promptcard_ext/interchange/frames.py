"""Results as data frames. The names of the columns are stable; docs/users/results.md lists them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.interchange.result_rows import DTYPES, LEDGER_DTYPES, ledger_rows, result_row, well_formed
from promptcard_ext.stats.summary import SummaryRow

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DTYPES", "LEDGER_DTYPES", "ledger_frame", "results_frame", "summary_frame"]


def results_frame(results: Iterable[ItemResult]) -> pd.DataFrame:
    """Return one row per item, in the order of the plan.

    Unknown costs and token counts are missing values, never zero. Costs are floats here, for plotting; exact decimals
    are in the results themselves.
    """
    return _frame([result_row(result) for result in sorted(results, key=lambda r: r.ordinal)], DTYPES)


def ledger_frame(results: Iterable[ItemResult]) -> pd.DataFrame:
    """Return one row per item and assertion, in the order of the plan; see `ledger_rows`.

    Example:
        >>> list(ledger_frame([]).columns)[:3]
        ['ordinal', 'label', 'model']
    """
    ordered = sorted(results, key=lambda r: r.ordinal)
    return _frame([row for result in ordered for row in ledger_rows(result)], LEDGER_DTYPES)


def _frame(rows: list[dict[str, Any]], dtypes: dict[str, str]) -> pd.DataFrame:
    import pandas as pd

    columns = {name: [_value(row.get(name)) for row in rows] for name in dtypes}
    frame = pd.DataFrame(columns, columns=list(dtypes))
    outcome = pd.CategoricalDtype([str(value) for value in Outcome])
    return frame.astype({**dtypes, "outcome": outcome})


def _value(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else well_formed(value)


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
                "label": well_formed(row.label),
                "model": well_formed(row.model),
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
