"""``jupyter promptcards lint``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from promptcard_ext.core.errors import PromptCardError

if TYPE_CHECKING:
    from promptcard_ext.cli.sources import Source

Severity = Literal["error", "warning"]


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
    wrong = [_is_wrong(path, arguments.strict) for path in arguments.files]
    return 2 if any(wrong) else 0


def _is_wrong(path: Path, strict: bool) -> bool:
    """Print what is to say about a file; tell whether it is wrong."""
    from promptcard_ext.cli import complain
    from promptcard_ext.cli.sources import open_sources
    from promptcard_ext.core.assertions import python

    # Whoever checks a file wrote it, or is about to run it; Python in it is parsed here, and not run.
    python.allow(path.parent)
    try:
        sources = open_sources(path)
    except PromptCardError as error:
        complain(error)
        return True
    found: list[Severity] = []
    for source in sources:
        for severity, line in _remarks(source):
            sys.stderr.write(f"{line}\n")
            found.append(severity)
        try:
            _prepare(source)
        except PromptCardError as error:
            complain(error)
            found.append("error")
    _print_verdict(sources, found.count("error"), found.count("warning"))
    return "error" in found or (strict and bool(found))


def _remarks(source: Source) -> Iterator[tuple[Severity, str]]:
    from promptcard_ext.core.static_check import check

    for notice in source.notices:
        if notice.severity != "info":
            yield "warning", str(notice)
    number: Counter[str] = Counter()
    idle: Counter[tuple[str, str]] = Counter()
    versions = Counter(card.name for card in source.versions)
    for card in source.versions:
        number[card.name] += 1
        for problem in check(card):
            place = f"{card.name}, version {number[card.name]}"
            if problem.code == "variable_unused":
                # The versions in a file share their variables: one is idle when no version uses it.
                idle[card.name, problem.message] += 1
                if idle[card.name, problem.message] < versions[card.name]:
                    continue
                place = card.name
            yield problem.severity, f"{source.path}: {place}: {problem}"


def _prepare(source: Source) -> None:
    from promptcard_ext.core.matrix import Plan

    if source.versions and len(source.cases):
        Plan(source.versions, ["simulated:echo"], source.cases).prepare()


def _print_verdict(sources: list[Source], errors: int, warnings: int) -> None:
    first = sources[0]
    versions = sum(len(source.versions) for source in sources)
    said = [_number(errors, "error"), _number(warnings, "warning")]
    verdict = ", ".join(said) if errors or warnings else "all right"
    print(f"{first.path}: {first.name}: {versions} versions, {len(first.cases)} cases, {verdict}")


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
