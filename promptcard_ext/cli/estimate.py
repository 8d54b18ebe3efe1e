"""``jupyter promptcards estimate``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from promptcard_ext.cli import options

if TYPE_CHECKING:
    from promptcard_ext.kernel.setup import Setup
    from promptcard_ext.stats.estimate import Estimate, History, Quantiles


def add(commands: Any) -> None:
    """Add the command."""
    estimate = commands.add_parser(
        "estimate",
        help="what a run would cost and take, before its first call",
        description="Estimate calls, tokens, dollars and minutes of a run, as the value that one in ten, every second "
        "and nine in ten such runs stay below. Earlier runs of the card on this machine make it better.",
    )
    options.add_sources(estimate)
    options.add_judges(estimate)
    options.add_calling(estimate)
    estimate.add_argument("--max-cost", metavar="USD", help=argparse.SUPPRESS)
    options.add_prices(estimate)
    estimate.set_defaults(command=_estimate)


def _estimate(arguments: argparse.Namespace) -> int:
    from promptcard_ext.cli.run import setup_of
    from promptcard_ext.cli.sources import open_sources

    for path in arguments.files:
        for source in open_sources(
            path, latest=arguments.latest, outside=arguments.allow_outside, models=arguments.model
        ):
            setup = setup_of(source, arguments)
            _print(source.name, _of(setup))
    return 0


def _of(setup: Setup) -> Estimate:
    from promptcard_ext.core.engine import check_needs
    from promptcard_ext.providers import Providers
    from promptcard_ext.stats.estimate import estimate

    prepared = setup.plan.prepare()
    # The run would refuse, too; an estimate without its judges would be too low and say nothing of it.
    check_needs(prepared, setup.options.judges, setup.options.embedder)
    providers = Providers(setup.providers)
    return estimate(
        prepared,
        setup.prices,
        history=_history(setup),
        concurrency=setup.options.concurrency,
        judges=setup.options.judges,
        embedder=setup.options.embedder,
        provider_of=providers,
    )


def _history(setup: Setup) -> History:
    """Return what earlier runs of these cards on this machine have shown."""
    from promptcard_ext.local.run_folder import RunFolder
    from promptcard_ext.stats.estimate import History

    history = History()
    wanted = {card.name for card in setup.plan.cards}
    for head in [head for head in RunFolder.list() if wanted & {card.name for card in head.cards}][:_RUNS]:
        with RunFolder.open(head.id, write=False) as folder:
            for result in folder.results.iter_plan():
                history.add(result)
    return history


# The latest few say most; reading all of a year's would take longer than the run.
_RUNS = 5


def _print(name: str, found: Estimate) -> None:
    from rich.markup import escape
    from rich.table import Table

    from promptcard_ext.kernel.terminal import console_of, printable

    table = Table(title=escape(printable(name)), title_justify="left", header_style="bold")
    for column in ("", "1 in 10 below", "half below", "9 in 10 below"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("calls", *_cells(found.calls, "{:,}"))
    table.add_row("input tokens", *_cells(found.tokens_input, "{:,}"))
    table.add_row("output tokens", *_cells(found.tokens_output, "{:,}"))
    table.add_row("minutes", *_cells(found.minutes, "{:,.1f}"))
    table.add_row("dollars", *_cells(found.usd, "${:,.4f}"))
    console = console_of()
    console.print(table)
    if found.priced < found.planned:
        console.print(f"  {found.priced:,} of {found.planned:,} calls have a known price.", highlight=False)
    for sentence in found.assumptions:
        console.print(f"  {escape(sentence)}", style="bright_black", highlight=False)


def _cells(quantiles: Quantiles[Any] | None, form: str) -> tuple[str, str, str]:
    if quantiles is None:
        return ("not known",) * 3
    return tuple(form.format(value) for value in (quantiles.p10, quantiles.p50, quantiles.p90))  # type: ignore[return-value]
