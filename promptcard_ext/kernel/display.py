"""How runs look in a notebook: live where there is a front end, static HTML everywhere else and afterwards."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from promptcard_ext.core.results import Counts, ItemResult
from promptcard_ext.stats.summary import SummaryRow

if TYPE_CHECKING:
    from promptcard_ext.kernel.handle import RunHandle

MAX_ROWS = 200
MAX_CELL_CHARS = 400

# Set by `promptcard_ext.widgets`, which lies above this layer: makes the live view of a run.
live_view: Callable[[RunHandle], Any] | None = None

_STYLE = """<style>
.pc-run{font:13px/1.45 var(--jp-ui-font-family,system-ui,sans-serif);color:var(--jp-ui-font-color1,inherit);max-width:1100px}
.pc-run h4{margin:.2em 0 .5em;font-size:14px;font-weight:600}
.pc-run .pc-bar{display:flex;height:8px;border-radius:4px;overflow:hidden;background:rgba(128,128,128,.25);margin:.4em 0 .7em}
.pc-run .pc-bar i{display:block}
.pc-run .pc-pass{background:#2e9e5b}.pc-run .pc-fail{background:#d64545}
.pc-run .pc-error{background:#d9902f}.pc-run .pc-unscored{background:#8a8f98}
.pc-run table{border-collapse:collapse;width:100%;margin:.3em 0}
.pc-run th,.pc-run td{text-align:left;padding:3px 10px 3px 0;border-bottom:1px solid rgba(128,128,128,.3);vertical-align:top}
.pc-run td.n,.pc-run th.n{text-align:right;font-variant-numeric:tabular-nums}
.pc-run td.o{white-space:pre-wrap;font-family:var(--jp-code-font-family,monospace);font-size:12px;max-width:420px;overflow-wrap:anywhere}
.pc-run .pc-tag{color:#fff;border-radius:3px;padding:0 6px;font-size:11px}
.pc-run details{margin-top:.5em}.pc-run summary{cursor:pointer}
.pc-run .pc-note{opacity:.75}
</style>"""


def show_run(run: RunHandle) -> None:
    """Display a run: a live view when a kernel with a front end shows it, else its static form."""
    from IPython.display import display

    view = live_view(run) if live_view is not None and render_mode() == "widget" and not run.finished else None
    bundle = {"text/plain": repr(run), "text/html": run_html(run)}
    if view is not None:
        bundle |= {key: value for key, value in view._repr_mimebundle_()[0].items() if key.startswith("application/")}
    shown = display(bundle, raw=True, display_id=True)
    if view is not None and shown is not None:

        def freeze() -> None:
            shown.update({"text/plain": repr(run), "text/html": run_html(run)}, raw=True)
            view.close()

        run.on_freeze(freeze)


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
    return f'{_STYLE}<div class="pc-run">{head}{error}{bar_html(counts)}{summary_html(run.summary())}{rows_html(results)}</div>'


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
        f'<td class="n">{_ms(row.p50_ms)}</td><td class="n">{_ms(row.p95_ms)}</td><td class="n">{_esc(row.cost_text)}</td></tr>'
        for row in rows
    )
    names = "card version|model|pass rate [95 %]|pass|fail|error|unscored|p50|p95|cost".split("|")
    head = "".join(f'<th class="{"n" if i > 2 else ""}">{name}</th>' for i, name in enumerate(names))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def rows_html(results: Sequence[ItemResult], *, opened: bool = False) -> str:
    """Return the items in a fold-out table: what did not pass first, at most 200 of them."""
    if not results:
        return ""
    ordered = sorted(results, key=lambda r: (_URGENCY[str(r.outcome)], r.ordinal))[:MAX_ROWS]
    body = "".join(_item_html(result) for result in ordered)
    note = f", {len(ordered)} shown" if len(ordered) < len(results) else ""
    head = "<tr><th>outcome</th><th>case</th><th>card version</th><th>model</th><th>answer</th><th>why</th></tr>"
    return (
        f"<details{' open' if opened else ''}><summary>{len(results)} items{note}</summary>"
        f"<table><thead>{head}</thead><tbody>{body}</tbody></table></details>"
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
