"""The live view of a run: totals that tick, and a table of which the browser asks only what it shows.

`RunView.state` holds totals and is sent at most five times a second. Rows are never part of it: the browser asks for
windows of them on a second comm, the `Channel`, which also carries Stop. Requests look like this, and the answer
repeats ``kind`` and ``rid``:

=========== =========================== ====================================================================
kind        with                        answer
=========== =========================== ====================================================================
``ready``   –                           ``snapshot``: ``state``; for a view that has just been made
``resync``  –                           the same; for a view that may have missed something
``rows``    from, to, outcome or ""     ``from``, ``to``, ``outcome``; buffer: list of rows, see `_row`
``item``    ordinal                     buffer: everything about one item, or null
``cancel``  –                           ``cancel``; the run stops
=========== =========================== ====================================================================

(``rid`` and not ``id``: ipykernel keeps every ``id`` it sees.)
"""

from __future__ import annotations

import json
import threading
import weakref
from bisect import insort
from collections.abc import Callable
from typing import Any

import anywidget
import msgspec
import traitlets

from promptcard_ext.core.results import Counts, ItemResult, Outcome
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.stats.intervals import percentile, wilson
from promptcard_ext.stats.summary import cost_text, rate_text
from promptcard_ext.widgets.base import Channel, Throttle, static_file

MAX_WINDOW = 500
MAX_GROUPS = 12
MAX_ANSWER_CHARS = 300
MAX_ITEM_CHARS = 200_000

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
        # Guards `_rows`, `_groups`, `_seen`, `_revision` and the order of what is sent. Requests take it on the threads
        # of the kernel, ticks on the background loop. Never held while waiting for anything.
        self._lock = threading.RLock()
        self._run = run
        self._seen = self._revision = self._displays = 0
        self._rows: dict[str, list[ItemResult]] = {"": [], **{str(outcome): [] for outcome in Outcome}}
        self._groups: dict[tuple[str, str], _Group] = {}
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
            for rows in self._rows.values():
                rows.clear()
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
            "name": _clean(run.name),
            "status": status,
            "frozen": ended,
            "problem": _clean(str(run.error)) if ended and run.error else "",
            "elapsed_s": elapsed_s,
            "total": counts.total,
            **_totals(counts),
            "groups": [group.state() for group in sorted(self._groups.values())[:MAX_GROUPS]],
            "more_groups": max(0, len(self._groups) - MAX_GROUPS),
        }

    def _absorb(self, counts: Counts) -> Counts:
        for result in self._run.window(self._seen, counts.done):
            self._rows[""].append(result)
            self._rows[str(result.outcome)].append(result)
            key = (result.label, result.model)
            if key not in self._groups:
                self._groups[key] = _Group(result)
            self._groups[key].add(result)
        self._seen = counts.done
        return counts

    # -- requests ----------------------------------------------------------------------------------------------------

    def _on_request(self, request: dict[str, Any]) -> Channel.Answer | None:
        kind, rid = request.get("kind"), request.get("rid")
        answer = {"kind": kind, "rid": rid}
        if kind in ("ready", "resync"):
            with self._lock:
                return {**answer, "kind": "snapshot", "state": self._now()}, []
        if kind == "rows":
            window, rows = self._window(request)
            return answer | window, [_json(rows)]
        if kind == "item":
            ordinal = request.get("ordinal")
            result = self._run.result(ordinal) if isinstance(ordinal, int) else None
            return answer, [_json(result and _item(result))]
        if kind == "cancel":
            self._run.cancel()
            return answer, []
        return None

    def _window(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[list[Any]]]:
        first, last, outcome = request.get("from"), request.get("to"), request.get("outcome") or ""
        if not isinstance(first, int) or not isinstance(last, int) or outcome not in self._rows:
            return {"from": 0, "to": 0, "outcome": ""}, []
        first = max(0, first)
        last = max(first, min(last, first + MAX_WINDOW))
        with self._lock:
            found = self._rows[outcome][first:last]
        return {"from": first, "to": last, "outcome": outcome}, [_row(result) for result in found]


class _Group:
    """Totals of one card version on one model."""

    def __init__(self, first: ItemResult) -> None:
        self.label, self.model, self.first = first.label, first.model, first.ordinal
        self.counts = Counts()
        self.latencies: list[float] = []

    def __lt__(self, other: _Group) -> bool:
        return self.first < other.first

    def add(self, result: ItemResult) -> None:
        self.first = min(self.first, result.ordinal)
        self.counts.add(result)
        if result.generation is not None:
            insort(self.latencies, result.generation.latency_ms)

    def state(self) -> dict[str, Any]:
        middle = len(self.latencies) // 2
        # The list is sorted: its median needs its middle only.
        p50_ms = percentile(self.latencies[max(0, middle - 1) : len(self.latencies) - middle + 1], 0.5)
        head = {"label": _clean(self.label), "model": _clean(self.model), "p50_ms": p50_ms}
        return head | _totals(self.counts)


def _totals(counts: Counts) -> dict[str, Any]:
    return {
        "done": counts.done,
        "pass": counts.passed,
        "fail": counts.failed,
        "error": counts.errored,
        "unscored": counts.unscored,
        "rate": rate_text(wilson(counts.passed, counts.judged), counts) if counts.done else "",
        "cost": cost_text(counts.cost_usd, counts.priced, counts.done),
    }


def _row(result: ItemResult) -> list[Any]:
    """One line of the table: ordinal, outcome, case, repeat, card version, model, answer, latency in ms, why."""
    generation = result.generation
    return [
        result.ordinal,
        str(result.outcome),
        _line(result.case),
        result.repeat,
        _line(result.label),
        _line(result.model),
        _line(generation.output or "") if generation else "",
        generation.latency_ms if generation else None,
        _line(result.message or result.reason or ""),
    ]


def _item(result: ItemResult) -> dict[str, Any]:
    """Everything about one item; an endless answer is cut, and ``cut`` says how long it was."""
    generation = result.generation
    output = generation.output if generation else None
    details: dict[str, Any] = {
        "row": _row(result),
        "reason": result.reason,
        "message": result.message,
        "output": None if output is None else output[:MAX_ITEM_CHARS],
        "cut": len(output) if output is not None and len(output) > MAX_ITEM_CHARS else 0,
        "verdicts": [msgspec.to_builtins(verdict) for verdict in result.verdicts],
    }
    if generation is not None:
        details |= {
            "latency_ms": generation.latency_ms,
            "ttft_ms": generation.ttft_ms,
            "tokens_input": generation.tokens.input,
            "tokens_output": generation.tokens.output,
            "cost_usd": None if generation.cost_usd is None else f"${generation.cost_usd.normalize():f}",
            "finish_reason": generation.finish_reason,
            "attempts": generation.attempts,
            "tool_calls": generation.tool_calls,
        }
    return details


def _line(text: str) -> str:
    # Cut before and after: white space may be all there is in a megabyte.
    return " ".join(text[: 4 * MAX_ANSWER_CHARS].split())[:MAX_ANSWER_CHARS]


def _clean(text: str) -> str:
    """Replace lone surrogates: JSON in UTF-8 cannot hold them."""
    return text.encode("utf-8", "replace").decode()


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # lone surrogates again
        return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace")


def _nothing() -> None:
    pass
