"""How runs look in a notebook: live where there is a front end, static HTML everywhere else and afterwards.

A front end without a kernel shows nothing where a saved output asks for a live view, so an output is static as soon as
its run has ended, unless somebody looks through it at that moment.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from promptcard_ext.kernel import flips_html, loop, manifests  # noqa: F401  Flip tables become tables.
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.kernel.static_html import run_html

if TYPE_CHECKING:
    from promptcard_ext.kernel.handle import RunHandle

# So long after the end of the run an output becomes static that nobody looks through.
SETTLE_S = 1.0

__all__ = ["LiveView", "live_view", "render_mode", "run_html", "show_run"]

# Set by `promptcard_ext.widgets`, which lies above this layer: gives the live view of a run.
live_view: Callable[[RunHandle], LiveView] | None = None


class LiveView(Protocol):
    """What a live view must do to be displayed; one view may be displayed several times."""

    def mimebundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return data and metadata that show it in a front end."""

    def retain(self) -> None:
        """Count one more display."""

    def release(self) -> None:
        """Count one display less; the last one closes the view."""

    def idle_in_s(self) -> float:
        """Return after how many seconds nobody looks through it any more, by what is known now; 0 if nobody does.

        Infinity where nothing could take its place on the page.
        """


def show_run(run: RunHandle, *, lasting: bool = False) -> None:
    """Display a run: live where a kernel with a front end shows it, else in its static form.

    Args:
        lasting: Live also when the run has ended, and it stays live when somebody waits for the end.
    """
    if not _in_ipython():
        print(repr(run))  # noqa: T201  What the caller of `browse()` in plain Python asked for.
        return
    wanted = live_view is not None and render_mode() == "widget" and (lasting or not run.finished)
    _Shown(run, live_view(run) if wanted and live_view is not None else None, lasting)


def show(data: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
    """Display what is given in several forms; outside of IPython its plain text is printed."""
    if not _in_ipython():
        print(data["text/plain"])  # noqa: T201  As for `show_run`.
        return
    from IPython.display import display

    display(data, metadata=metadata or {}, raw=True)  # type: ignore[no-untyped-call]


def show_note(text: str, *, workspace_id: str | None = None, version_id: str | None = None, label: str = "") -> None:
    """Display a line of text.

    Args:
        workspace_id, version_id, label: The card version of a workspace that it tells of, when it does.
    """
    if not _in_ipython():
        print(harmless(text))  # noqa: T201  What was asked for in plain Python.
        return
    from IPython.display import display

    data = {"text/plain": harmless(text)}
    metadata = {}
    if version_id is not None:
        metadata[manifests.KEY] = manifests.card_manifest(workspace_id, version_id, label, data)
    display(data, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]


class _Shown:
    """One output of a run. It becomes static when the run has ended: at once when somebody has waited for that.

    What is still looked through keeps the view, with the static form beside it for readers without a kernel.
    """

    def __init__(self, run: RunHandle, view: LiveView | None, lasting: bool) -> None:
        from IPython.display import display

        self._run, self._view, self._lasting = run, view, lasting
        self._end: Callable[[], None] = lambda: None
        # Held while the output is replaced: a static output must not become live again.
        self._lock = threading.Lock()
        ended = run.finished
        data, metadata = self._bundle()
        if view is not None:
            view.retain()
        self._handle = display(data, metadata=metadata, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        if self._handle is None or ended:
            return
        if not lasting:
            run.on_freeze(self._freeze)
        if view is not None:
            self._end = run.on_change(self._on_change)
            self._on_change()

    def _bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        data = {"text/plain": repr(self._run), "text/html": run_html(self._run, self._hint())}
        own = {manifests.KEY: manifests.run_manifest(self._run, data)}
        if self._view is None:
            return data, own
        live, metadata = self._view.mimebundle()
        return live | data, metadata | own

    def _hint(self) -> str:
        """Return the code that shows it live again, where somebody can run it."""
        if not self._run.finished or self._view is not None or live_view is None or render_mode() != "widget":
            return ""
        return "run.browse()" if self._run.id is None else f'pc.attach("{self._run.id}").browse()'

    def _on_change(self) -> None:
        if self._run.finished:
            self._end()
            loop.call_later(SETTLE_S, self._settle)

    def _settle(self) -> None:
        with self._lock:
            view = self._view
        idle_in_s = 0.0 if view is None else math.inf if self._lasting else view.idle_in_s()
        if view is None or idle_in_s <= 0:
            self._freeze()
            return
        with self._lock:
            if self._view is not None:
                self._update()
        if idle_in_s < math.inf:
            loop.call_later(idle_in_s, self._settle)

    def _freeze(self) -> None:
        with self._lock:
            view, self._view = self._view, None
            self._update()
        if view is not None:
            view.release()

    def _update(self) -> None:
        data, metadata = self._bundle()
        self._handle.update(data, metadata=metadata, raw=True)


def _in_ipython() -> bool:
    return "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None


def render_mode() -> str:
    """Return ``widget`` where somebody sits before the kernel, else ``static``.

    ``PROMPTCARDS_RENDER`` may say one or the other.
    """
    wanted = os.environ.get("PROMPTCARDS_RENDER")
    if wanted in ("static", "widget"):
        return wanted
    kernel = sys.modules.get("ipykernel.zmqshell")
    shell = sys.modules["IPython"].get_ipython() if kernel and "IPython" in sys.modules else None
    if not kernel or not isinstance(shell, kernel.ZMQInteractiveShell):
        return "static"
    return "widget" if in_voila() or _can_be_asked(shell) else "static"


def in_voila() -> bool:
    """Tell whether this kernel is behind a page of Voilà."""
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila/")


def _can_be_asked(shell: Any) -> bool:
    """Tell whether the request that is carried out comes from somebody whom the kernel may ask something.

    Front ends allow it; papermill and nbconvert do not, which keep what was shown and nothing that would be live.
    """
    parent = shell.kernel.get_parent("shell") if getattr(shell, "kernel", None) is not None else None
    return not isinstance(parent, dict) or parent.get("content", {}).get("allow_stdin", True) is not False
