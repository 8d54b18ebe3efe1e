"""The handle of a run: what `pc.run()` and `workspace.run()` return at once."""

from __future__ import annotations

import asyncio
import copy
import logging
import threading
import time
from array import array
from collections.abc import Callable, Generator, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from promptcard_ext.core.engine.control import Control
from promptcard_ext.core.errors import PromptCardError, RunError
from promptcard_ext.core.results import Counts, ItemResult, Outcome
from promptcard_ext.kernel.run_shape import RunShape
from promptcard_ext.kernel.summary_table import SummaryTable
from promptcard_ext.local.results_log import ResultsLog
from promptcard_ext.stats.clusters import Clusters
from promptcard_ext.stats.summary import cost_text, rate_text, summarise

if TYPE_CHECKING:
    import pandas as pd

    from promptcard_ext.core.budget import SpendLimit
    from promptcard_ext.kernel.run_charts import RunCharts
    from promptcard_ext.kernel.run_keeper import RunKeeper
    from promptcard_ext.kernel.run_part import RunPart
    from promptcard_ext.kernel.setup import Setup

FINAL = frozenset({"completed", "cancelled", "failed"})
# Windows does not deliver Ctrl-C to a thread that waits for a lock, so nobody waits longer than this at a time.
_PATIENCE_S = 0.5
_log = logging.getLogger(__name__)


class RunHandle:
    """A run that goes on in the background, here or on the server.

    Show it in a notebook to watch it; ``wait()`` or ``await`` it for the end, ``browse()`` to look through its results.
    All methods may be called from any thread.

    Attributes:
        id: Id on the server, or None for a run in this process.
        name: What to call it.
        error: Why it failed, once ``status`` is ``failed``.
        reason: Why it was stopped before its end: ``cancelled`` or ``deadline``.
        reused: Whether it was there already, and was returned because it asks the same as what was wanted.
        workspace_id: Id of its workspace on the server.
        card_versions: Labels of the card versions of a run on the server, by the versions' ids.
        kept_as: Id of the folder on this machine that keeps it, when one does.
        setup: What it runs and how, for a run in this process.
        log: Its results; they are on disk, so that their number does not matter.
        shape: Which item of the plan is which case, version and model; None when nobody has said.
        keeper: What carries it out elsewhere, and steers it there; None for a run in this process.
        purse: Its budget, while it is carried out in this process.
        discarded_usd: What was spent on results that were done again.
        epoch: How often results were taken back: what somebody has counted before is then to be counted anew.
    """

    def __init__(
        self,
        name: str,
        total: int,
        cancel: Callable[[], None],
        id: str | None = None,  # noqa: A002
        *,
        control: Control | None = None,
        log: ResultsLog | None = None,
        setup: Setup | None = None,
    ) -> None:
        self.id, self.name, self.setup = id, name, setup
        self.shape = None if setup is None else RunShape.of(setup.plan)
        self.keeper: RunKeeper | None = None
        self.purse: SpendLimit | None = None
        self.discarded_usd = Decimal(0)
        self.epoch = 0
        self.error: Any = None
        self.reason: str | None = None
        self.kept_as: str | None = None
        self.reused = False
        self.workspace_id: str | None = None
        self.card_versions: dict[str, str] = {}
        self.log = ResultsLog() if log is None else log
        self._cancel, self._control = cancel, control
        # Guards everything below; `_changed` wakes those who wait. Held only for bookkeeping, never while calling out.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._status = "queued"
        self._counts = Counts(total=total)
        # Of a case that comes once only nothing has to be remembered.
        self._once = setup is not None and setup.plan.repeats * setup.plan.per_group == 1
        self._clusters = Clusters(once=self._once)
        # Ordinals as they were counted. The log has another order: what is done again keeps its old place there.
        self._order = array("I")
        self._redone: set[int] = set()
        self._listeners: list[Callable[[], None]] = []
        self._freezers: list[Callable[[], None]] = []
        self._began: float | None = None
        self._took_s: float | None = None

    # -- for whoever feeds it ----------------------------------------------------------------------------------------

    def feed(self, results: Iterable[ItemResult] = (), *, status: str | None = None, error: Any = None) -> None:
        """Take in results and a new status (called by the engine's thread or by the stream from the server).

        A result that is already known is ignored, so that a stream may repeat itself after a reconnection; one that is
        expected again (see `expect_again`) takes the place of the old one.
        """
        with self._changed:
            fresh: list[ItemResult] = []
            taken: set[int] = set()
            for result in results:
                if result.ordinal not in taken and self._is_new(result.ordinal):
                    taken.add(result.ordinal)
                    fresh.append(result)
            if fresh:
                self.log.append(fresh)
                for result in fresh:
                    self._count(result)
            if status is not None:
                self._enter(status, error)
            listeners = list(self._listeners)
            self._changed.notify_all()
        for listener in listeners:
            try:
                listener()
            except Exception:  # noqa: BLE001  Whoever watches must not be able to break the run.
                _log.exception("A listener of run %r failed", self.name)

    def _is_new(self, ordinal: int) -> bool:
        if ordinal in self._redone:
            self._redone.discard(ordinal)
            return True
        return ordinal not in self.log

    def expect_again(self, ordinals: Iterable[int]) -> None:
        """Count what the log holds, but for these, which are about to be done again."""
        with self._changed:
            self._redone = {ordinal for ordinal in ordinals if ordinal in self.log}
            self._counts, self._clusters = Counts(total=self._counts.total), Clusters(once=self._once)
            self._order = array("I")
            for result in self.log.iter_plan():
                if result.ordinal not in self._redone:
                    self._count(result)
            self.epoch += 1

    def begin_again(self, control: Control, ordinals: Iterable[int]) -> None:
        """Let a run that has ended go on with some items, which are done again; it is queued then.

        Raises:
            RunError: It has not ended (``run_state``).
        """
        if not self.finished:
            raise RunError(f"Run '{self.name}' goes on.", hint="Wait for its end, or cancel it.", code="run_state")
        spent = self.counts.spent_usd
        self.expect_again(ordinals)
        with self._changed:
            self.discarded_usd += spent - self._counts.spent_usd
            self._control, self._cancel = control, control.cancel
            self._status, self.error, self.reason = "queued", None, None
            self._began, self._took_s = None if self._took_s is None else time.monotonic() - self._took_s, None

    def reckon_from(self, elapsed_s: float, *, ended: bool) -> None:
        """Take over how long a run had run, in seconds, before this handle was made; ``ended`` says that it is over."""
        with self._lock:
            self._began = time.monotonic() - max(0.0, elapsed_s)
            self._took_s = max(0.0, elapsed_s) if ended else None

    def _count(self, result: ItemResult) -> None:
        self._counts.add(result)
        self._order.append(result.ordinal)
        if result.outcome in (Outcome.PASS, Outcome.FAIL):
            self._clusters.add(result.case_uid, result.outcome is Outcome.PASS)

    def _enter(self, status: str, error: Any) -> None:
        # "running" may be old news: it was on its way when somebody cancelled.
        if self._status in FINAL or (self._status == "cancelling" and status not in FINAL):
            return
        self._status, self.error = status, error
        now = time.monotonic()
        if self._began is None and status != "queued":
            self._began = now
        if status in FINAL and self._began is not None and self._took_s is None:
            self._took_s = now - self._began

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` (from any thread; it must only hand off) whenever something changed.

        Returns:
            A function that ends it.
        """
        with self._lock:
            self._listeners.append(listener)

        def end() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return end

    def on_freeze(self, freezer: Callable[[], None]) -> None:
        """Call ``freezer`` once when somebody has waited for the end: views then become static."""
        with self._lock:
            self._freezers.append(freezer)

    # -- for whoever uses it -----------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """``queued``, ``running``, ``pausing``, ``paused``, ``cancelling``, and at the end ``completed``, ``cancelled``
        or ``failed``.
        """
        with self._lock:
            return self._status

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        return self.status in FINAL

    @property
    def counts(self) -> Counts:
        """Totals so far (a copy)."""
        with self._lock:
            return copy.copy(self._counts)

    @property
    def elapsed_s(self) -> float | None:
        """Seconds since it was first seen running, up to its end; None before that."""
        with self._lock:
            if self._took_s is not None or self._began is None:
                return self._took_s
            return time.monotonic() - self._began

    def result(self, ordinal: int) -> ItemResult | None:
        """Return the result of one item of the plan, or None when there is none yet."""
        return self.log.get(ordinal)

    def results(self) -> list[ItemResult]:
        """Return the results so far, in the order of the plan."""
        return list(self.log.iter_plan())

    def window(self, first: int, last: int) -> list[ItemResult]:
        """Return results ``first`` up to (not including) ``last`` in order of arrival.

        They are read from the log. What is expected again (see `expect_again`) is not among them until it has come.
        """
        with self._lock:
            ordinals = self._order[max(0, first) : max(0, last)]
        return [result for ordinal in ordinals if (result := self.log.get(ordinal)) is not None]

    def wait(self, timeout: float | None = None) -> RunHandle:
        """Wait for the end and return the handle itself. Interrupting it cancels the run.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Raises:
            TimeoutError: It still runs after ``timeout``; the run goes on.
            PromptCardError: The run failed as a whole. Failed items are results, not exceptions.
        """
        give_up = None if timeout is None else time.monotonic() + timeout
        try:
            with self._changed:
                while self._status not in FINAL:
                    left = _PATIENCE_S if give_up is None else min(_PATIENCE_S, give_up - time.monotonic())
                    if left <= 0:
                        raise TimeoutError(f"Run '{self.name}' still runs after {timeout:g} s.")
                    self._changed.wait(left)
        except KeyboardInterrupt:
            self.cancel()
            raise
        return self._ended()

    def __await__(self) -> Generator[Any, None, RunHandle]:
        """Wait for the end without blocking the kernel, as `wait` does; a cancelled task cancels the run."""
        return self._wait_async().__await__()

    async def _wait_async(self) -> RunHandle:
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def listener() -> None:
            if self.finished:
                loop.call_soon_threadsafe(done.set)

        end = self.on_change(listener)
        try:
            if not self.finished:
                await done.wait()
        except asyncio.CancelledError:
            self.cancel()
            raise
        finally:
            end()
        return self._ended()

    def _ended(self) -> RunHandle:
        with self._lock:
            freezers, self._freezers = self._freezers, []
        for freeze in freezers:
            freeze()
        if isinstance(self.error, PromptCardError):
            raise self.error
        return self

    def cancel(self) -> None:
        """Stop it. What has a result keeps it; calls in flight are aborted. Does nothing once it has ended."""
        if not self.finished:
            self.feed(status="cancelling")
            self._cancel()

    def pause(self) -> None:
        """Start no further calls; those in flight finish. Only for a run in this process.

        Raises:
            RunError: The run is on the server (``not_in_this_process``).
        """
        self._own_control().pause()

    def resume(self) -> None:
        """Go on after `pause`; raises as it does."""
        self._own_control().resume()

    def retune(self, concurrency: int) -> None:
        """Allow another number of calls in flight, from now on.

        Raises:
            RunError: It is not 1 or more (``run_options``), or the run is on the server (``not_in_this_process``).
        """
        self._own_control().retune(concurrency)

    @property
    def paused(self) -> bool:
        """Whether it starts no further calls for now."""
        return self._control is not None and self._control.paused

    def limits(self) -> dict[str, int]:
        """Return how many calls each provider is trusted with at the moment, by endpoint."""
        return {} if self._control is None else self._control.limits()

    def _own_control(self) -> Control:
        if self._control is None:
            raise RunError(
                f"Run '{self.name}' is on the server and can only be cancelled from here.", code="not_in_this_process"
            )
        return self._control

    def browse(self) -> None:
        """Show the results in a table to filter and look into, as long as this kernel lives.

        In a saved notebook, and outside of one, it is the static form.
        """
        from promptcard_ext.kernel.display import show_run

        show_run(self, lasting=True)

    def of(self, *, version: int | None = None, label: str | None = None, model: str | None = None) -> RunPart:
        """Return what is of one card version or model, to be compared with another by `pc.compare`.

        Args:
            version: Number of a saved version.
            label: Such as ``greet@3``, for versions that have no number.
            model: Reference of a model.
        """
        from promptcard_ext.kernel.run_part import RunPart

        return RunPart(self, version, label, model)

    def summary(self) -> SummaryTable:
        """Return one row per card version and model; a notebook shows them as a table."""
        derived = () if self.setup is None else self.setup.derived_metrics
        return SummaryTable(summarise(self.log.iter_plan(), derived))

    @property
    def chart(self) -> RunCharts:
        """Charts of the results so far: ``pass_rates()``, ``latencies()``, ``frontier()``, ``heatmap()``."""
        from promptcard_ext.kernel.run_charts import RunCharts

        return RunCharts(self)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per item as a data frame (columns: docs/users/results.md)."""
        from promptcard_ext.interchange.frames import results_frame

        return results_frame(self.log.iter_plan())

    def __repr__(self) -> str:
        counts = self.counts
        with self._lock:
            rate = self._clusters.interval()
        parts = [f"{counts.done} of {counts.total}"]
        if counts.done:
            parts += [f"pass {rate_text(rate, counts)}", cost_text(counts.cost_usd, counts.priced, counts.done)]
        return f"<Run {self.name!r} {self.status}: {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        from promptcard_ext.kernel.display import run_html

        return run_html(self)

    def _ipython_display_(self) -> None:
        from promptcard_ext.kernel.display import show_run

        show_run(self)
