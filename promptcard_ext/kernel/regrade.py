"""Judging stored answers again, by other assertions: no model under test is called."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.case import Case, as_cases
from promptcard_ext.core.errors import CardError, RunError
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.results import Generation, ItemResult
from promptcard_ext.kernel.flips_html import flips_html
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.redo import Items, answer_in
from promptcard_ext.kernel.resume import setup_in
from promptcard_ext.kernel.run import as_mode, as_store, start
from promptcard_ext.kernel.setup import Setup
from promptcard_ext.local.results_log import ResultsLog
from promptcard_ext.local.run_folder import RunFolder
from promptcard_ext.stats.flips import FlipTable, flips


class Regraded(NamedTuple):
    """A run judged again, and how that differs from before.

    Attributes:
        run: The new results; items without an answer keep their old one.
    """

    run: RunHandle
    flips: FlipTable

    def __repr__(self) -> str:
        return f"<Regraded {self.run!r}: {self.flips.text}>"

    def _repr_html_(self) -> str:
        return flips_html(self.flips)


def regrade(
    run: RunHandle | RunFolder,
    cases: Iterable[Case | Mapping[str, Any]] | None = None,
    *,
    assertions: Sequence[Assertion] | None = None,
    judge: str | Sequence[str] = (),
    embedder: str | None = None,
    mode: str = "cache",
    providers: dict[str, dict[str, Any]] | None = None,
) -> Regraded:
    """Apply changed assertions to the stored answers of a run.

    Args:
        run: A finished run of this process, or one on disk.
        cases: The same cases with other assertions; those that the run does not have are left out, and the run's that
            are missing here keep their old verdicts.
        assertions: Or: the assertions for all cases of the run.
        judge, embedder: Models for assertions that need them; default the run's.
        mode: Where the answers of judges come from: ``live``, ``cache``, ``replay`` or ``record_new``.

    Returns:
        The new results and the flip table.

    Raises:
        CardError: Neither or both of ``cases`` and ``assertions`` are given, or no case is one of the run's.
        RunError: The run is one of a server (``not_in_this_process``).
    """
    setup, old = _setup_of(run), run.log if isinstance(run, RunHandle) else run.results
    changed = _changed(setup.plan, cases, assertions)
    judges = (judge,) if isinstance(judge, str) else tuple(judge)
    chosen = as_mode(mode)
    options = replace(
        setup.options,
        judges=judges or setup.options.judges,
        embedder=embedder or setup.options.embedder,
        mode=chosen,
        deadline_s=None,
    )
    plan = Plan(setup.plan.cards, setup.plan.models, changed, setup.plan.repeats)
    new = replace(
        setup, plan=plan, options=options, store=setup.store or as_store(None, chosen), budget_usd=None,
        providers={**setup.providers, **(providers or {})},
    )  # fmt: skip
    name = run.name if isinstance(run, RunHandle) else run.head.name
    handle = _judge(new, name, old.get)
    return Regraded(handle, flips(old.iter_plan(), handle.log.iter_plan()))


def _setup_of(run: RunHandle | RunFolder) -> Setup:
    if isinstance(run, RunFolder):
        return setup_in(run)
    if run.setup is None:
        raise RunError(
            f"Run '{run.name}' is on the server and cannot be judged again from here.", code="not_in_this_process"
        )
    return run.setup


def _changed(
    plan: Plan, cases: Iterable[Case | Mapping[str, Any]] | None, assertions: Sequence[Assertion] | None
) -> tuple[Case, ...]:
    """Return the run's cases, in its order, with the assertions they are to be judged by."""
    if (cases is None) == (assertions is None):
        raise CardError("A re-grade takes either 'cases' or 'assertions'.", code="regrade_what")
    if assertions is not None:
        wanted = tuple(assertions)
        return tuple(msgspec.structs.replace(case, assertions=wanted) for case in plan.cases)
    given = {case.uid: case for case in as_cases(cases or ())}
    found = tuple(given.get(case.uid, case) for case in plan.cases)
    if not any(case.uid in given for case in plan.cases):
        raise CardError(
            "None of these cases is one of the run's.",
            code="regrade_what",
            hint="Cases are told apart by their variables; those must be the same.",
        )
    return found


def _judge(setup: Setup, name: str, old: Callable[[int], ItemResult | None]) -> RunHandle:
    judged, carried = array("q"), []
    for ordinal in range(setup.plan.total):
        result = old(ordinal)
        if answer_in(result) is not None:
            judged.append(ordinal)
        elif result is not None:
            carried.append(ordinal)

    def known(item: Item) -> Generation | None:
        return answer_in(old(item.ordinal))

    log = ResultsLog()
    log.append(result for ordinal in carried if (result := old(ordinal)) is not None)
    return start(setup, name, log=log, items=Items(setup.plan, judged), known=known).wait()
