"""``jupyter promptcards`` - the command line.

Sub-commands of the server are found through the entry points ``promptcards.commands``, so that this module works, and
starts quickly, without the server installed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from promptcard_ext._version import __version__
from promptcard_ext.core.errors import PromptCardError, SetupError

EXIT_FAILURES = 10
EXIT_ERRORS = 20


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
        sys.exit(error.exit_code)
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
        prog="jupyter promptcards", description=__doc__.splitlines()[0].partition(" - ")[2]
    )
    parser.add_argument("--version", action="version", version=f"promptcards {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_run(commands)
    _add_lint(commands)
    _add_models(commands)
    _add_demo(commands)
    for entry in metadata.entry_points(group="promptcards.commands"):
        entry.load()(commands)
    return parser


Commands = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add_run(commands: Commands) -> None:  # type: ignore[valid-type]
    run = commands.add_parser(  # type: ignore[attr-defined]
        "run",
        help="run card files in this process, without a server",
        description="Run every version and case of card files against models, in this process.",
        epilog=f"Exit codes: 0 all passed, {EXIT_FAILURES} some failed, {EXIT_ERRORS} some broke, 2 wrong input.",
    )
    run.add_argument("files", nargs="+", type=Path, metavar="FILE", help="card file (YAML)")
    run.add_argument(
        "--model", action="append", required=True, metavar="PROVIDER:MODEL", help="may be given several times"
    )
    run.add_argument("--repeat", type=int, default=1, metavar="N", help="ask each case N times (default 1)")
    run.add_argument("--concurrency", type=int, default=16, metavar="N", help="most calls in flight (default 16)")
    run.add_argument("--timeout", type=float, default=120.0, metavar="S", help="seconds for one call (default 120)")
    run.add_argument("--latest", action="store_true", help="run only the latest version of each card")
    run.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    from promptcard_ext.interchange.card_file import load_card_file
    from promptcard_ext.kernel.run import run
    from promptcard_ext.kernel.terminal import print_failures, print_summary, watch

    files = [load_card_file(path) for path in arguments.files]
    worst = 0
    for file in files:
        handle = run(
            file.versions[-1:] if arguments.latest else file.versions,
            file.cases,
            arguments.model,
            repeats=arguments.repeat,
            concurrency=arguments.concurrency,
            timeout_s=arguments.timeout,
            name=file.name,
        )
        watch(handle)
        print_summary(handle.summary(), title=file.name)
        print_failures(handle.results())
        counts = handle.counts
        worst = max(worst, EXIT_ERRORS if counts.errored else EXIT_FAILURES if counts.failed else 0)
    return worst


def _add_lint(commands: Commands) -> None:  # type: ignore[valid-type]
    lint = commands.add_parser("lint", help="check card files")  # type: ignore[attr-defined]
    lint.add_argument("files", nargs="+", type=Path, metavar="FILE", help="card file (YAML)")
    lint.set_defaults(command=_lint)


def _lint(arguments: argparse.Namespace) -> int:
    from promptcard_ext.core.matrix import Plan
    from promptcard_ext.interchange.card_file import load_card_file

    wrong = 0
    for path in arguments.files:
        try:
            file = load_card_file(path)
            if file.cases:
                Plan(file.versions, ["simulated:echo"], file.cases).prepare()
            print(f"{path}: {file.name}: {len(file.versions)} versions, {len(file.cases)} cases, all right")
        except PromptCardError as error:
            complain(error)
            wrong += 1
    return 2 if wrong else 0


def _add_models(commands: Commands) -> None:  # type: ignore[valid-type]
    models = commands.add_parser("models", help="list the models that can be reached")  # type: ignore[attr-defined]
    models.set_defaults(command=_models)


def _models(arguments: argparse.Namespace) -> int:
    from promptcard_ext.providers import reachable_models

    for provider, found in asyncio.run(reachable_models()).items():
        if isinstance(found, PromptCardError):
            sys.stderr.write(f"{provider}: {found}\n")
        else:
            for name in found:
                print(f"{provider}:{name}")
    return 0


def _add_demo(commands: Commands) -> None:  # type: ignore[valid-type]
    demo = commands.add_parser(  # type: ignore[attr-defined]
        "demo",
        help="the whole way once: server, database, queue, worker, models, report",
        description="Start server and worker, load cards, run them through REST and the queue, write reports.",
    )
    demo.add_argument("files", nargs="*", type=Path, metavar="FILE", help="card files (default: the starter cards)")
    demo.add_argument("--model", action="append", metavar="PROVIDER:MODEL", help="default: two that can be reached")
    demo.add_argument(
        "--out", type=Path, default=None, metavar="FOLDER", help="where reports go (default: in the home)"
    )
    demo.add_argument("--concurrency", type=int, default=8, metavar="N", help="most calls in flight (default 8)")
    demo.add_argument("--timeout", type=float, default=120.0, metavar="S", help="seconds for one call (default 120)")
    demo.set_defaults(command=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    from promptcard_ext.demo import demo

    return demo(
        arguments.files, arguments.model, arguments.out, concurrency=arguments.concurrency, timeout_s=arguments.timeout
    )


if __name__ == "__main__":
    main()
