"""The lines of our magics: names and options, split as a shell would, with errors that say what to write."""

from __future__ import annotations

import argparse
import keyword
import shlex
from functools import cache
from typing import Any, NoReturn

from promptcard_ext.core.errors import CardError


class HelpWanted(Exception):
    """Carries the help that ``--help`` asks for."""


class MagicParser(argparse.ArgumentParser):
    """A parser that raises where another would end the process."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with a line."""
        raise CardError(f"{self.prog}: {message}.", hint=f"'{self.prog} --help' says how.", code="magic_usage")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Raise `HelpWanted`: nothing else ends a parser."""
        raise HelpWanted(message or "")

    def print_help(self, file: Any = None) -> None:
        """Raise `HelpWanted` with the help."""
        raise HelpWanted(self.format_help())

    @property
    def options(self) -> list[str]:
        """The long options."""
        return [option for action in self._actions for option in action.option_strings if option.startswith("--")]

    def read(self, line: str) -> argparse.Namespace:
        """Return what a line says.

        Raises:
            CardError: It cannot be understood (``magic_usage``).
            HelpWanted: It asks for help.
        """
        try:
            words = shlex.split(line)
        except ValueError:
            self.error("a quotation mark is not closed")
        if {"-h", "--help"} & set(words):
            # Parsing would first write the usage anew, and take one percent sign of two.
            self.print_help()
        return self.parse_intermixed_args(words)


def variable(text: str) -> str:
    """Return the name of a Python variable.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not the name of a variable")
    return text


def _parser(name: str, description: str, epilog: str = "") -> MagicParser:
    # Without abbreviations: an option that is added later would change what a notebook says.
    form = argparse.RawDescriptionHelpFormatter
    return MagicParser(name, description=description, epilog=epilog, formatter_class=form, allow_abbrev=False)


def _into(parser: MagicParser) -> None:
    parser.add_argument("-o", "--output", type=variable, metavar="VAR", help="variable that takes the result")


@cache
def card_parser() -> MagicParser:
    """Return the parser of ``%%card``."""
    parser = _parser(
        "%%card",
        "Save the rest of the cell, as it stands, as the template of a card. Content that is saved already makes no\n"
        "new version.",
        "%%card greet --system 'You are polite.'\nSay hello to {{ who }}.",
    )
    parser.add_argument("name", help="lower-case letters, digits, hyphens")
    _into(parser)
    parser.add_argument("--system", metavar="TEXT", help="the system message, a template too")
    parser.add_argument("--title", default="", metavar="TEXT", help="for people")
    parser.add_argument("--description", default="", metavar="TEXT", help="for people")
    parser.add_argument("--note", default="", metavar="TEXT", help="what is new in this version")
    parser.add_argument("--tag", action="append", default=[], metavar="TAG", help="a tag; may be repeated")
    parser.add_argument(
        "--var",
        action="append",
        default=[],
        metavar="NAME[:TYPE][=DEFAULT]",
        help="declare a variable; may be repeated (default: those that the templates use)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        help="of the model: temperature=0; may be repeated",
    )
    parser.add_argument("--check", action="store_true", help="only check it, and save nothing")
    return parser


@cache
def case_parser() -> MagicParser:
    """Return the parser of ``%%case``."""
    parser = _parser(
        "%%case",
        "Save the rest of the cell, YAML with 'vars' and 'assert', as a test case of a card. A case of the same name\n"
        "or the same variables is replaced.",
        "%%case greet -n ada\nvars:\n  who: Ada\nassert:\n  - type: contains\n    value: Ada",
    )
    parser.add_argument("card", help="name of the card")
    parser.add_argument("-n", "--name", default="", help="what to call the case")
    _into(parser)
    return parser


@cache
def run_parser() -> MagicParser:
    """Return the parser of ``%run_card``."""
    parser = _parser(
        "%run_card",
        "Run the cases of a card. When content, cases and models are those of an earlier run, that run is shown.",
        "%run_card greet ollama:llama3.2 openai:gpt-4o-mini --repeats 3 -o run --wait",
    )
    parser.add_argument("card", help="name, or name@version, or name@label")
    parser.add_argument("models", nargs="*", help="model references (default: those of the card's latest run)")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="how often each cell is asked")
    parser.add_argument("--concurrency", type=int, default=16, metavar="N", help="most calls in flight")
    parser.add_argument("--budget", metavar="USD", help="most that it may spend, judges included")
    parser.add_argument(
        "--judge", action="append", default=[], metavar="MODEL", help="model that judges; several: a panel"
    )
    parser.add_argument("--embedder", metavar="MODEL", help="model that makes vectors")
    parser.add_argument("--name", default="", metavar="TEXT", help="what to call the run")
    parser.add_argument("--again", action="store_true", help="run although an earlier run is the same")
    parser.add_argument("--wait", action="store_true", help="wait for the end; nothing but -o takes the result then")
    _into(parser)
    return parser


@cache
def cards_parser() -> MagicParser:
    """Return the parser of ``%cards``."""
    parser = _parser("%cards", "List the cards.")
    parser.add_argument("filter", nargs="?", default="", help="a part of name, title or tag, in any case")
    _into(parser)
    return parser


@cache
def runs_parser() -> MagicParser:
    """Return the parser of ``%runs``."""
    parser = _parser("%runs", "List the latest runs, newest first.")
    parser.add_argument("n", nargs="?", type=int, default=20, help="how many (default: 20)")
    _into(parser)
    return parser
