"""What can be compared: runs of this process, of the server and on disk, and parts of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from promptcard_ext.core.card import Card
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import ItemResult
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.run_part import RunPart
from promptcard_ext.kernel.setup import Setup
from promptcard_ext.kernel.workspace import Workspace, connect
from promptcard_ext.local.results_log import ResultsLog
from promptcard_ext.local.run_folder import RunFolder
from promptcard_ext.stats.compared import RunFacts

Comparable = RunHandle | RunPart | RunFolder | str | UUID


class Side(NamedTuple):
    """One of two runs.

    Attributes:
        facts: Its name, and what else is known of it.
        results: Gives its results, in the order of the plan.
        result: Gives the result of one item of the plan.
        note: What to know before the numbers are believed, such as that it goes on; may be empty.
    """

    facts: RunFacts
    results: Callable[[], Iterator[ItemResult]]
    result: Callable[[int], ItemResult | None]
    note: str = ""


def side_of(run: Comparable, workspace: Workspace | None = None) -> Side:
    """Return one side of a comparison.

    Args:
        run: A handle, a part of a run, a run on disk, or an id: that of a run on the server, or of one that is kept on
            this machine.
        workspace: Where to look for runs of the server; default one's own.

    Raises:
        NotFound: There is no such run.
        CardError: It is nothing that can be compared (``not_a_run``).
    """
    if isinstance(run, RunPart):
        whole = _of_handle(run.run)
        return whole._replace(facts=msgspec.structs.replace(whole.facts, name=run.name), results=run.results)
    if isinstance(run, RunHandle):
        return _of_handle(run)
    if isinstance(run, RunFolder):
        return _of_folder(run)
    if (run_id := _server_id(run)) is not None:
        return _of_server(run_id, workspace or connect())
    if isinstance(run, str):
        return _of_folder(RunFolder.open(run, write=False))
    raise CardError(
        f"{run!r:.60} is not a run.",
        hint="Give a handle, run.of(version=…), or the id of a run.",
        code="not_a_run",
    )


def _server_id(run: object) -> UUID | None:
    if isinstance(run, UUID):
        return run
    try:
        return UUID(run) if isinstance(run, str) else None
    except ValueError:
        return None


def _of_handle(run: RunHandle) -> Side:
    counts = run.counts
    note = "" if run.finished else f"'{run.name}' goes on: {counts.done:,} of {counts.total:,} items"
    setup = run.setup
    facts = RunFacts(run.name) if setup is None else _facts_of_setup(run.name, setup)
    return Side(facts, run.log.iter_plan, run.result, note)


def _facts_of_setup(name: str, setup: Setup) -> RunFacts:
    options = setup.options
    plan = setup.plan
    return RunFacts(name, options.judges, _parameters(plan.repeats, options.embedder, plan.cards))


def _of_folder(folder: RunFolder) -> Side:
    head = folder.head
    options = head.options
    facts = RunFacts(
        head.name, tuple(options.get("judges") or ()), _parameters(head.repeats, options.get("embedder"), head.cards)
    )
    note = "" if head.status == "completed" else f"'{head.name}' is {head.status}: {len(folder.results):,} items"
    return Side(facts, folder.results.iter_plan, folder.results.get, note)


def _of_server(run_id: UUID, workspace: Workspace) -> Side:
    head = workspace.api.runs.get(run_id)
    # On disk at once: their number does not matter, and rows are looked up later by whoever opens one.
    log, items = ResultsLog(), workspace.api.runs.items(run_id)
    while results := list(islice(items, 1000)):
        log.append(results)
    facts = RunFacts(head.name, tuple(head.plan.judges), _parameters(head.plan.repeats, head.plan.embedder, ()))
    note = "" if head.status == "completed" else f"'{head.name}' is {head.status}: {len(log):,} items"
    return Side(facts, log.iter_plan, log.get, note)


def _parameters(repeats: int, embedder: str | None, cards: Sequence[Card]) -> dict[str, Any]:
    settings = msgspec.to_builtins(cards[0].settings) if len(cards) == 1 else {}
    return {"repeats": repeats, "embedder": embedder, **{f"setting {name}": value for name, value in settings.items()}}
