"""The short form of assertions in the cells of tables: ``contains: Paris``, ``similar(0.8): Good day``."""

from __future__ import annotations

import json
import re
from typing import Any

from promptcard_ext.core.assertions import Assertion, kinds
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.identity import refuse_constant

# The names that promptfoo knows: a cell that begins with one of them is no plain text, whether we have the kind or not.
PROMPTFOO_KINDS = frozenset(
    {"equals", "contains", "icontains", "contains-any", "contains-all", "icontains-any", "icontains-all",
     "starts-with", "regex", "word-count", "levenshtein", "is-json", "contains-json", "is-xml", "contains-xml",
     "is-html", "contains-html", "is-sql", "contains-sql", "rouge-n", "bleu", "gleu", "meteor", "perplexity",
     "perplexity-score", "latency", "cost", "finish-reason", "guardrails", "is-refusal", "is-valid-function-call",
     "is-valid-openai-function-call", "is-valid-openai-tools-call", "tool-call-f1", "skill-used",
     "trajectory:tool-used", "trajectory:tool-args-match", "trajectory:tool-sequence", "trajectory:step-count",
     "trajectory:goal-success", "trace-span-count", "trace-span-duration", "trace-error-spans", "similar",
     "similar:cosine", "similar:dot", "similar:euclidean", "llm-rubric", "g-eval", "factuality",
     "model-graded-factuality", "model-graded-closedqa", "answer-relevance", "context-faithfulness",
     "context-recall", "context-relevance", "conversation-relevance", "search-rubric", "agent-rubric", "pi",
     "classifier", "moderation", "select-best", "max-score", "human", "javascript", "python", "ruby", "webhook"}
)  # fmt: skip
_LISTS = frozenset({"contains-any", "contains-all", "icontains-any", "icontains-all"})
_SCHEMAS = frozenset({"is-json", "contains-json"})
_MEASURED = frozenset({"latency", "cost"})
_TEXTS = frozenset({"equals", "regex", "llm-rubric", "javascript", "python"})
_FORM = re.compile(
    r"(?P<not>not-)?(?P<kind>[a-z][a-z0-9-]*)(?P<more>:[a-z][a-z0-9-]*)?"
    r"(?:\(\s*(?P<threshold>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*\))?(?::(?P<value>.*))?\Z",
    re.DOTALL,
)
_SCRIPT = re.compile(r"file://.+\.(?P<suffix>py|js|cjs|mjs|ts)(?::\w+)?\Z")
_PREFIXES = (("javascript:", "javascript"), ("fn:", "javascript"), ("eval:", "javascript"), ("grade:", "llm-rubric"))


def parse_expected(cell: str) -> dict[str, Any]:
    """Return ``type``, and where there is one ``value`` and ``threshold``, of the assertion in a cell.

    A text that does not begin with the name of a kind stands for itself: the answer must equal it. White space at both
    ends does not count.

    Example:
        >>> parse_expected("similar(0.9): Good day")
        {'type': 'similar', 'value': 'Good day', 'threshold': 0.9}
        >>> parse_expected("not-contains-any: a, b"), parse_expected("Paris")
        ({'type': 'not-contains-any', 'value': ['a', 'b']}, {'type': 'equals', 'value': 'Paris'})
    """
    text = cell.strip()
    for prefix, kind in _PREFIXES:
        if text.startswith(prefix):
            return {"type": kind, "value": text[len(prefix) :].strip()}
    if script := _SCRIPT.match(text):
        return {"type": "python" if script["suffix"] == "py" else "javascript", "value": text}
    found = _FORM.match(text)
    kind, value = _kind(found) if found else ("", None)
    if not kind or found is None:
        return {"type": "equals", "value": text}
    threshold = float(found["threshold"]) if found["threshold"] else None
    spec: dict[str, Any] = {"type": (found["not"] or "") + kind}
    if kind in _MEASURED and threshold is None and value is not None and (number := _number(value)) is not None:
        value, threshold = None, number
    if value is not None:
        spec["value"] = _value(kind, value.strip())
    if threshold is not None:
        spec["threshold"] = threshold
    elif kind == "similar":
        spec["threshold"] = 0.8
    return spec


def _kind(found: re.Match[str]) -> tuple[str, str | None]:
    """Return the kind, empty when there is none of that name, and the text after its colon."""
    known = {*kinds(), *PROMPTFOO_KINDS}
    kind, more, value = found["kind"], found["more"] or "", found["value"]
    if more and kind + more in known:
        return kind + more, value
    if kind not in known:
        return "", None
    if not more:
        return kind, value
    if found["threshold"]:
        return "", None
    return kind, more[1:] if value is None else f"{more[1:]}:{value}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _value(kind: str, text: str) -> Any:
    if kind in _LISTS:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind == "word-count" and text.isascii() and text.isdigit():
        return int(text)
    if (kind in _SCHEMAS or kind not in _TEXTS) and text[:1] in ("{", "["):
        try:
            return json.loads(text, parse_constant=refuse_constant)
        except (ValueError, RecursionError):
            return text
    return text or None


def format_expected(assertion: Assertion) -> str | None:
    """Return the short form of an assertion, or None when the short form cannot hold it.

    Example:
        >>> format_expected(Assertion("not-contains", "sorry")), format_expected(Assertion("latency", threshold=500))
        ('not-contains: sorry', 'latency(500)')
        >>> format_expected(Assertion("contains", "a", weight=2)) is None
        True
    """
    threshold = f"({assertion.threshold!r})".replace(".0)", ")") if assertion.threshold is not None else ""
    value = assertion.value
    if isinstance(value, list | tuple) and assertion.kind in _LISTS:
        value = ", ".join(map(str, value))
    elif value is not None and not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    text = assertion.type + threshold + ("" if value is None else f": {value}")
    try:
        same = Assertion(**parse_expected(text)) == assertion
    except CardError:
        return None
    return text if same else None
