"""Items as the browser gets them: one line of the table, or everything about one."""

from __future__ import annotations

from typing import Any

from promptcard_ext.core.results import ItemResult
from promptcard_ext.kernel.row_facts import call_text
from promptcard_ext.kernel.run_keeper import Money
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.kernel.seen_answer import seen_answer
from promptcard_ext.kernel.verdict_outline import verdict_facts, verdict_name
from promptcard_ext.stats.ledger import flattened
from promptcard_ext.stats.summary import CallSums

MAX_ANSWER_CHARS = 300
MAX_ITEM_CHARS = 200_000
MAX_VERDICTS = 500
MAX_MESSAGE_CHARS = 4_000
MAX_CALLS = 50


def row_state(result: ItemResult) -> list[Any]:
    """Return one line: ordinal, outcome, case, repeat, card version, model, answer, latency in ms, why."""
    generation = result.generation
    seen = seen_answer(generation)
    answer = seen.text or " ".join(f"→ {call}" for call in seen.calls) or seen.raw or ""
    return [
        result.ordinal,
        str(result.outcome),
        _line(result.case),
        result.repeat,
        _line(result.label),
        _line(result.model),
        _line(answer),
        generation.latency_ms if generation else None,
        _line(result.message or result.reason or ""),
    ]


def item_state(result: ItemResult) -> dict[str, Any]:
    """Return everything about one item; an endless answer is cut, and ``cut`` says how long it was."""
    seen = seen_answer(result.generation)
    lines = list(flattened(result.verdicts))
    calls = [f"→ {call}" for call in seen.calls] + ([f"and {seen.more_calls} more calls"] if seen.more_calls else [])
    details: dict[str, Any] = {
        "row": row_state(result),
        "reason": _text(result.reason or ""),
        "message": _text(result.message),
        "score": result.score,
        "cached": result.cached,
        "calls": _calls(result),
        "said": [
            {
                "purpose": _text(call.purpose),
                "model": _text(f"{call.generation.provider}:{call.generation.model}"),
                "text": _text(seen_answer(call.generation).text or ""),
            }
            for call in result.calls[:MAX_CALLS]
            if call.purpose != "embedding"
        ],
        "output": None if seen.text is None else harmless(seen.text[:MAX_ITEM_CHARS]),
        "cut": len(seen.text) if seen.text is not None and len(seen.text) > MAX_ITEM_CHARS else 0,
        "raw": None if seen.raw is None else harmless(seen.raw[:MAX_ITEM_CHARS]),
        "tool_calls": [harmless(call) for call in calls],
        "verdicts": [
            {
                "depth": path.count("."),
                "outcome": str(verdict.outcome),
                "name": _text(verdict_name(verdict)),
                "facts": verdict_facts(verdict),
                # What a set says is what its parts say, which stand below it.
                "message": "" if verdict.parts else _text(verdict.message),
                "reason": _text(verdict.reason or ""),
            }
            for path, verdict in lines[:MAX_VERDICTS]
        ],
        "more_verdicts": max(0, len(lines) - MAX_VERDICTS),
    }
    generation = result.generation
    if generation is not None:
        details |= {
            "latency_ms": generation.latency_ms,
            "ttft_ms": generation.ttft_ms,
            "tokens_input": generation.tokens.input,
            "tokens_output": generation.tokens.output,
            "cost_usd": None if generation.cost_usd is None else f"${generation.cost_usd.normalize():f}",
            "finish_reason": None if generation.finish_reason is None else _text(generation.finish_reason),
            "attempts": generation.attempts,
        }
    return details


def money_state(money: Money | None) -> dict[str, Any] | None:
    """Return texts about a budget, and which part of it is gone (0 to 1) and held; None when there is none."""
    if money is None or money.limit is None:
        return None
    whole = float(money.limit) or 1.0
    gone = 1.0 if not money.limit else min(1.0, float(money.spent) / whole)
    return {
        "limit": f"{money.limit.normalize():f}",
        "spent": f"{money.spent:.4f}",
        "held": f"{money.held:.4f}" if money.held else "",
        "gone": round(gone, 4),
        "kept": round(min(1.0 - gone, float(money.held) / whole), 4),
    }


def _calls(result: ItemResult) -> list[str]:
    sums: dict[str, CallSums] = {}
    for call in result.calls:
        sums.setdefault(call.purpose, CallSums(call.purpose)).add(call)
    return [harmless(call_text(purpose, [calls])) for purpose, calls in sums.items()]


def _text(text: str) -> str:
    return harmless(text[:MAX_MESSAGE_CHARS] + ("…" if len(text) > MAX_MESSAGE_CHARS else ""))


def _line(text: str) -> str:
    # Cut before and after: white space may be all there is in a megabyte.
    return harmless(" ".join(text[: 4 * MAX_ANSWER_CHARS].split())[:MAX_ANSWER_CHARS])
