"""A run of this process, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec.structs import replace

from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cases import BulkCases
from promptcard_ext.core.errors import NotFound, RunError
from promptcard_ext.core.results import ItemResult
from promptcard_ext.kernel import again
from promptcard_ext.kernel.handle import FINAL, RunHandle
from promptcard_ext.kernel.run_keeper import ACTIONS, Money, Story

if TYPE_CHECKING:
    from promptcard_ext.client.api import WorkspaceApi

_ENDED = "The run has ended."
_GOES_ON = "The run goes on."


class ProcessKeeper:
    """Steers a run of this process. See `RunKeeper`.

    Args:
        api: Workspace of a server that cases are promoted to.
        others: Runs to compare with.
    """

    quick = True

    def __init__(self, run: RunHandle, api: WorkspaceApi | None = None, others: Collection[RunHandle] = ()) -> None:
        self._run, self._api = run, api
        self._others = {str(number): other for number, other in enumerate(others)}

    def reasons(self, status: str) -> dict[str, str]:
        """Return why what is not possible."""
        run = self._run
        if run.setup is None:
            return dict.fromkeys(ACTIONS, "Nothing is known of its plan.")
        ended = status in FINAL
        counts = run.counts
        redo = "" if ended else _GOES_ON
        return {
            "pause": _ENDED if ended else "It is paused." if run.paused else "",
            "resume": _ENDED if ended else "" if run.paused else "It is not paused.",
            "retry": redo or ("" if counts.errored + counts.unscored else "Nothing ended as an error."),
            "budget": "" if ended or run.purse is not None else "It was started without a budget.",
            "again": redo,
            "requeue": "Nothing waits for that.",
            "promote": "" if self._api is not None else "No server: give the view a workspace.",
        }

    def money(self) -> Money | None:
        """Return how things stand with the budget."""
        run, purse = self._run, self._run.purse
        if purse is not None:
            return Money(purse.limit_usd, purse.spent_usd, purse.reserved_usd)
        limit = None if run.setup is None else run.setup.budget_usd
        return None if limit is None else Money(limit, run.counts.spent_usd + run.discarded_usd, Decimal(0))

    def refresh(self, told: Callable[[], None]) -> None:
        """Do nothing: everything is known."""

    def pause(self) -> None:
        """Start no further calls."""
        self._run.pause()
        self._run.feed()

    def resume(self) -> None:
        """Go on."""
        self._run.resume()
        self._run.feed()

    def requeue(self) -> None:
        """Do nothing: items wait on servers only."""

    def set_budget(self, limit: Decimal | None) -> None:
        """Change the limit while it runs; when it has ended, go on with what the budget has kept it from.

        Raises:
            RunError: It was started without a budget (``run_options``), or there is to be none.
        """
        run = self._run
        if limit is None or (run.purse is None and not run.finished):
            raise RunError(
                f"Run '{run.name}' cannot {'lose' if limit is None else 'get'} a budget while it is carried out.",
                hint="Start it with pc.run(..., budget_usd=...).",
                code="run_options",
            )
        if not run.finished and run.purse is not None:
            run.purse.limit_usd = limit
            run.feed()
            return
        waiting = [one.ordinal for one in run.log.iter_plan() if one.reason in ("budget_exhausted", "budget_unpriced")]
        again.do_again(run, waiting, budget_usd=limit)

    def retry_errors(self, budget: Decimal | None) -> RunHandle | None:
        """Ask again in the same handle."""
        again.do_again(self._run, again.failed(self._run), budget_usd=budget)
        return None

    def ask_again(self, result: ItemResult) -> RunHandle | None:
        """Ask again in the same handle."""
        again.do_again(self._run, [result.ordinal])
        return None

    def story(self, result: ItemResult) -> Story:
        """Return the prompt, rendered from the plan."""
        setup = self._run.setup
        if setup is None:
            return Story([], note="The prompt is not known.")
        plan = setup.plan
        item = plan.item(result.ordinal)
        card, case = plan.cards[item.card], plan.cases[item.case - plan.first_case]
        messages = card.render(case.variables, f"case '{case.name}'")
        return Story([(str(message.role), message.content) for message in messages])

    def case(self, result: ItemResult) -> Case:
        """Return the case of the plan.

        Raises:
            NotFound: Nobody has said what the plan is.
        """
        setup = self._run.setup
        if setup is None:
            raise NotFound(f"The case of item {result.ordinal} is not known.")
        return setup.plan.cases[setup.plan.item(result.ordinal).case]

    def promote(self, result: ItemResult) -> str:
        """Save the case with its answer as the expected one.

        Raises:
            RunError: There is no workspace, or no answer (``run_options``).
        """
        answer = result.generation.output if result.generation is not None else None
        if self._api is None or answer is None:
            lacks = "a workspace of a server" if self._api is None else "an answer"
            raise RunError(
                f"Item {result.ordinal} cannot become a case without {lacks}.",
                hint="Show the run with RunView(run, workspace=pc.connect()).",
                code="run_options",
            )
        case = replace(self.case(result), expected_output=answer)
        changes = self._api.cases.change(result.card, BulkCases(save=[case]))
        done = "added to" if changes.added else "changed in" if changes.changed else "just so already in"
        return f"Case '{case.name}' is {done} card '{result.card}'."

    def others(self) -> list[tuple[str, str]]:
        """Return the runs that this one was to be compared with."""
        return [(key, other.name) for key, other in self._others.items()]

    def changed_since(self, other: str) -> Collection[int]:
        """Return what has another outcome there: same case, model, repeat, and version where both have several.

        Raises:
            NotFound: There is no such run (``run_not_found``).
        """
        before = self._others.get(other)
        if before is None:
            raise NotFound("The other run is gone.", code="run_not_found")
        mine = self._run
        with_label = _several(mine) and _several(before)
        known = {_identity(result, with_label=with_label): result.outcome for result in before.log.iter_plan()}
        return {
            result.ordinal
            for result in mine.log.iter_plan()
            if known.get(_identity(result, with_label=with_label), result.outcome) is not result.outcome
        }


def _several(run: RunHandle) -> bool:
    return run.shape is None or len(run.shape.labels) > 1


def _identity(result: ItemResult, *, with_label: bool) -> tuple[str, str, str, int]:
    return result.case_uid, result.label if with_label else "", result.model, result.repeat
