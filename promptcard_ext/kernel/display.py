"""How runs look in a notebook: live where there is a front end, static HTML everywhere else and afterwards."""

from __future__ import annotations

import html
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from promptcard_ext.core.results import Counts, ItemResult
from promptcard_ext.kernel import loop
from promptcard_ext.stats.summary import SummaryRow, summarise

if TYPE_CHECKING:
    from promptcard_ext.kernel.handle import RunHandle

MAX_ROWS = 200
MAX_CELL_CHARS = 400

# Together with the style, what keeps the static form of any run below 150 kB.
MAX_ROWS_BYTES = 120_000
# A view that nobody waited for stays live; its static form follows this long after the end of the run.
SETTLE_S = 1.0

# Set by `promptcard_ext.widgets`, which lies above this layer: gives the live view of a run.
live_view: Callable[[RunHandle], LiveView] | None = None

_STYLE = """<style>
.pc-run{font:13px/1.45 var(--jp-ui-font-family,system-ui,sans-serif);color:var(--jp-ui-font-color1,inherit);
 max-width:1100px}
.pc-run h4{margin:.2em 0 .5em;font-size:14px;font-weight:600}
.pc-run .pc-bar{display:flex;height:8px;border-radius:4px;overflow:hidden;background:rgba(128,128,128,.25);
 margin:.4em 0 .7em}
.pc-run .pc-bar i{display:block}
.pc-run .pc-pass{background:#2e9e5b}.pc-run .pc-fail{background:#d64545}
.pc-run .pc-error{background:#d9902f}.pc-run .pc-unscored{background:#8a8f98}
.pc-run table.pc-table{border-collapse:collapse;table-layout:auto;width:100%;margin:.3em 0;font-size:inherit}
.pc-run table.pc-table th,.pc-run table.pc-table td{text-align:left;padding:3px 12px 3px 0;vertical-align:top;
 border-bottom:1px solid rgba(128,128,128,.3);overflow-wrap:anywhere}
.pc-run table.pc-table tr{background:none}.pc-run table.pc-table th{font-weight:600;white-space:nowrap}
.pc-run table.pc-table .n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.pc-run table.pc-table td.o{white-space:pre-wrap;font-family:var(--jp-code-font-family,monospace);font-size:12px;
 max-width:420px}
.pc-run .pc-tag{color:#fff;border-radius:3px;padding:0 6px;font-size:11px}
.pc-run details{margin-top:.5em}.pc-run summary{cursor:pointer}
.pc-run .pc-note{opacity:.75}
</style>"""


class LiveView(Protocol):
    """What a live view must do to be displayed; one view may be displayed several times."""

    def mimebundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return data and metadata that show it in a front end."""

    def retain(self) -> None:
        """Count one more display."""

    def release(self) -> None:
        """Count one display less; the last one closes the view."""


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


class _Shown:
    """One output of a run. It becomes static when somebody has waited for the end.

    A saved notebook keeps the static form for readers without a kernel, so that follows the end in any case.
    """

    def __init__(self, run: RunHandle, view: LiveView | None, lasting: bool) -> None:
        from IPython.display import display

        self._run, self._view = run, view
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
        data = {"text/plain": repr(self._run), "text/html": run_html(self._run)}
        if self._view is None:
            return data, {}
        live, metadata = self._view.mimebundle()
        return live | data, metadata

    def _on_change(self) -> None:
        if self._run.finished:
            self._end()
            loop.call_later(SETTLE_S, self._settle)

    def _settle(self) -> None:
        with self._lock:
            if self._view is not None:
                self._update()

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
    """Return ``widget`` inside a Jupyter kernel, ``static`` elsewhere or when ``PROMPTCARDS_RENDER=static``."""
    if os.environ.get("PROMPTCARDS_RENDER") == "static":
        return "static"
    kernel = sys.modules.get("ipykernel.zmqshell")
    shell = sys.modules["IPython"].get_ipython() if kernel and "IPython" in sys.modules else None
    return "widget" if kernel and isinstance(shell, kernel.ZMQInteractiveShell) else "static"


def run_html(run: RunHandle) -> str:
    """Return a run as HTML without scripts: totals, one line per version and model, up to 200 rows."""
    counts = run.counts
    head = f"<h4>{_esc(run.name)} · {_esc(run.status)} · {counts.done} of {counts.total}</h4>"
    error = f"<p>{_esc(str(run.error))}</p>" if run.error else ""
    results = run.results()
    body = f"{head}{error}{bar_html(counts)}{summary_html(summarise(results))}{rows_html(results)}"
    return f'{_STYLE}<div class="pc-run">{body}</div>'


def bar_html(counts: Counts) -> str:
    """Return the bar of outcomes."""
    parts = (("pass", counts.passed), ("fail", counts.failed), ("error", counts.errored), ("unscored", counts.unscored))
    total = max(1, counts.total)
    widths = "".join(
        f'<i class="pc-{name}" style="width:{100 * n / total:.3f}%" title="{n} {name}"></i>' for name, n in parts if n
    )
    return f'<div class="pc-bar">{widths}</div>'


def summary_html(rows: Sequence[SummaryRow]) -> str:
    """Return the table with one line per card version and model."""
    if not rows:
        return '<p class="pc-note">No result yet.</p>'
    body = "".join(
        f"<tr><td>{_esc(row.label)}</td><td>{_esc(row.model)}</td><td>{_esc(row.rate_text)}</td>"
        f'<td class="n">{row.counts.passed}</td><td class="n">{row.counts.failed}</td>'
        f'<td class="n">{row.counts.errored}</td><td class="n">{row.counts.unscored}</td>'
        f'<td class="n">{_ms(row.p50_ms)}</td><td class="n">{_ms(row.p95_ms)}</td>'
        f'<td class="n">{_esc(row.cost_text)}</td></tr>'
        for row in rows
    )
    names = ("card version", "model", "pass rate [95 %]", "pass", "fail", "error", "unscored", "p50", "p95", "cost")
    head = "".join(f'<th class="{"n" if i > 2 else ""}">{name}</th>' for i, name in enumerate(names))
    return f'<table class="pc-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def rows_html(results: Sequence[ItemResult], *, opened: bool = False) -> str:
    """Return the items in a fold-out table: what did not pass first, at most 200 of them."""
    if not results:
        return ""
    ordered = sorted(results, key=lambda r: (_URGENCY[str(r.outcome)], r.ordinal))[:MAX_ROWS]
    shown: list[str] = []
    room = MAX_ROWS_BYTES
    for result in ordered:
        row = _item_html(result)
        room -= len(row.encode())
        if room < 0:
            break
        shown.append(row)
    body = "".join(shown)
    note = f", {len(shown)} shown" if len(shown) < len(results) else ""
    head = "<tr><th>outcome</th><th>case</th><th>card version</th><th>model</th><th>answer</th><th>why</th></tr>"
    return (
        f"<details{' open' if opened else ''}><summary>{len(results)} items{note}</summary>"
        f'<table class="pc-table"><thead>{head}</thead><tbody>{body}</tbody></table></details>'
    )


_URGENCY = {"fail": 0, "error": 1, "unscored": 2, "pass": 3}


def _item_html(result: ItemResult) -> str:
    answer = (result.generation.output or "") if result.generation else ""
    cut = answer[:MAX_CELL_CHARS] + ("…" if len(answer) > MAX_CELL_CHARS else "")
    outcome = str(result.outcome)
    return (
        f'<tr><td><span class="pc-tag pc-{outcome}">{outcome}</span></td><td>{_esc(result.case)}</td>'
        f'<td>{_esc(result.label)}</td><td>{_esc(result.model)}</td><td class="o">{_esc(cut)}</td>'
        f"<td>{_esc(result.message[:MAX_CELL_CHARS])}</td></tr>"
    )


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} ms"


def _esc(text: str) -> str:
    # Model output is hostile text; NUL and surrogates would also break the notebook file.
    return html.escape(text.replace("\x00", "␀").encode("utf-8", "replace").decode())
