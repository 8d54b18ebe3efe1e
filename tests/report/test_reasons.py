"""Every reason that a result can have is explained."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import promptcard_ext
from promptcard_ext.core.engine.caller import _EXHAUSTED
from promptcard_ext.report.reasons import REASONS, sentence

ROOT = Path(promptcard_ext.__file__).parent
# Where verdicts and results get their reasons, or the errors come from that end as one.
SOURCES = [
    "core/assertions/**/*.py", "core/judges/**/*.py", "core/engine/**/*.py", "core/composition.py",
    "core/template.py", "core/template_language.py", "core/template_filters.py", "core/rendering.py",
    "core/expressions.py", "core/statements.py", "core/errors.py", "providers/**/*.py", "stats/*.py",
]  # fmt: skip
# What makes a finding of its arguments, and what a reason is called where it is a variable or a keyword.
MAKERS = {"Finding", "Reduction", "Opinion", "NotJudged", "_failed", "graded"}
NAMES = {"reason", "code", "failed"}
CODE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)+|timeout|unpriced|interrupted")
# Refused before the first call, so no result ever ends like that.
BEFORE_THE_RUN = {
    "assertion_unknown", "derived_metric_invalid", "include_circle", "include_too_deep", "include_unresolved",
    "reducer_unknown", "results_twice",
    "budget_exceeded", "run_options", "template_too_long", "unknown_provider", "json_schema",
    "prompt_stale", "rate_limited", "card_invalid", "file_invalid", "not_found", "run_error", "setup_error",
}  # fmt: skip

# What only a server gives.
OF_A_SERVER = {"result_not_storable"}


def reasons_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        given: list[ast.AST | None] = []
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            given += node.args if name in MAKERS else []
            given += [keyword.value for keyword in node.keywords if keyword.arg in NAMES]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            given += [node.value] if any(getattr(target, "id", "") in NAMES for target in targets) else []
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            given += node.value.elts[:1]  # reason and message
        for part in given:
            for inner in ast.walk(part) if part is not None else ():
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and CODE.fullmatch(inner.value):
                    yield inner.value


def reasons() -> set[str]:
    paths = [path for pattern in SOURCES for path in ROOT.glob(pattern)]
    found = {reason for path in paths for reason in reasons_in(ast.parse(path.read_text("utf-8")))}
    return (found | OF_A_SERVER | {f"{code}_exhausted" for code in _EXHAUSTED}) - BEFORE_THE_RUN


def test_the_search_finds_reasons_however_they_are_given() -> None:
    found = reasons()
    assert found >= {
        "no_match",  # _failed(…)
        "no_text",  # Finding(…)
        "facts_differ",  # Opinion(…, "…" if … else "…")
        "too_long_to_judge",  # NotJudged(…)
        "provider_crashed",  # reason="…"
        "provider_5xx",  # code = "…"
        "budget_exhausted",  # code="…"
        "nothing_weighs",  # return "…", "…"
        "cascade_failed",  # Finding(…, … or "…")
        "mostly_failed",  # Reduction(…)
        "metric_missing",  # reason = "…"
        "provider_429_exhausted",
    }
    assert len(found) > 90


def test_every_reason_has_a_sentence() -> None:
    assert reasons() - set(REASONS) == set()


def test_no_sentence_is_about_a_reason_that_does_not_exist() -> None:
    assert set(REASONS) - reasons() == set()


def test_sentences_can_stand_behind_a_colon() -> None:
    for text in REASONS.values():
        assert text[0].islower() or text.split()[0].isupper()
        assert not text.endswith(".")
        assert len(text) < 100


def test_a_negated_assertion_that_held_and_a_foreign_reason() -> None:
    assert sentence("contains-any_held") == "'contains-any' holds, and it should not"
    assert sentence("a-provider-of-my-own") == ""
