"""Which of the cases are run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase

from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import ItemResult, Outcome

_OF_LAST_RUN = {"failing": (Outcome.FAIL,), "errors": (Outcome.ERROR,)}


def select(
    cases: Sequence[Case], filters: Sequence[str], last_results: Callable[[], Iterable[ItemResult]]
) -> Sequence[Case]:
    """Return the cases for which every filter holds.

    Args:
        filters: A pattern for the name, ``KEY=VALUE`` of the metadata (the value may be a pattern), or ``failing`` or
            ``errors`` of the last run.
        last_results: Gives the results of the last run, when a filter asks for them.

    Raises:
        CardError: No case is left (``no_cases``).
    """
    chosen = cases
    for text in filters:
        holds = _test(text, last_results)
        chosen = [case for case in chosen if holds(case)]
    if not len(chosen) and filters:
        raise CardError(
            f"No case fits --filter {' --filter '.join(filters)}.",
            code="no_cases",
            hint=f"There are {len(cases):,} cases; the first is '{cases[0].name}'." if len(cases) else "",
        )
    return chosen


def _test(text: str, last_results: Callable[[], Iterable[ItemResult]]) -> Callable[[Case], bool]:
    if text in _OF_LAST_RUN:
        wanted = _OF_LAST_RUN[text]
        uids = {result.case_uid for result in last_results() if result.outcome in wanted}
        return lambda case: case.uid in uids
    key, equals, value = text.partition("=")
    if equals:
        return lambda case: key in case.metadata and fnmatchcase(_plain(case.metadata[key]), value)
    return lambda case: fnmatchcase(case.name, text)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
