"""What the browser asks of the case table, and the answers.

Every request has a ``kind`` and a ``rid``, which its answer repeats. Rows are named by their place among those that are
seen, as ``rows``: a list of [first, behind the last], together with the ``edition`` in which they stood there; or by
their ``key``. ``refused`` in an answer says why nothing was done.

============= ======================================= ==========================================================
kind          with                                    answer
============= ======================================= ==========================================================
``ready``     –                                       ``state``; for a view that has just been made
``rows``      from, to                                ``from``, ``to``; buffer: list of rows, see `row_state`
``cell``      key, column                             ``text``, the whole of it
``copy``      rows, columns [first, last]             ``text`` for the clipboard
``show``      only, text                              ``state``
``edit``      cells: [key, column, text]              ``state``
``clear``     rows, columns                           ``state``
``add``       –                                       ``state``, ``place`` of the new row; buffer: a list of it
``duplicate`` rows                                    ``state``, ``place``; buffer: the new rows, 100 at most
``delete``    rows                                    ``state``
``mark``      rows; tags to ``add`` and ``remove``,   ``state``
              or ``priority``
``undo``,     –                                       ``state``
``redo``
``plan``      place, text, separator, header          ``paste``: see `Paste.state`; ``token``
``paste``     token, fit                              ``state``
``kinds``     –                                       buffer: all kinds of assertions, see `catalogue`
``forms``     key                                     ``forms``, ``name``
``check``     forms                                   ``problems``, one for each
``judge``     key, forms                              ``judged``: see `Judged.state`
``assert``    key, forms                              ``state``
``conflict``  key                                     ``conflict``: see `conflict_state`
``resolve``   key, take                               ``state``
``review``    –                                       ``judged``, over all rows whose assertions are others
``save``      –                                       ``state``
============= ======================================= ==========================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, get_args

import msgspec
from msgspec.structs import replace

from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.widgets.assertion_forms import Form, assertions_of, catalogue, problems_of
from promptcard_ext.widgets.case_columns import Column, read_tags
from promptcard_ext.widgets.case_draft import Draft
from promptcard_ext.widgets.case_judging import Answers, Judged
from promptcard_ext.widgets.case_paste import Paste, Place, planned
from promptcard_ext.widgets.case_row import conflict_state, row_state
from promptcard_ext.widgets.case_sheet import Only, Row, Sheet
from promptcard_ext.widgets.clipboard import MAX_CELLS, SEPARATORS, parse, written

MAX_WINDOW = 500
MAX_NEW = 100
MAX_TEXT_CHARS = 1_000_000
CHANGED_MEANWHILE = "The table has changed meanwhile; please do it again."
Request = dict[str, Any]
Answer = tuple[dict[str, Any], list[bytes]]
Later = Callable[[], dict[str, Any]]


class CaseRequests:
    """Answers requests about a sheet; whoever calls holds the table's lock.

    Args:
        answers: What edited assertions are tried on; None where nothing is stored.
    """

    def __init__(self, sheet: Sheet, answers: Answers | None = None) -> None:
        self._sheet, self._answers = sheet, answers
        self._columns = {column.id: column for column in sheet.columns}
        self._paste: tuple[int, Paste, list[Row]] | None = None
        self._token = 0
        self._kinds = b""

    def answer(self, request: Request) -> Answer | Later | None:
        """Return the answer, or work that may take long and returns it; None for what nobody would ask.

        Raises:
            CardError: What was asked cannot be done.
        """
        answering = getattr(self, f"on_{request.get('kind')}", None)
        if answering is None:
            return None
        found: Answer | Later = answering(request)
        return found

    # -- looking -------------------------------------------------------------------------------------------------------

    def on_rows(self, request: Request) -> Answer:
        """Give a window of rows."""
        first = max(0, _integer(request, "from"))
        last = max(first, min(_integer(request, "to"), first + MAX_WINDOW))
        rows = [row_state(self._sheet, row) for row in self._sheet.seen(first, last)]
        return {"from": first, "to": last}, [msgspec.json.encode(rows)]

    def on_cell(self, request: Request) -> Answer:
        """Give the whole text of a cell."""
        row, column = self._row(request), self._column(request.get("column"))
        # As it is: the browser puts it into a text box, from which it comes back.
        return {"text": _well_formed(column.text(row.draft)[:MAX_TEXT_CHARS])}, []

    def on_copy(self, request: Request) -> Answer:
        """Give cells as text for a spreadsheet."""
        rows, columns = self._rows(request), self._range(request)
        if len(rows) * len(columns) > MAX_CELLS:
            raise CardError("These are too many cells to be copied at once.", code="paste_too_large")
        text = written([[column.text(row.draft) for column in columns] for row in rows])
        return {"text": _well_formed(text)}, []

    def on_show(self, request: Request) -> Answer:
        """See only some of the rows."""
        only: Only = request["only"] if request.get("only") in get_args(Only) else ""
        self._sheet.show(only, str(request.get("text") or "")[:1000])
        return {}, []

    # -- changing ------------------------------------------------------------------------------------------------------

    def on_edit(self, request: Request) -> Answer:
        """Write into cells."""
        drafts: dict[int, Draft] = {}
        for key, column_id, text in request.get("cells") or ():
            row = self._sheet.row(key)
            if row is None:
                return _refused()
            draft = drafts.get(key, row.draft)
            after = self._column(column_id).put(draft, str(text)[:MAX_TEXT_CHARS])
            if after.differs(draft):
                drafts[key] = after
        self._sheet.change(drafts)
        return {}, []

    def on_clear(self, request: Request) -> Answer:
        """Empty cells."""
        columns = self._range(request)

        def emptied(draft: Draft) -> Draft:
            for column in columns:
                draft = column.put(draft, "")
            return draft

        self._sheet.each([row.key for row in self._rows(request)], emptied)
        return {}, []

    def on_add(self, _: Request) -> Answer:
        """Add an empty row."""
        return self._placed(self._sheet.change({}, [Draft()]))

    def on_duplicate(self, request: Request) -> Answer:
        """Add copies of rows."""
        return self._placed(self._sheet.duplicate([row.key for row in self._rows(request)]))

    def _placed(self, keys: list[int]) -> Answer:
        place = len(self._sheet) - len(keys)
        # At once, so that somebody who types on need not wait for it.
        rows = [row_state(self._sheet, row) for row in self._sheet.seen(place, place + MAX_NEW)]
        return {"place": place}, [msgspec.json.encode(rows)]

    def on_delete(self, request: Request) -> Answer:
        """Take rows out."""
        self._sheet.remove([row.key for row in self._rows(request)])
        return {}, []

    def on_mark(self, request: Request) -> Answer:
        """Give many rows tags or a priority, or take tags from them."""
        keys = [row.key for row in self._rows(request)]
        if "priority" in request:
            priority = self._column("priority")
            self._sheet.each(keys, lambda draft: priority.put(draft, str(request["priority"])))
            return {}, []
        try:
            add, remove = (read_tags(str(request.get(name) or "")) for name in ("add", "remove"))
        except ValueError as error:
            raise CardError(f"These tags cannot be used: {error}.", code="case_invalid") from None
        self._sheet.each(keys, partial(_tagged, add=add, remove=set(remove)))
        return {}, []

    def on_undo(self, _: Request) -> Answer:
        """Take a step back."""
        self._sheet.undo()
        return {}, []

    def on_redo(self, _: Request) -> Answer:
        """Take a step again."""
        self._sheet.redo()
        return {}, []

    # -- pasting -------------------------------------------------------------------------------------------------------

    def on_plan(self, request: Request) -> Answer:
        """Say what a paste would do."""
        if request.get("edition") != self._sheet.edition:
            return _refused()
        place = msgspec.convert(request.get("place"), Place)
        separator = request.get("separator") or ""
        cells = parse(str(request.get("text") or ""), separator if separator in SEPARATORS else "")
        header = request.get("header")
        paste = planned(self._sheet, cells, place, header=header if isinstance(header, bool) else None)
        self._token += 1
        self._paste = (self._token, paste, self._sheet.rows)
        return {"paste": paste.state(), "token": self._token}, []

    def on_paste(self, request: Request) -> Answer:
        """Do what was planned."""
        known, self._paste = self._paste, None
        if known is None or known[0] != request.get("token") or known[2] is not self._sheet.rows:
            return _refused()
        paste = known[1]
        if request.get("fit"):
            self._sheet.change(paste.fitting, paste.fitting_added)
        else:
            self._sheet.change(paste.drafts, paste.added)
        return {}, []

    # -- assertions ----------------------------------------------------------------------------------------------------

    def on_kinds(self, _: Request) -> Answer:
        """Give the catalogue of kinds."""
        self._kinds = self._kinds or msgspec.json.encode(catalogue())
        return {}, [self._kinds]

    def on_forms(self, request: Request) -> Answer:
        """Give the assertions of a case."""
        row = self._row(request)
        forms = [Form.of(assertion) for assertion in row.draft.assertions]
        shown = [{**msgspec.to_builtins(form), "value": _well_formed(form.value)} for form in forms]
        return {"forms": shown, "name": harmless(row.draft.name), "wrong": "assertions" in row.draft.wrong}, []

    def on_check(self, request: Request) -> Answer:
        """Say what is wrong with assertions."""
        forms = [Form.read(one) for one in request.get("forms") or ()]
        return {"problems": [harmless(problem) for problem in problems_of(forms)]}, []

    def on_judge(self, request: Request) -> Answer | Later:
        """Try assertions on the stored answers of a case."""
        row = self._row(request)
        draft = replace(row.draft, assertions=assertions_of(request.get("forms")))
        return self._judged([draft.case()], latest=True)

    def on_assert(self, request: Request) -> Answer:
        """Give a case other assertions."""
        row = self._row(request)
        after = replace(row.draft, assertions=assertions_of(request.get("forms")))
        after = replace(after, wrong={name: one for name, one in after.wrong.items() if name != "assertions"})
        if after.differs(row.draft):
            self._sheet.change({row.key: after})
        return {}, []

    def on_review(self, _: Request) -> Answer | Later:
        """Say what flips once everything is saved."""
        return self._judged(self._rejudged())

    def _rejudged(self) -> list[Case]:
        """Return the cases that are judged otherwise than they were."""
        sheet = self._sheet
        changed = ((row.draft, sheet.bases[row.key].draft) for row in sheet.unsaved() if row.key in sheet.bases)
        return [
            draft.case()
            for draft, base in changed
            if draft.uid == base.uid and (draft.assertions, draft.threshold) != (base.assertions, base.threshold)
        ]

    def _judged(self, cases: list[Case], *, latest: bool = False) -> Answer | Later:
        answers = self._answers
        if answers is None:
            return {"judged": None}, []
        return lambda: {"judged": (answers.judged(cases, latest=latest) if cases else Judged()).state()}

    # -- conflicts -----------------------------------------------------------------------------------------------------

    def on_conflict(self, request: Request) -> Answer:
        """Say what somebody else has saved."""
        row = self._row(request)
        return ({"conflict": conflict_state(self._sheet, row)}, []) if row.key in self._sheet.conflicts else _refused()

    def on_resolve(self, request: Request) -> Answer:
        """End a conflict."""
        take: Literal["mine", "theirs"] = "theirs" if request.get("take") == "theirs" else "mine"
        self._sheet.resolve(self._row(request).key, take)
        return {}, []

    # -- what is named -------------------------------------------------------------------------------------------------

    def _row(self, request: Request) -> Row:
        row = self._sheet.row(_integer(request, "key"))
        if row is None:
            raise CardError("This row is not there any more.", code="case_invalid")
        return row

    def _rows(self, request: Request) -> list[Row]:
        if request.get("edition") != self._sheet.edition:
            raise CardError(CHANGED_MEANWHILE, code="case_invalid")
        ranges = msgspec.convert(request.get("rows"), list[tuple[int, int]])
        seen = self._sheet.seen(0, len(self._sheet))
        places = {place for first, last in ranges for place in range(max(0, first), min(last, len(seen)))}
        return [seen[place] for place in sorted(places)]

    def _range(self, request: Request) -> tuple[Column, ...]:
        first, last = msgspec.convert(request.get("columns"), tuple[int, int])
        return self._sheet.columns[max(0, first) : max(0, last + 1)]

    def _column(self, column: Any) -> Column:
        if column not in self._columns:
            raise CardError("This column is not there any more.", code="case_invalid")
        return self._columns[column]


def _tagged(draft: Draft, *, add: Iterable[str], remove: set[str]) -> Draft:
    tags = dict.fromkeys([*(tag for tag in draft.tags if tag not in remove), *add])
    return replace(draft, tags=tuple(tags))


def _integer(request: Request, name: str) -> int:
    value = request.get(name)
    if not isinstance(value, int):
        raise CardError(f"'{name}' is no whole number.", code="case_invalid")
    return value


def _refused() -> Answer:
    return {"refused": CHANGED_MEANWHILE}, []


def _well_formed(text: str) -> str:
    # Half characters have no form in which they could be sent.
    return text.encode("utf-8", "replace").decode()
