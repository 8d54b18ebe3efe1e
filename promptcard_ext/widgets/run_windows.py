"""Windows of the list and the matrix of a run view: what a browser asks for, bounded, and what it gets."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from promptcard_ext.widgets.item_state import row_state
from promptcard_ext.widgets.questions import Question, Questions
from promptcard_ext.widgets.run_index import RunIndex

MAX_WINDOW = 500
MAX_CELLS = 2_000
MAX_KEY = 60

Window = tuple[dict[str, Any], list[list[Any]]]
Lock = AbstractContextManager[object]


def list_window(index: RunIndex, questions: Questions, lock: Lock, request: dict[str, Any]) -> Window:
    """Return lines of the list, at most 500: by outcome in order of arrival, or what a question has found.

    Args:
        lock: The view's; the results are read without it.
    """
    first, last, outcome = request.get("from"), request.get("to"), request.get("outcome") or ""
    question = Question.of(request.get("question"))
    known = isinstance(outcome, str) and (not outcome or outcome in index.found)
    if not isinstance(first, int) or not isinstance(last, int) or not known or (not question and "question" in request):
        return {"from": 0, "to": 0, "outcome": ""}, []
    first = max(0, first)
    last = max(first, min(last, first + MAX_WINDOW))
    answer: dict[str, Any] = {"from": first, "to": last, "outcome": outcome}
    with lock:
        if question is None:
            ordinals = index.ordinals(outcome, first, last)
        else:
            found = questions.ask(_key(request), question)
            ordinals, answer["found"] = found.ordinals[first:last], found.state()
    results = (index.run.result(ordinal) for ordinal in ordinals)
    return answer, [row_state(result) for result in results if result is not None]


def matrix_window(index: RunIndex, questions: Questions, lock: Lock, request: dict[str, Any]) -> Window:
    """Return rows of the matrix, at most 2,000 cells: place of the case, its name once it is known, cells.

    Args:
        lock: The view's; the names are read without it.
    """
    edges = [request.get(name) for name in ("from", "to", "left", "right")]
    if not all(isinstance(edge, int) for edge in edges):
        return {"from": 0, "to": 0, "cases": 0}, []
    first, last, left, right = (max(0, edge or 0) for edge in edges)
    question = Question.of(request.get("question"))
    with lock:
        found = None if question is None else questions.ask(_key(request), question)
        cases = index.cases(found)
        columns = range(left, min(right, index.shape.columns if index.shape else 0, left + MAX_WINDOW))
        most = MAX_CELLS // max(1, len(columns))
        rows = range(first, max(first, min(last, cases, first + most)))
        cells = index.cells(found, rows, columns)
        known = [index.case_result(row[0]) for row in cells]
    for row, ordinal in zip(cells, known, strict=True):
        result = None if ordinal is None else index.run.result(ordinal)
        row.insert(1, "" if result is None else row_state(result)[2])
    answer = {"from": first, "to": rows.stop, "cases": cases}
    return answer | ({} if found is None else {"found": found.state()}), cells


def _key(request: dict[str, Any]) -> str:
    return str(request.get("key"))[:MAX_KEY]
