"""``jupyter promptcards cache``: the stored answers."""

from __future__ import annotations

import argparse
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def add(commands: Any) -> None:
    """Add the command."""
    cache = commands.add_parser(
        "cache",
        help="show, prune or clear the stored answers",
        description="The answers that runs with --cache cache or record_new have stored.",
    )
    cache.add_argument("action", nargs="?", choices=("show", "prune", "clear"), default="show")
    cache.add_argument("--older", default="14d", metavar="AGE", help="with prune: 30d, 12h, 90m, … (default 14d)")
    cache.add_argument("--cache-file", type=Path, metavar="FILE", help="stored answers (default: the user's cache)")
    cache.set_defaults(command=_cache)


def _cache(arguments: argparse.Namespace) -> int:
    from promptcard_ext.local.generations import FileGenerations

    answers = FileGenerations(arguments.cache_file)
    if arguments.action == "prune":
        removed = answers.prune(age(arguments.older))
        print(f"Removed {removed:,} answers older than {arguments.older} from {answers.path}.")
    elif arguments.action == "clear":
        print(f"Removed {answers.clear():,} answers from {answers.path}.")
    else:
        _show(answers)
    answers.close()
    return 0


def _show(answers: Any) -> None:
    stats = answers.stats()
    print(f"{answers.path}: {stats.entries:,} answers, {stats.size_bytes / 1e6:,.1f} MB")
    if stats.oldest is not None:
        days = (time.time() - stats.oldest) / _UNITS["d"]
        print(f"oldest: {datetime.fromtimestamp(stats.oldest, UTC):%Y-%m-%d %H:%M} UTC ({days:.0f} days)")
    for model, number in stats.by_model.items():
        print(f"  {number:>8,}  {model}")


def age(text: str) -> float:
    """Return an age in seconds.

    Raises:
        CardError: It is not a number with s, m, h or d behind it (``age_invalid``).

    Example:
        >>> age("12h")
        43200.0
    """
    from promptcard_ext.core.errors import CardError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found is None:
        raise CardError(f"'{text:.40}' is no age.", hint="Write it as 30d, 12h, 90m or 60s.", code="age_invalid")
    return float(found[1]) * _UNITS[found[2]]
