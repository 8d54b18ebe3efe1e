"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

MODES = ("live", "cache", "replay", "record_new")


def add_sources(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add what is run: files, models, repeats, cases, filters."""
    parser.add_argument(
        "files", nargs="+" if required else "*", type=Path, metavar="FILE", help="card file or promptfoo configuration"
    )
    parser.add_argument(
        "--model", action="append", default=[], metavar="PROVIDER:MODEL", help="may be given several times"
    )
    parser.add_argument("--repeat", type=int, metavar="N", help="ask each case N times (default 1)")
    parser.add_argument("--latest", action="store_true", help="only the latest version of each card")
    parser.add_argument(
        "--cases", type=Path, metavar="FILE", help="take the cases from a CSV, JSON, JSONL, XLSX or Parquet file"
    )
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="WHAT",
        help="only cases whose name matches (* and ?), or KEY=VALUE of their metadata, or 'failing' or 'errors' of the "
        "last run of the card; several must all hold",
    )
    parser.add_argument(
        "--allow-outside", action="store_true", help="let a promptfoo configuration read files outside of its folder"
    )


def add_tolerance(parser: argparse.ArgumentParser) -> None:
    """Add how much may end without a verdict."""
    parser.add_argument(
        "--max-errors",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="tolerated share of items without a verdict, 0 to 1 (default 0)",
    )


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def add_judges(parser: argparse.ArgumentParser) -> None:
    """Add the models that judge."""
    parser.add_argument(
        "--judge", action="append", default=[], metavar="PROVIDER:MODEL", help="judge; several are a panel"
    )
    parser.add_argument("--embedder", metavar="PROVIDER:MODEL", help="embedding model for similarity")


def add_calling(parser: argparse.ArgumentParser) -> None:
    """Add how models are called."""
    parser.add_argument("--concurrency", type=int, metavar="N", help="most calls in flight (default 16)")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds for one call (default 120)")
    parser.add_argument("--deadline", type=float, metavar="S", help="seconds for the whole run (default: none)")
    parser.add_argument(
        "--requests-per-minute", type=float, metavar="N", help="most calls that begin in a minute (default: no limit)"
    )
    parser.add_argument("--tokens-per-minute", type=float, metavar="N", help="most tokens of them (default: no limit)")
    parser.add_argument(
        "--cache",
        choices=MODES,
        default="live",
        metavar="MODE",
        help="where answers come from: live (default) calls always; cache takes stored ones up to 14 days old; replay "
        "never calls; record_new takes stored ones of any age and calls for the rest",
    )
    parser.add_argument("--cache-file", type=Path, metavar="FILE", help="stored answers (default: the user's cache)")


def add_prices(parser: argparse.ArgumentParser) -> None:
    """Add prices of one's own."""
    parser.add_argument("--prices", type=Path, metavar="FILE", help="a file with prices of your own")


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the files that results are written to."""
    group = parser.add_argument_group("results")
    for name in ("json", "jsonl", "junit", "html", "csv", "xlsx", "parquet", "markdown"):
        group.add_argument(f"--{name}", type=Path, metavar="OUT", help=f"write the results as {_NAMES[name]}")


_NAMES = {
    "json": "one JSON document",
    "jsonl": "JSON Lines, one item a line",
    "junit": "JUnit XML",
    "html": "a page that needs no network",
    "csv": "CSV",
    "xlsx": "a spreadsheet",
    "parquet": "Parquet",
    "markdown": "Markdown",
}
