"""``jupyter promptcards run``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from promptcard_ext.cli import options

if TYPE_CHECKING:
    from promptcard_ext.cli.sources import Source
    from promptcard_ext.core.case import Case
    from promptcard_ext.core.results import ItemResult
    from promptcard_ext.kernel.handle import RunHandle
    from promptcard_ext.kernel.setup import Setup

EXIT_FAILURES = 10
EXIT_ERRORS = 20
ASSERTS_NOTHING = frozenset({"no_assertions", "nothing_weighs"})


def add(commands: Any) -> None:
    """Add the command."""
    run = commands.add_parser(
        "run",
        help="run cards or a promptfoo configuration in this process, without a server",
        description="Run every version and case of the files against models, in this process. Results are kept on disk "
        "as they come: Ctrl-C, or a process that dies, loses no answer, and --resume goes on.",
        epilog=f"Exit codes: 0 all passed, {EXIT_FAILURES} some failed, {EXIT_ERRORS} more ended without "
        "a verdict than --max-errors allows, 2 wrong input, 130 stopped by Ctrl-C.",
    )
    options.add_sources(run, required=False)
    options.add_judges(run)
    options.add_calling(run)
    run.add_argument("--max-cost", metavar="USD", help="stop before more than this is spent, judges included")
    options.add_prices(run)
    options.add_tolerance(run)
    run.add_argument(
        "--reduce", metavar="HOW", help="sum up repeats of a case: mean, median, mode, max, at-least-K, pass@K, pass^K"
    )
    run.add_argument(
        "--resume", nargs="?", const="", metavar="RUN", help="go on with a run (default: the latest that did not end)"
    )
    run.add_argument("--retry-errors", action="store_true", help="with --resume: call again what ended as an error")
    run.add_argument("--name", default="", help="what to call the run")
    options.add_outputs(run)
    run.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    from promptcard_ext.core.errors import CardError

    if arguments.resume is not None:
        return _resume(arguments)
    if not arguments.files:
        raise CardError("There is nothing to run.", hint="Name a card file, or --resume a run.", code="plan_invalid")
    from promptcard_ext.cli.outputs import check_outputs
    from promptcard_ext.cli.sources import open_sources
    from promptcard_ext.stats.reducers import reducer

    check_outputs(arguments)
    if arguments.reduce:
        reducer(arguments.reduce)
    sources = [
        source
        for path in arguments.files
        for source in open_sources(
            path, latest=arguments.latest, outside=arguments.allow_outside, models=arguments.model
        )
    ]
    for source in sources:
        for notice in source.notices:
            sys.stderr.write(f"{notice}\n")
    # Everything is checked before the first call of the first one.
    planned = [(source, setup_of(source, arguments)) for source in sources]
    for _, setup in planned:
        setup.plan.prepare()
    tags = tags_of([source for source, _ in planned])
    return max(_carry_out(source, setup, arguments, tag) for (source, setup), tag in zip(planned, tags, strict=True))


def tags_of(sources: Sequence[Source]) -> list[str]:
    """Return what tells the files of several sources apart; nothing for one."""
    if len(sources) < 2:
        return [""]
    names = [re.sub(r"[^\w-]+", "-", source.name).strip("-")[:60] for source in sources]
    return [
        name if name and names.count(name) == 1 else f"{place}-{name}".strip("-")
        for place, name in enumerate(names, start=1)
    ]


def setup_of(source: Source, arguments: argparse.Namespace) -> Setup:
    """Return what a source runs and how; options of the command line go before those of the file.

    Raises:
        PromptCardError: Something does not fit, or there is no model.
    """
    from promptcard_ext.core.engine import EngineOptions
    from promptcard_ext.core.errors import CardError
    from promptcard_ext.core.matrix import Plan
    from promptcard_ext.interchange.price_file import price_book
    from promptcard_ext.kernel.run import as_mode, as_money, as_store
    from promptcard_ext.kernel.setup import Setup
    from promptcard_ext.providers import model

    models = tuple(dict.fromkeys(arguments.model)) or source.models
    if not models:
        raise CardError(f"{source.path} names no model.", hint="Name one: --model ollama:llama3.2", code="plan_invalid")
    mode = as_mode(arguments.cache)
    chosen = EngineOptions(
        concurrency=_first(arguments.concurrency, source.concurrency, 16),
        timeout_s=_first(arguments.timeout, source.timeout_s, 120.0),
        deadline_s=_first(arguments.deadline, source.deadline_s),
        requests_per_minute=arguments.requests_per_minute,
        tokens_per_minute=arguments.tokens_per_minute,
        mode=mode,
        judges=tuple(arguments.judge) or source.judges,
        embedder=arguments.embedder or source.embedder,
    )
    for reference in (*models, *chosen.judges, *filter(None, [chosen.embedder])):
        model(reference)
    plan = Plan(source.versions, models, _cases(source, arguments), _first(arguments.repeat, source.repeats))
    return Setup(
        plan=plan,
        options=chosen,
        prices=price_book(arguments.prices),
        providers=source.providers,
        store=as_store(arguments.cache_file, mode),
        budget_usd=as_money(arguments.max_cost),
        derived=source.derived,
        key_names=source.key_names,
        folder=str(source.path.absolute().parent),
    )


def _first(*given: Any) -> Any:
    """Return the first that is given; 0 is, and is wrong."""
    return next((value for value in given if value is not None), None)


def _cases(source: Source, arguments: argparse.Namespace) -> Sequence[Case]:
    from promptcard_ext.cli.select import select
    from promptcard_ext.interchange.case_files import load_cases
    from promptcard_ext.kernel.run import as_sequence

    cases = source.cases
    if arguments.cases is not None:
        cases = as_sequence(load_cases(arguments.cases, card=source.versions[-1]))

    def last_results() -> Iterator[ItemResult]:
        from promptcard_ext.local.run_folder import RunFolder

        with RunFolder.latest(card=source.versions[-1].name, write=False) as folder:
            yield from folder.results.iter_plan()

    return select(cases, arguments.filter, last_results)


def _carry_out(source: Source, setup: Setup, arguments: argparse.Namespace, tag: str) -> int:
    from promptcard_ext.kernel.run import new_folder, start

    name = arguments.name or source.name
    folder = new_folder(setup, name)
    return _follow(lambda: start(setup, name, folder=folder), arguments, tag)


def _resume(arguments: argparse.Namespace) -> int:
    from promptcard_ext.kernel.resume import resume
    from promptcard_ext.local.run_folder import RunFolder

    chosen = arguments.resume
    folder = RunFolder.open(chosen) if chosen else RunFolder.latest(unfinished=True)

    def begin() -> RunHandle:
        return resume(
            folder,
            retry_errors=arguments.retry_errors,
            concurrency=arguments.concurrency,
            timeout_s=arguments.timeout,
            budget_usd=arguments.max_cost,
            prices=arguments.prices,
        )

    return _follow(begin, arguments)


def _follow(begin: Callable[[], RunHandle], arguments: argparse.Namespace, tag: str = "") -> int:
    """Start a run, show it to its end, write what was asked for, and return the exit code."""
    # Loaded before the run begins: from its first call on, Ctrl-C finds somebody who says what is kept.
    from promptcard_ext.cli.outputs import write_outputs
    from promptcard_ext.kernel import terminal

    handle = None
    try:
        handle = begin()
        terminal.watch(handle)
    except KeyboardInterrupt:
        if handle is None:
            raise
        _settle(handle)
        counts = handle.counts
        sys.stderr.write(
            f"\nStopped. {counts.done:,} of {counts.total:,} results are kept; go on with:\n"
            f"  jupyter promptcards run --resume {handle.kept_as}\n"
        )
        raise SystemExit(130) from None
    rows = handle.summary()
    terminal.print_summary(rows, title=handle.name)
    terminal.print_metrics(rows)
    terminal.print_invariance(handle.log.iter_plan())
    if arguments.reduce:
        terminal.print_reduced(handle.log.iter_plan(), arguments.reduce)
    terminal.print_failures(handle.log.iter_plan())
    write_outputs(handle, arguments, tag)
    _say_how_to_go_on(handle)
    return exit_code(handle, arguments.max_errors)


def _say_how_to_go_on(handle: RunHandle) -> None:
    from promptcard_ext.kernel.redo import UNFINISHED

    left = sum(result.reason in UNFINISHED for result in handle.log.iter_plan()) if handle.counts.unscored else 0
    if left and handle.kept_as:
        sys.stderr.write(
            f"{left:,} of {handle.counts.total:,} items were not finished; go on with:\n"
            f"  jupyter promptcards run --resume {handle.kept_as}\n"
        )


def _settle(handle: RunHandle) -> None:
    """Wait until a run that was stopped has told what it still has; a second Ctrl-C ends that."""
    from promptcard_ext.core.errors import PromptCardError

    try:
        handle.wait(timeout=5)
    except (PromptCardError, TimeoutError, KeyboardInterrupt):
        return


def exit_code(handle: RunHandle, max_errors: float) -> int:
    """Return 20 when more than the tolerated share has no verdict, 10 when something failed, else 0.

    An item that asserts nothing needs no verdict. One that does, and got none, must not look as if all was well.
    """
    from promptcard_ext.core.results import Outcome

    counts = handle.counts
    undecided = counts.errored
    if counts.unscored:
        undecided += sum(
            result.outcome is Outcome.UNSCORED and result.reason not in ASSERTS_NOTHING
            for result in handle.log.iter_plan()
        )
    if undecided > max_errors * max(counts.done, 1) or counts.done < counts.total:
        return EXIT_ERRORS
    return EXIT_FAILURES if counts.failed else 0
