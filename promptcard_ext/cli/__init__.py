"""``jupyter promptcards`` - the command line.

Sub-commands of the server are found through the entry points ``promptcards.commands``, so that this module works, and
starts quickly, without the server installed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import metadata

from promptcard_ext._version import __version__
from promptcard_ext.cli import answers, demo, estimate, lint, models, regrade, run, runs, transfer, verify
from promptcard_ext.core.errors import PromptCardError, SetupError

# Errors of a run that are mistakes of whoever started it.
ASKED_WRONGLY = frozenset({"run_options", "no_judge", "no_embedder", "budget_unpriced"})


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; ends the process with its exit code. Mistakes of the user get one message and no traceback."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "command"):
        parser.print_help()
        sys.exit(2)
    # As with Ctrl-C, what was started is stopped. Servers and workers bring handlers of their own once they run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(arguments.command(arguments) or 0)
    except PromptCardError as error:
        complain(error)
        sys.exit(2 if error.code in ASKED_WRONGLY else error.exit_code)
    except ModuleNotFoundError as error:
        # The base install has the commands of the server, and not what they need.
        if (error.name or "").partition(".")[0] in ("promptcard_ext", "server_ext"):
            raise
        hint = "Install it: pip install 'promptcards[server]'"
        complain(
            SetupError(f"This command needs the server, and '{error.name}' is missing.", hint=hint, code="no_server")
        )
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output (`| head`) has gone. Nothing is wrong; but Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def complain(error: PromptCardError) -> None:
    """Write an error and what to do about it to standard error."""
    sys.stderr.write(f"promptcards: {error.message} [{error.code}]\n")
    if error.hint:
        sys.stderr.write(f"  {error.hint}\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with all commands that are installed."""
    parser = argparse.ArgumentParser(
        prog="jupyter promptcards", description=(__doc__ or "").splitlines()[0].partition(" - ")[2]
    )
    parser.add_argument("--version", action="version", version=f"promptcards {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in (run, regrade, estimate, lint, transfer, runs, answers, verify, models, demo):
        module.add(commands)
    for entry in metadata.entry_points(group="promptcards.commands"):
        entry.load()(commands)
    return parser
