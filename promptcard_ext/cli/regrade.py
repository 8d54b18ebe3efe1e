"""``jupyter promptcards regrade``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from promptcard_ext.cli import options


def add(commands: Any) -> None:
    """Add the command."""
    regrade = commands.add_parser(
        "regrade",
        help="apply changed assertions to the stored answers of a run, for free",
        description="Judge the answers of a run again, by the assertions that a file has now, and show what flipped. "
        "No model under test is called; judges are, unless their answers are stored.",
        epilog="Exit codes: as for run.",
    )
    regrade.add_argument("file", type=Path, metavar="FILE", help="card file or promptfoo configuration, as it is now")
    regrade.add_argument("--run", metavar="RUN", help="the run (default: the last one of the card)")
    options.add_judges(regrade)
    regrade.add_argument("--cache", choices=options.MODES, default="cache", help="where judges' answers come from")
    options.add_tolerance(regrade)
    regrade.add_argument(
        "--allow-outside", action="store_true", help="let a promptfoo configuration read files outside of its folder"
    )
    options.add_outputs(regrade)
    regrade.set_defaults(command=_regrade)


def _regrade(arguments: argparse.Namespace) -> int:
    from promptcard_ext.cli.outputs import check_outputs, write_outputs
    from promptcard_ext.cli.run import exit_code
    from promptcard_ext.cli.sources import open_sources
    from promptcard_ext.kernel import terminal
    from promptcard_ext.kernel.regrade import regrade
    from promptcard_ext.local.run_folder import RunFolder

    check_outputs(arguments)
    source = open_sources(arguments.file, outside=arguments.allow_outside)[0]
    card = source.versions[-1].name
    found = RunFolder.open(arguments.run, write=False) if arguments.run else RunFolder.latest(card=card, write=False)
    with found as folder:
        done = regrade(folder, source.cases, judge=arguments.judge, embedder=arguments.embedder, mode=arguments.cache)
    terminal.print_flips(done.flips)
    rows = done.run.summary()
    terminal.print_summary(rows, title=f"{done.run.name}, judged again")
    terminal.print_metrics(rows)
    write_outputs(done.run, arguments)
    return exit_code(done.run, arguments.max_errors)
