"""The view of a comparison: differences with intervals, and a table of which the browser asks only what it shows.

`CompareView.state` holds the summary, which does not change. Rows are asked for on a second comm, the `Channel`; the
answer repeats ``kind`` and ``rid``:

========= ================================ ===============================================================
kind      with                             answer
========= ================================ ===============================================================
``ready`` –                                ``snapshot``: ``state``; for a view that has just been made
``rows``  from, to, filter, text           ``from``, ``total``; buffer: list of rows, see `entry_row`
``item``  place                            buffer: everything about both sides, see `entry_state`, or null
========= ================================ ===============================================================
"""

from __future__ import annotations

import threading
import weakref
from array import array
from typing import Any

import anywidget
import msgspec
import traitlets

from promptcard_ext.kernel.comparison import Comparison
from promptcard_ext.kernel.comparison_words import flips_text, headline, notes_of
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.widgets.base import Channel, joined_files, static_file
from promptcard_ext.widgets.compare_state import entry_row, entry_state, group_rows
from promptcard_ext.widgets.entry_filters import EntryFilters

MAX_WINDOW = 500
MAX_TEXT_CHARS = 200
MAX_NOTES = 20
MAX_NOTE_CHARS = 500

_views: weakref.WeakKeyDictionary[Comparison, weakref.ref[CompareView]] = weakref.WeakKeyDictionary()


class CompareView(anywidget.AnyWidget):
    """Shows two runs next to each other, and lets one look through their items.

    `Comparison.browse` shows one of these; make one yourself to put it into a layout of ipywidgets. `close` it when it
    is not needed any more: the kernel keeps open widgets for ever.

    Args:
        comparison: What `pc.compare` has returned.
    """

    _esm = joined_files("greeting.js", "windows.js", "rows.js", "compare_view.js")
    _css = static_file("compare_view.css")
    # Sent once. The browser only reads it.
    state = traitlets.Dict().tag(sync=True, echo_update=False)
    channel = traitlets.Unicode().tag(sync=True)

    def __init__(self, comparison: Comparison) -> None:
        # Guards `_places` and `_asked`. Requests come on threads of the kernel; held while one of them is answered.
        self._lock = threading.Lock()
        self._comparison: Comparison | None = comparison
        self._filters = EntryFilters(comparison)
        self._asked = ("", "")
        self._places = array("L")
        self._channel = Channel(self._on_request)
        super().__init__(channel=self._channel.model_id, state=self._summary(comparison))

    @classmethod
    def of(cls, comparison: Comparison) -> CompareView:
        """Return the open view of a comparison; it is made when there is none."""
        known = _views.get(comparison)
        view = known() if known is not None else None
        if view is None or view.comm is None:
            view = cls(comparison)
            _views[comparison] = weakref.ref(view)
        return view

    def mimebundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what shows it in a front end (data without plain text, and metadata)."""
        bundle = self._repr_mimebundle_()
        data, metadata = bundle if bundle is not None else ({}, {})
        return {key: value for key, value in data.items() if key != "text/plain"}, metadata

    def close(self) -> None:
        """Remove it from the front end and let go of everything."""
        if "_channel" in self.__dict__ and self.comm is not None:
            self._channel.close()
            self.layout.close()
        super().close()
        with self._lock:
            self._comparison = None
            self._filters.clear()
            del self._places[:]

    def _summary(self, comparison: Comparison) -> dict[str, Any]:
        compared = comparison.compared
        notes = [harmless(note[:MAX_NOTE_CHARS]) for note in notes_of(compared, comparison.notes)]
        return {
            "a": harmless(comparison.a.facts.name[:200]),
            "b": harmless(comparison.b.facts.name[:200]),
            "headline": harmless(headline(compared)[:MAX_NOTE_CHARS]),
            "flips": flips_text(compared),
            "withheld": bool(compared.withheld),
            "notes": notes[:MAX_NOTES],
            "pairs": len(compared.joined.pairs),
            "to_fail": sum(group.to_fail for group in compared.groups),
            "to_pass": sum(group.to_pass for group in compared.groups),
            "other": sum(group.other_flips for group in compared.groups),
            "repeats": comparison.repeats,
            "filters": self._filters.counts(),
            **group_rows(compared.groups),
        }

    # -- requests ----------------------------------------------------------------------------------------------------

    def _on_request(self, request: dict[str, Any]) -> Channel.Answer | None:
        kind = request.get("kind")
        answer = {"kind": kind, "rid": request.get("rid")}
        with self._lock:
            comparison = self._comparison
            if comparison is None:
                return None
            if kind == "ready":
                return {**answer, "kind": "snapshot", "state": self.state}, []
            if kind == "rows":
                window, rows = self._window(comparison, request)
                return answer | window, [msgspec.json.encode(rows)]
            if kind == "item":
                return answer, [msgspec.json.encode(self._item(comparison, request.get("place")))]
        return None

    def _window(self, comparison: Comparison, request: dict[str, Any]) -> tuple[dict[str, Any], list[list[Any]]]:
        first, last = request.get("from"), request.get("to")
        chosen, text = request.get("filter"), request.get("text")
        if not isinstance(first, int) or not isinstance(last, int) or not isinstance(text, str):
            return {"from": 0, "total": 0}, []
        asked = (str(chosen), text[:MAX_TEXT_CHARS])
        if asked != self._asked:
            self._places, self._asked = self._filters.places(*asked), asked
        first = max(0, first)
        places = self._places[first : max(first, min(last, first + MAX_WINDOW))]
        return {"from": first, "total": len(self._places)}, [entry_row(comparison, place) for place in places]

    @staticmethod
    def _item(comparison: Comparison, place: object) -> dict[str, Any] | None:
        if not isinstance(place, int) or not 0 <= place < len(comparison.entries):
            return None
        return entry_state(comparison, place)
