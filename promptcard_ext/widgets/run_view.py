"""The live view of a run: totals that tick, and a table of which the browser asks only what it shows.

`RunView.state` holds totals and is sent at most five times a second. Rows are never part of it: the browser asks for
windows of them on a second comm, the `Channel`, which also carries Stop. Requests look like this, and the answer
repeats ``kind`` and ``rid``:

=========== =========================== ====================================================================
kind        with                        answer
=========== =========================== ====================================================================
``ready``   –                           ``snapshot``: ``state``; for a view that has just been made
``resync``  –                           the same; for a view that may have missed something
``rows``    from, to, outcome or ""     ``from``, ``to``, ``outcome``; buffer: list of rows, see `row_state`
``item``    ordinal                     buffer: everything about one item, or null
``cancel``  –                           ``cancel``; the run stops
=========== =========================== ====================================================================

(``rid`` and not ``id``: ipykernel keeps every ``id`` it sees.)
"""

from __future__ import annotations

import threading
import weakref
from array import array
from collections.abc import Callable
from typing import Any

import anywidget
import msgspec
import traitlets

from promptcard_ext.core.results import Counts, ItemResult, Outcome
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.widgets.base import Channel, Throttle, static_file
from promptcard_ext.widgets.item_state import item_state, row_state
from promptcard_ext.widgets.totals import Group, Totals

MAX_WINDOW = 500
# So many results are read at once while totals catch up: all of them might not fit into memory.
CHUNK = 500
MAX_GROUPS = 12

_views: weakref.WeakKeyDictionary[RunHandle, weakref.ref[RunView]] = weakref.WeakKeyDictionary()


class RunView(anywidget.AnyWidget):
    """Shows a run while it goes on, and lets one look through its results.

    A handle shows itself with one of these; make one yourself to put it into a layout of ipywidgets. It may be
    displayed several times. `close` it when it is not needed any more: the kernel keeps open widgets for ever.

    Args:
        run: The handle of the run.

    Example:
        >>> import promptcard_ext as pc
        >>> run = pc.run(pc.Card("greet", "Hello {{ who }}"), [{"who": "Ada"}], "simulated:echo").wait()
        >>> view = RunView(run)
        >>> view.state["done"]
        1
        >>> view.close()
    """

    _esm = static_file("run_view.js")
    _css = static_file("run_view.css")
    # One dict, sent as a whole: a lost message never leaves half of it behind. The browser only reads it.
    state = traitlets.Dict().tag(sync=True, echo_update=False)
    channel = traitlets.Unicode().tag(sync=True)

    def __init__(self, run: RunHandle, *, throttle: Callable[[Callable[[], None]], Throttle] = Throttle) -> None:
        # Guards `_found`, `_groups`, `_seen`, `_revision` and the order of what is sent. Requests take it on the
        # threads of the kernel, ticks on the background loop. Never held while waiting for anything but the log.
        self._lock = threading.RLock()
        self._run = run
        self._seen = self._revision = self._displays = 0
        # Ordinals by outcome, as they came. The results themselves stay in the log, on disk.
        self._found = {str(outcome): array("I") for outcome in Outcome}
        self._groups: dict[tuple[str, str], Group] = {}
        plan = run.setup.plan if run.setup is not None else None
        self._once = plan is not None and plan.repeats == 1
        self._totals = Totals(once=plan is not None and plan.per_case == 1)
        self._channel = Channel(self._on_request)
        super().__init__(channel=self._channel.model_id, state=self._now())
        self._throttle = throttle(self._tick)
        self._stop_listening: Callable[[], None] = run.on_change(self._throttle.request)
        self._throttle.request()

    @classmethod
    def of(cls, run: RunHandle) -> RunView:
        """Return the open view of a run; it is made when there is none."""
        known = _views.get(run)
        view = known() if known is not None else None
        if view is None or view.comm is None:
            view = cls(run)
            _views[run] = weakref.ref(view)
        return view

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

    def close(self) -> None:
        """Remove it from the front end and let go of everything; the run goes on."""
        if "_throttle" not in self.__dict__:  # its construction failed half-way
            super().close()
            return
        self._throttle.close()
        self._stop_listening()
        self._stop_listening = _nothing
        with self._lock:
            if self.comm is not None:
                self._channel.close()
                self.layout.close()
            super().close()
            for ordinals in self._found.values():
                del ordinals[:]
            self._groups.clear()

    # -- totals ------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        with self._lock:
            if self.comm is not None:
                self._revision += 1
                self.state = self._now()

    def _now(self) -> dict[str, Any]:
        run = self._run
        # The status first: once it is final, every result is there.
        status, elapsed_s = run.status, run.elapsed_s
        ended = run.finished
        counts = self._absorb(run.counts)
        return {
            "revision": self._revision,
            "name": harmless(run.name),
            "status": status,
            "frozen": ended,
            "problem": harmless(str(run.error)) if ended and run.error else "",
            "elapsed_s": elapsed_s,
            "total": counts.total,
            **self._totals.state(),
            "groups": [group.state() for group in sorted(self._groups.values())[:MAX_GROUPS]],
            "more_groups": max(0, len(self._groups) - MAX_GROUPS),
        }

    def _absorb(self, counts: Counts) -> Counts:
        for first in range(self._seen, counts.done, CHUNK):
            last = min(first + CHUNK, counts.done)
            for result in self._run.window(first, last):
                self._count(result)
            self._seen = last
        return counts

    def _count(self, result: ItemResult) -> None:
        self._found[str(result.outcome)].append(result.ordinal)
        key = (result.label, result.model)
        if key not in self._groups:
            self._groups[key] = Group(result, once=self._once)
        self._groups[key].add(result)
        self._totals.add(result)

    # -- requests ----------------------------------------------------------------------------------------------------

    def _on_request(self, request: dict[str, Any]) -> Channel.Answer | None:
        kind, rid = request.get("kind"), request.get("rid")
        answer = {"kind": kind, "rid": rid}
        if kind in ("ready", "resync"):
            with self._lock:
                return {**answer, "kind": "snapshot", "state": self._now()}, []
        if kind == "rows":
            window, rows = self._window(request)
            return answer | window, [msgspec.json.encode(rows)]
        if kind == "item":
            ordinal = request.get("ordinal")
            result = self._run.result(ordinal) if isinstance(ordinal, int) else None
            return answer, [msgspec.json.encode(result and item_state(result))]
        if kind == "cancel":
            self._run.cancel()
            return answer, []
        return None

    def _window(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[list[Any]]]:
        first, last, outcome = request.get("from"), request.get("to"), request.get("outcome") or ""
        if not isinstance(first, int) or not isinstance(last, int) or (outcome and outcome not in self._found):
            return {"from": 0, "to": 0, "outcome": ""}, []
        first = max(0, first)
        last = max(first, min(last, first + MAX_WINDOW))
        with self._lock:
            # No more than what the totals count, which is known to the browser.
            seen = min(last, self._seen)
            ordinals = self._found[outcome][first:last] if outcome else ()
        found = [self._run.result(ordinal) for ordinal in ordinals] if outcome else self._run.window(first, seen)
        rows = [row_state(result) for result in found if result is not None]
        return {"from": first, "to": last, "outcome": outcome}, rows


def _nothing() -> None:
    pass
