"""What live views share: their files, a throttle, and a comm for what the browser asks."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets

from promptcard_ext.kernel import loop

TICK_S = 0.273
_SOON_S = 0.002


def static_file(name: str) -> str:
    """Return a file of the front end as text; given as a path, anywidget would watch it and keep the widget alive."""
    return (Path(__file__).parent / "static" / name).read_text("utf-8")


_BETWEEN_PARTS = re.compile(r"^(?:import|export) [^;]*? from \"\./[^;]*;\n", re.MULTILINE)


def joined_files(*names: str) -> str:
    """Return several files of the front end as one module, in this order: each needs only what stands before it.

    anywidget takes one text. What the parts import from each other is there already, so those lines are left out.
    """
    return "\n".join(_BETWEEN_PARTS.sub("", static_file(name)) for name in names)


class Throttle:
    """Calls ``action`` soon after a request, never twice within an interval, and never loses the last request.

    Requests come from any thread. ``action`` always runs where ``later`` runs things, one call at a time.

    Args:
        later: Runs a function after some seconds; by default on the background loop.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        action: Callable[[], None],
        interval_s: float = TICK_S,
        *,
        later: Callable[[float, Callable[[], None]], object] = loop.call_later,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._action, self._interval_s = action, interval_s
        self._later, self._clock = later, clock
        # Guards the rest; not held while the action runs.
        self._lock = threading.Lock()
        self._scheduled = self._closed = False
        self._last = -math.inf
        self._owed_s = 0.0

    def request(self) -> None:
        """Ask for a call."""
        with self._lock:
            if self._scheduled or self._closed:
                return
            self._scheduled = True
            wait = max(0.0, self._wait_s())
        self._later(wait, self._fire)

    def defer(self) -> None:
        """Count something else that was done as if it had been a call, so that both together keep to the interval."""
        with self._lock:
            # Whoever is asked all the time still gets a word in.
            self._owed_s = min(self._owed_s + self._interval_s, 2 * self._interval_s)

    def close(self) -> None:
        """Make no more calls; one that runs right now goes on."""
        with self._lock:
            self._closed = True

    def _fire(self) -> None:
        with self._lock:
            if self._closed:
                return
            wait = self._wait_s()
            # A clock that is read twice does not tell the same time.
            due = wait < _SOON_S
            self._scheduled = not due
            if due:
                self._last, self._owed_s = self._clock(), 0.0
        if due:
            self._action()
        else:
            self._later(wait, self._fire)

    def _wait_s(self) -> float:
        return self._last + self._interval_s + self._owed_s - self._clock()


class Channel(ipywidgets.Widget):  # type: ignore[misc]  # ipywidgets has no types
    """A comm for requests from the browser and their answers; nothing is streamed on it.

    Its model in the browser is the plain one of ipywidgets, so it needs no code there.

    Args:
        on_request: Called with a request (always a dict) on whatever thread the kernel gives it; what it returns,
            content and buffers, is sent back.
    """

    Answer = tuple[dict[str, Any], list[bytes]]

    def __init__(self, on_request: Callable[[dict[str, Any]], Answer | None]) -> None:
        super().__init__()
        self._on_request = on_request
        _route_as_sent(self.comm)
        self.on_msg(self._answer)

    def _answer(self, _: Any, content: Any, __: Any) -> None:
        if not isinstance(content, dict):
            return
        # Answered on the spot: it is short work, and whoever waits for it may close the view at any moment.
        if answer := self._on_request(content):
            self.answer(answer)

    def answer(self, answer: Answer) -> None:
        """Send an answer, from any thread; nothing happens when the view was closed meanwhile."""
        if self.comm is not None:
            self.send(answer[0], buffers=answer[1])


def _route_as_sent(comm: Any) -> None:
    """Let requests run where the front end wants them: on its subshell, also while a cell is busy.

    ipykernel 7.4 sends them to wherever the comm was last used from. That is the main thread for a comm that a cell has
    opened, and Stop would wait for the end of the cell.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _, wanted: wanted  # noqa: SLF001
