"""``jupyter promptcards import`` and ``export``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

CASES = (".csv", ".jsonl", ".xlsx")


def add(commands: Any) -> None:
    """Add the commands."""
    take = commands.add_parser(
        "import",
        help="turn promptfoo configurations into card files",
        description="Write a card file for every prompt of promptfoo configurations. What cannot be carried over is "
        "said with its line; nothing is dropped in silence.",
        epilog="Exit codes: 0 everything was carried over, 10 something was not, 2 a file is wrong.",
    )
    take.add_argument("files", nargs="+", type=Path, metavar="FILE", help="promptfoo configuration (YAML or JSON)")
    take.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="where card files go (default: here)")
    take.add_argument("--force", action="store_true", help="replace card files that are there already")
    take.add_argument("--allow-outside", action="store_true", help="read files outside of the configuration's folder")
    take.set_defaults(command=_import)
    give = commands.add_parser(
        "export",
        help="write a card as a promptfoo configuration, its cases as a table, or the results of a run",
        description="Write what a card file holds, or the results of a run kept on this machine. The ending of OUT "
        "says what: for a card file .yaml is a promptfoo configuration, and .csv, .jsonl and .xlsx are its cases; "
        "for a run .csv, .jsonl, .json, .xlsx, .parquet, .xml (JUnit), .md and .html are its results.",
    )
    give.add_argument("source", metavar="FILE|RUN", help="card file, or the id of a run ('jupyter promptcards runs')")
    give.add_argument("out", type=Path, metavar="OUT", help="file to write")
    give.add_argument("--model", action="append", default=[], metavar="PROVIDER:MODEL", help="for promptfoo")
    give.set_defaults(command=_export)


def _import(arguments: argparse.Namespace) -> int:
    from promptcard_ext.interchange.promptfoo import read_promptfoo

    lost = 0
    for path in arguments.files:
        found = read_promptfoo(path, allow_outside=arguments.allow_outside)
        for notice in found.notices:
            sys.stderr.write(f"{notice}\n")
        cards = found.card_files
        for name, versions in cards.items():
            _write_card(arguments.out / f"{name}.yaml", versions, found, force=arguments.force)
        lost += found.not_carried_over
        print(f"{path}: {len(cards)} cards, {len(found.cases)} cases, {found.not_carried_over} not carried over")
        _say_how_to_run(found)
    return 10 if lost else 0


def _say_how_to_run(found: Any) -> None:
    """Say what a card file has no place for: models, judges, addresses, metrics."""
    said = [f"--model {model}" for model in found.models] + [f"--judge {judge}" for judge in found.judges]
    said += [f"--embedder {found.embedder}"] if found.embedder else []
    said += [f"--repeat {found.repeats}"] if found.repeats > 1 else []
    if said:
        print(f"  run them with: jupyter promptcards run FILE {' '.join(said)}")
    for batch in found.batches:
        for provider, endpoint in batch.endpoints.items():
            key = f", the key in {endpoint.api_key_env}" if endpoint.api_key_env else ""
            print(f"  {provider} is at {endpoint.base_url or 'its usual address'}{key}: {', '.join(batch.models)}")
    if found.derived:
        print(f"  metrics are not in card files: {', '.join(found.derived)}; run {found.path} itself to have them")


def _write_card(path: Path, versions: Any, found: Any, *, force: bool) -> None:
    from promptcard_ext.core.errors import FileError
    from promptcard_ext.interchange.card_writer import write_card_file

    if path.exists() and not force:
        raise FileError(f"{path} is there already.", code="file_exists", hint="Use --force to replace it, or --out.")
    write_card_file(path, versions, found.cases)
    print(f"  {path}")


def _export(arguments: argparse.Namespace) -> int:
    source = Path(arguments.source)
    if source.is_file():
        return _export_card(source, arguments)
    from promptcard_ext.cli.outputs import write_run
    from promptcard_ext.kernel.resume import setup_in
    from promptcard_ext.local.run_folder import RunFolder
    from promptcard_ext.stats.summary import summarise

    with RunFolder.open(arguments.source, write=False) as folder:
        rows = summarise(folder.results.iter_plan(), setup_in(folder).derived_metrics)
        write_run(arguments.out, folder, rows)
    print(arguments.out)
    return 0


def _export_card(source: Path, arguments: argparse.Namespace) -> int:
    from promptcard_ext.interchange.card_file import load_card_file
    from promptcard_ext.interchange.case_writer import write_cases
    from promptcard_ext.interchange.promptfoo import write_promptfoo

    file = load_card_file(source)
    if arguments.out.suffix in CASES:
        write_cases(arguments.out, file.cases, file.versions[-1])
    else:
        write_promptfoo(arguments.out, file.versions, file.cases, arguments.model)
    print(arguments.out)
    return 0
