"""The live view of a run: totals that tick, and a list and a matrix of which the browser asks only what it shows.

`RunView.state` holds totals. Rows are never part of it: the browser asks for windows of them on a second comm, the
`Channel`, which also carries what somebody does with the run. Ticks and answers together are at most five a second,
unless somebody scrolls. Requests look like this, and the answer repeats ``kind`` and ``rid``:

=========== =================================== ==============================================================
kind        with                                answer
=========== =================================== ==============================================================
``ready``   page                                ``snapshot``: ``state``, ``plan``; for a view that was just made
``resync``  –                                   the same; for a view that may have missed something
``rows``    from, to, outcome or question, key  ``from``, ``to``, ``outcome``; buffer: list of rows, see `row_state`
``cells``   from, to, left, right, question     ``from``, ``to``, ``cases``; buffer: rows of the matrix: place of
                                                the case, its name, a text per cell (a letter for each repeat)
``item``    ordinal                             buffer: everything about one item, or null
``select``  ordinals, columns                   ``select``; kept in `RunView.selection`
``compare`` ordinals, columns                   ``compare``, after `RunView.on_compare` was told
``show``    back                                ``snapshot`` of the run that was shown before
``cancel``  –                                   ``cancel``; the run stops
``look``    –                                   none; somebody reads or uses the view
=========== =================================== ==============================================================

A question is a list: outcome, changed, text, sort, descending (see `Question`); ``key`` names it in ``state["found"]``.
What may take long is answered when it is done, with ``problem`` when it failed (see `run_orders`): ``story``, ``case``
(ordinal), ``others``, and ``do`` (action, ordinal, budget).

(``rid`` and not ``id``: ipykernel keeps every ``id`` it sees.)
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
import weakref
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, NamedTuple

import anywidget
import msgspec
import traitlets

from promptcard_ext.core.results import ItemResult
from promptcard_ext.kernel import loop
from promptcard_ext.kernel.display import in_voila
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.process_keeper import ProcessKeeper
from promptcard_ext.kernel.run_keeper import RunKeeper
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.widgets import run_orders, run_windows
from promptcard_ext.widgets.base import Channel, Throttle, joined_files, static_file
from promptcard_ext.widgets.item_state import item_state, money_state
from promptcard_ext.widgets.questions import Questions
from promptcard_ext.widgets.run_index import CHUNK, MAX_GROUPS, RunIndex
from promptcard_ext.widgets.run_windows import MAX_WINDOW

if TYPE_CHECKING:
    from promptcard_ext.kernel.workspace import Workspace

__all__ = ["MAX_GROUPS", "MAX_WINDOW", "RunView", "Selection"]

# More than this is counted on a thread of its own, some at a time: nobody waits for it.
AT_ONCE = 4 * CHUNK
STEP = 100
PAUSE_S = 0.001
MAX_SELECTED = 10_000
# Whoever looks through a run that has ended may think for so long before the output becomes static.
IDLE_S = 600.0

# Set by whatever shows comparisons: told of what is marked, by every view in which somebody asks for one.
# What it returns is told to whoever has asked.
compare: Callable[[RunView, Selection], str] | None = None

_views: weakref.WeakKeyDictionary[RunHandle, weakref.ref[RunView]] = weakref.WeakKeyDictionary()


class Selection(NamedTuple):
    """What somebody has marked in a view.

    Attributes:
        columns: Card versions (labels) and models.
        ordinals: Items, by their places in the plan.
    """

    columns: list[tuple[str, str]]
    ordinals: list[int]


class RunView(anywidget.AnyWidget):
    """Shows a run while it goes on, and lets one look through its results and steer it.

    A handle shows itself with one of these; make one yourself to put it into a layout of ipywidgets. It may be
    displayed several times. `close` it when it is not needed any more: the kernel keeps open widgets for ever.

    Args:
        run: The handle of the run.
        workspace: Where cases of a run of this process are promoted to.
        baselines: Runs of this process to compare outcomes with.

    Example:
        >>> import promptcard_ext as pc
        >>> run = pc.run(pc.Card("greet", "Hello {{ who }}"), [{"who": "Ada"}], "simulated:echo").wait()
        >>> view = RunView(run)
        >>> view.state["done"]
        1
        >>> view.close()
    """

    _esm = joined_files(
        "greeting.js",
        "windows.js",
        "rows.js",
        "page.js",
        "run_matrix.js",
        "run_story.js",
        "run_controls.js",
        "run_view.js",
    )
    _css = static_file("run_view.css")
    # One dict, sent as a whole: a lost message never leaves half of it behind. The browser only reads it.
    state = traitlets.Dict().tag(sync=True, echo_update=False)
    channel = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        run: RunHandle,
        *,
        workspace: Workspace | None = None,
        baselines: Collection[RunHandle] = (),
        throttle: Callable[[Callable[[], None]], Throttle] = Throttle,
    ) -> None:
        # Guards `_run`, `_index`, `_revision`, `_selection` and the order of what is sent. Requests take it on the
        # threads of the kernel, ticks on the background loop. Never held while waiting for anything but the log.
        self._lock = threading.RLock()
        self._api = None if workspace is None else workspace.api
        self._baselines = tuple(baselines)
        self._revision = self._displays = self._renewals = 0
        self._catching_up = self._closed = False
        self._looked = -math.inf
        self._pages: set[str] = set()
        self._selection = Selection([], [])
        self._compare: list[Callable[[Selection], object]] = []
        self._before: list[RunHandle] = []
        self._below: anywidget.AnyWidget | None = None
        self._below_text = ""
        self._stop_listening: Callable[[], None] = _nothing
        self._channel = Channel(self._on_request)
        self._throttle = throttle(self._tick)
        self._enter(run)
        super().__init__(channel=self._channel.model_id, state=self._now())
        self._stop_listening = run.on_change(self._throttle.request)
        self._throttle.request()

    def _enter(self, run: RunHandle) -> None:
        self._run = run
        self._keeper: RunKeeper = run.keeper or ProcessKeeper(run, self._api, self._baselines)
        self._renew()

    def _renew(self) -> None:
        self._renewals += 1
        self._index = RunIndex(self._run)
        self._questions = Questions(
            self._index.columns,
            self._index.shape,
            result=self._run.result,
            changed_since=self._keeper.changed_since,
            told=self._throttle.request,
            finished=lambda: self._run.finished,
        )

    @classmethod
    def of(cls, run: RunHandle) -> RunView:
        """Return the open view of a run; it is made when there is none."""
        known = _views.get(run)
        view = known() if known is not None else None
        if view is None or view.comm is None:
            view = cls(run)
            _views[run] = weakref.ref(view)
        return view

    @property
    def run(self) -> RunHandle:
        """The handle of the run that it shows now."""
        return self._run

    def show_below(self, widget: anywidget.AnyWidget | None, text: str = "") -> None:
        """Show another widget under the results in place of the one before, which is closed; or a text, or nothing."""
        with self._lock:
            before, self._below, self._below_text = self._below, None if self._closed else widget, text
            unwanted = widget if self._closed else None
        for one in (before, unwanted):
            if one is not None and one is not self._below:
                one.close()
        self._throttle.request()

    @property
    def selection(self) -> Selection:
        """What is marked in the browser now."""
        with self._lock:
            return self._selection

    def on_compare(self, told: Callable[[Selection], object]) -> None:
        """Call ``told`` when somebody asks for what is marked to be compared, on a thread of the kernel."""
        self._compare.append(told)
        self._throttle.request()

    def show(self, run: RunHandle) -> None:
        """Show another run in the same place; the browser offers the way back."""
        with self._lock:
            if self._closed:
                return
            self._stop_listening()
            self._before.append(self._run)
            self._enter(run)
            self._stop_listening = run.on_change(self._throttle.request)
        self._throttle.request()

    def _go_back(self) -> None:
        with self._lock:
            if self._before:
                before = self._before.pop()
                self.show(before)
                self._before.pop()

    def mimebundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what shows it in a front end (data without plain text, and metadata); nothing once it is closed."""
        bundle = None if self.comm is None else self._repr_mimebundle_()
        if bundle is None:
            return {}, {}
        data, metadata = bundle
        return {key: value for key, value in data.items() if key != "text/plain"}, metadata

    def retain(self) -> None:
        """Count one more display."""
        with self._lock:
            self._displays += 1

    def release(self) -> None:
        """Count one display less; the last one closes it."""
        with self._lock:
            self._displays -= 1
            last = self._displays <= 0
        if last:
            self.close()

    def idle_in_s(self) -> float:
        """Return after how many seconds nobody looks through it any more; see `LiveView`."""
        # A page that was loaded anew shows the view, but does not hear of an output that is replaced; nor does Voilà.
        if len(self._pages) > 1 or in_voila():
            return math.inf
        return max(0.0, IDLE_S - (time.monotonic() - self._looked))

    def close(self) -> None:
        """Remove it from the front end and let go of everything; the run goes on."""
        if "_throttle" not in self.__dict__:  # its construction failed half-way
            super().close()
            return
        self._throttle.close()
        self._stop_listening()
        self._stop_listening = _nothing
        with self._lock:
            self._closed = True
            if self.comm is not None:
                self._channel.close()
                self.layout.close()
            super().close()
            self._questions.close()
            self._index.clear()
            self._compare.clear()
            self._before.clear()
        self.show_below(None)

    # -- totals ------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        with self._lock:
            if self.comm is None:
                return
            self._revision += 1
            self.state = self._now()
        self._keeper.refresh(self._throttle.request)

    def _now(self) -> dict[str, Any]:
        run = self._run
        # The status first: once it is final, every result is there.
        status, elapsed_s = run.status, run.elapsed_s
        ended = run.finished
        self._absorb()
        index, keeper = self._index, self._keeper
        left = index.behind
        self._questions.look()
        return {
            "revision": self._revision,
            "epoch": self._renewals,
            "name": harmless(run.name),
            "run_id": run.id,
            "status": "paused" if status == "running" and run.paused else status,
            "frozen": ended and not left,
            "problem": harmless(str(run.error)) if ended and run.error else "",
            "elapsed_s": elapsed_s,
            "total": run.counts.total,
            # Columns and repeats of the matrix; their names come with the snapshot.
            "grid": None if index.shape is None else [index.shape.columns, index.shape.repeats],
            "per_s": None if ended else index.speed(time.monotonic()),
            **index.state(),
            "money": money_state(keeper.money()),
            # Only what is not possible, and why.
            "cannot": {action: why for action, why in keeper.reasons(status).items() if why},
            "found": self._questions.state(),
            "compares": bool(self._compare or compare),
            "below": "" if self._below is None else self._below.model_id,
            "below_text": harmless(self._below_text),
            "back": harmless(self._before[-1].name) if self._before else "",
        }

    def _absorb(self) -> None:
        if self._index.epoch != self._run.epoch or self._index.run is not self._run:
            self._questions.close()
            self._renew()
        if self._index.behind <= AT_ONCE:
            self._index.absorb(AT_ONCE)
        elif not self._catching_up:
            self._catching_up = True
            loop.submit(asyncio.to_thread(self._catch_up))

    def _catch_up(self) -> None:
        """Count what there is, a little at a time, so that requests are answered meanwhile."""
        try:
            while True:
                with self._lock:
                    if self._closed or not self._index.behind:
                        break
                    self._index.absorb(STEP)
                self._throttle.request()
                # Locks are not fair: without this pause a request that waits would wait for the end.
                time.sleep(PAUSE_S)
        finally:
            self._catching_up = False
            self._throttle.request()

    # -- requests ----------------------------------------------------------------------------------------------------

    def _on_request(self, request: dict[str, Any]) -> Channel.Answer | None:
        kind, rid = request.get("kind"), request.get("rid")
        answer = {"kind": kind, "rid": rid}
        if not isinstance(kind, str):
            return None
        if kind == "look":
            self._looked = time.monotonic()
            return None
        self._throttle.defer()
        if kind in run_orders.KINDS:
            self._later(request, answer)
            return None
        if kind in ("ready", "resync", "show"):
            if kind == "show":
                self._go_back()
            if kind == "ready":
                self._pages.add(str(request.get("page"))[:40])
            return answer | self._snapshot(), []
        if kind in ("rows", "cells"):
            find = run_windows.list_window if kind == "rows" else run_windows.matrix_window
            window, rows = find(self._index, self._questions, self._lock, request)
            return answer | window, [msgspec.json.encode(rows)]
        if kind == "item":
            result = self._result(request)
            return answer, [msgspec.json.encode(None if result is None else item_state(result))]
        if kind in ("select", "compare"):
            return answer | self._select(request, told=kind == "compare"), []
        if kind == "cancel":
            self._run.cancel()
            return answer, []
        return None

    def _snapshot(self) -> dict[str, Any]:
        with self._lock:
            state = self._now()
            return {"kind": "snapshot", "state": state, "plan": self._index.plan_state()}

    def _result(self, request: dict[str, Any]) -> ItemResult | None:
        ordinal = request.get("ordinal")
        return self._run.result(ordinal) if isinstance(ordinal, int) else None

    def _later(self, request: dict[str, Any], answer: dict[str, Any]) -> None:
        keeper, result = self._keeper, self._result(request)

        def work() -> None:
            self._channel.answer((answer | run_orders.carry_out(keeper, request, result, self.show), []))
            self._throttle.request()

        if keeper.quick:
            work()
        else:
            loop.submit(asyncio.to_thread(work))

    def _select(self, request: dict[str, Any], *, told: bool) -> dict[str, Any]:
        columns, ordinals = request.get("columns"), request.get("ordinals")
        shape = self._index.shape
        width = 0 if shape is None else shape.columns
        if not isinstance(columns, list) or not isinstance(ordinals, list):
            return {"problem": "Nothing is marked."}
        headings = [shape.heading(one) for one in columns if shape and isinstance(one, int) and 0 <= one < width]
        items = [one for one in ordinals[:MAX_SELECTED] if isinstance(one, int) and one >= 0]
        with self._lock:
            self._selection = Selection(headings, items)
            selection, hooks = self._selection, list(self._compare) if told else []
        try:
            for hook in hooks:
                hook(selection)
            if told and not hooks and compare is not None:
                return {"said": harmless(compare(self, selection))}
        except Exception as error:  # noqa: BLE001  Foreign code: whoever has asked is told what became of it.
            return {"problem": harmless(f"{type(error).__name__}: {error}")}
        return {}


def _nothing() -> None:
    pass
