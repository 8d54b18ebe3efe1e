"""Results as flat rows. The names of the columns are stable; docs/users/results.md lists them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from promptcard_ext.core.results import ItemResult, Verdict

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
    "score": "float64",
    "cached": "bool",
    "provider": "str",
    "model_reported": "str",
    "tokens_cached": "Int64",
    "tokens_reasoning": "Int64",
    "calls": "int64",
    "calls_cost_usd": "float64",
    "spent_usd": "float64",
}

LEDGER_DTYPES: dict[str, str] = {
    "ordinal": "int64",
    "label": "str",
    "model": "str",
    "case": "str",
    "case_uid": "str",
    "repeat": "int64",
    "path": "str",
    "uid": "str",
    "type": "str",
    "metric": "str",
    "weight": "float64",
    "outcome": "category",
    "reason": "str",
    "message": "str",
    "score": "float64",
}

_OF_ITEM = (
    "ordinal", "card", "version", "label", "model", "case", "case_uid", "repeat", "reason", "message", "score",
    "cached",
)  # fmt: skip
_OF_GENERATION = (
    "output", "latency_ms", "ttft_ms", "cost_usd", "finish_reason", "attempts", "provider", "model_reported",
)  # fmt: skip


def result_row(result: ItemResult) -> dict[str, Any]:
    """Return a result as a mapping of the columns in `DTYPES`; what is not known is missing or None, never zero.

    Money is exact here.
    """
    row: dict[str, Any] = {name: getattr(result, name) for name in _OF_ITEM}
    row["outcome"] = str(result.outcome)
    generation = result.generation
    if generation is not None:
        row |= {name: getattr(generation, name) for name in _OF_GENERATION}
        tokens = generation.tokens
        row |= {
            "tokens_input": tokens.input,
            "tokens_output": tokens.output,
            "tokens_cached": tokens.cached,
            "tokens_reasoning": tokens.reasoning,
        }
    costs = [call.generation.cost_usd for call in result.calls]
    row["calls"] = len(costs)
    row["calls_cost_usd"] = None if None in costs else sum(filter(None, costs), Decimal(0))
    # What is not priced may have cost anything.
    row["spent_usd"] = None if result.cost_usd is None else result.spent_usd
    return row


def well_formed(value: Any) -> Any:
    """Return a text with U+FFFD for lone surrogates, which have no UTF-8; anything else as it is."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def ledger_rows(result: ItemResult) -> Iterator[dict[str, Any]]:
    """Yield one row per assertion of a result, those inside of sets and cascades after the one that holds them.

    ``path`` is the place among the case's assertions, from 0: ``1.0`` is the first one inside of the second.
    """
    head = {name: getattr(result, name) for name in ("ordinal", "label", "model", "case", "case_uid", "repeat")}
    for index, verdict in enumerate(result.verdicts):
        yield from _verdict_rows(head, verdict, str(index))


def _verdict_rows(head: dict[str, Any], verdict: Verdict, path: str) -> Iterator[dict[str, Any]]:
    own = {name: getattr(verdict, name) for name in ("uid", "type", "metric", "weight", "reason", "message")}
    yield {**head, **own, "path": path, "outcome": str(verdict.outcome), "score": verdict.points}
    for index, part in enumerate(verdict.parts):
        yield from _verdict_rows(head, part, f"{path}.{index}")
