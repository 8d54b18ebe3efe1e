"""``jupyter promptcards runs``: the runs that are kept on this machine."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the command."""
    runs = commands.add_parser("runs", help="list, show or remove the runs kept on this machine")
    runs.add_argument("run", nargs="?", metavar="RUN", help="show the results of this run")
    runs.add_argument("--remove", action="store_true", help="remove the run and its results")
    runs.set_defaults(command=_runs)


def _runs(arguments: argparse.Namespace) -> int:
    from promptcard_ext.local.run_folder import RunFolder

    if arguments.run is None:
        return _list()
    if arguments.remove:
        RunFolder.remove(arguments.run)
        print(f"Removed {arguments.run}.")
        return 0
    from promptcard_ext.kernel.origin import kept_origin
    from promptcard_ext.kernel.resume import setup_in
    from promptcard_ext.kernel.terminal import print_failures, print_metrics, print_summary, printable
    from promptcard_ext.stats.summary import summarise

    with RunFolder.open(arguments.run, write=False) as folder:
        rows = summarise(folder.results.iter_plan(), setup_in(folder).derived_metrics)
        print_summary(rows, title=folder.head.name)
        if origin := kept_origin(folder.head.options):
            print(printable(f"Started from {origin}."))
        print_metrics(rows)
        print_failures(folder.results.iter_plan())
    return 0


def _list() -> int:
    from rich.table import Table

    from promptcard_ext.kernel.terminal import console_of, printable
    from promptcard_ext.local.run_folder import RunFolder

    table = Table(header_style="bold")
    for name in ("run", "name", "status"):
        table.add_column(name, overflow="fold")
    table.add_column("done", justify="right")
    found = RunFolder.list()
    for head in found:
        done = "–" if head.counts is None else f"{head.counts.done:,} of {head.counts.total:,}"
        table.add_row(head.id, printable(head.name), head.status, done)
    if found:
        console_of().print(table)
    else:
        print("No run is kept here. 'jupyter promptcards run' makes one.")
    return 0
