"""A noun of the command line and its verbs: ``jupyter promptcards user list``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Use = Callable[[argparse.Namespace], int]


class Noun:
    """A command of operators, with a command of its own for each thing that can be done.

    Args:
        commands: Where it is added.
        about: One line for the list of commands.
        examples: Whole command lines without ``jupyter promptcards``.
    """

    def __init__(self, commands: Any, name: str, about: str, *examples: str) -> None:
        self._name, self._examples = name, examples
        parser = commands.add_parser(
            name,
            help=about,
            description=f"For operators: {about}.",
            epilog=_examples(examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._verbs = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def verb(self, name: str, about: str, use: Use) -> argparse.ArgumentParser:
        """Add something that can be done, and return its parser for arguments of its own."""
        mine = [example for example in self._examples if example.startswith(f"{self._name} {name}")]
        parser: argparse.ArgumentParser = self._verbs.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=_examples(mine),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("--json", action="store_true", help="print JSON, for programs")
        parser.set_defaults(command=use)
        return parser


def _examples(lines: Any) -> str:
    shown = "\n".join(f"  jupyter promptcards {line}" for line in lines)
    return f"examples:\n{shown}" if shown else ""
