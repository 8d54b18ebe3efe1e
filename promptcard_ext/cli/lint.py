"""``jupyter promptcards lint``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from promptcard_ext.core.errors import PromptCardError


def add(commands: Any) -> None:
    """Add the command."""
    lint = commands.add_parser(
        "lint",
        help="check card files and promptfoo configurations",
        description="Check files without calling a model: every template is rendered with every case.",
        epilog="Exit codes: 0 nothing wrong (there may be warnings), 2 something wrong.",
    )
    lint.add_argument("files", nargs="+", type=Path, metavar="FILE", help="card file or promptfoo configuration")
    lint.add_argument("--strict", action="store_true", help="warnings count as errors")
    lint.set_defaults(command=_lint)


def _lint(arguments: argparse.Namespace) -> int:
    from promptcard_ext.cli import complain

    wrong = 0
    for path in arguments.files:
        try:
            wrong += _check(path, arguments.strict)
        except PromptCardError as error:
            complain(error)
            wrong += 1
    return 2 if wrong else 0


def _check(path: Path, strict: bool) -> bool:
    """Print what is to say about a file; tell whether it is wrong."""
    from promptcard_ext.cli.sources import open_source
    from promptcard_ext.core.matrix import Plan
    from promptcard_ext.core.static_check import check

    source = open_source(path)
    if len(source.cases):
        Plan(source.versions, ["simulated:echo"], source.cases).prepare()
    errors = warnings = 0
    for notice in source.notices:
        sys.stderr.write(f"{notice}\n")
        errors, warnings = errors + (notice.severity == "error"), warnings + (notice.severity != "error")
    for card in source.versions:
        for problem in check(card):
            place = f"{problem.where}, line {problem.line}, column {problem.column}" if problem.line else problem.where
            sys.stderr.write(f"{path}: {card.label}: {place}: {problem.message} [{problem.code}]\n")
            errors, warnings = errors + (problem.severity == "error"), warnings + (problem.severity != "error")
    verdict = "all right" if not errors + warnings else f"{errors} errors, {warnings} warnings"
    print(f"{path}: {source.name}: {len(source.versions)} versions, {len(source.cases)} cases, {verdict}")
    return bool(errors or (strict and warnings))
