"""``jupyter promptcards verify``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command."""
    verify = commands.add_parser(
        "verify",
        help="hold the outputs of saved notebooks against the store",
        description="Flag outputs that were changed after they were made, whose numbers are not those of the store, "
        "whose run or card version is gone, or whose card has a newer version than the notebook shows.",
        epilog="Exit codes: 0 all is as in the store, 10 something is flagged, 1 no server, 2 a file is no notebook.",
    )
    verify.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK", help="notebook file")
    verify.set_defaults(command=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    from promptcard_ext.kernel.verification import verify_notebook

    wrong = False
    for path in arguments.notebooks:
        found = verify_notebook(path)
        print(found.text)
        for flag in found.flags:
            print(f"  cell {flag.cell} [{flag.kind}]: {flag.message}")
        wrong = wrong or not found.ok
    return 10 if wrong else 0
