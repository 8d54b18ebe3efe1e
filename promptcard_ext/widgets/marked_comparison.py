"""Compares the two columns that somebody has marked in a live view, and shows the comparison below it."""

from __future__ import annotations

import asyncio

from promptcard_ext.core.errors import PromptCardError
from promptcard_ext.kernel import loop
from promptcard_ext.kernel.comparison import compare
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.widgets.compare_view import CompareView
from promptcard_ext.widgets.run_view import RunView, Selection


def compare_marked(view: RunView, selection: Selection) -> str:
    """Begin to compare what is marked; return what to tell at once. Marks of nothing take the comparison away."""
    if not selection.columns and not selection.ordinals:
        view.show_below(None)
        return ""
    if len(selection.columns) != 2:
        return "Mark two columns of the matrix to compare them: a click on the head of each."
    # A large run takes some seconds, and the thread of the kernel is for all requests.
    loop.submit(asyncio.to_thread(_show, view, view.run, selection.columns))
    return "Comparing …"


def _show(view: RunView, run: RunHandle, columns: list[tuple[str, str]]) -> None:
    a, b = (run.of(label=label, model=model) for label, model in columns)
    try:
        view.show_below(CompareView.of(compare(a, b)))
    except PromptCardError as error:
        view.show_below(None, str(error))
