"""A table in which the cases of a card are edited, as in a spreadsheet.

`CaseTable.state` holds counts and what the buttons say, and is sent at most five times a second. Rows are never part of
it: the browser asks for those it shows (`case_requests` lists what it may ask). The truth is the `Sheet` in the kernel;
saving and judging, which ask the server, run beside the comm's thread and are answered when they are done.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import anywidget
import msgspec
import traitlets

from promptcard_ext.core.assertions import python
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case, as_cases
from promptcard_ext.core.contract.cases import SavedCase, state_of
from promptcard_ext.core.errors import CardError, PromptCardError
from promptcard_ext.interchange.case_files import load_cases
from promptcard_ext.kernel import loop
from promptcard_ext.kernel.cases_html import MAX_ROWS, cases_html
from promptcard_ext.kernel.display import render_mode
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.kernel.workspace import Workspace, connect
from promptcard_ext.widgets.base import Channel, Throttle, joined_files, static_file
from promptcard_ext.widgets.case_columns import columns_of
from promptcard_ext.widgets.case_draft import Draft
from promptcard_ext.widgets.case_judging import Answers, LocalAnswers, ServerAnswers
from promptcard_ext.widgets.case_requests import CaseRequests, Later
from promptcard_ext.widgets.case_row import column_state
from promptcard_ext.widgets.case_sheet import Base, Sheet
from promptcard_ext.widgets.case_store import CaseStore, Changes, Saved

if TYPE_CHECKING:
    import pandas as pd

# These change nothing; whatever else is asked is answered with the new state.
_ONLY_LOOKS = frozenset({"rows", "cell", "copy", "plan", "kinds", "forms", "check", "judge", "conflict", "review"})


def edit_cases(
    card: Card | str,
    cases: Iterable[Case | Mapping[str, Any]] | None = None,
    *,
    workspace: Workspace | None = None,
    run: RunHandle | None = None,
) -> CaseTable:
    """Return a table in which the cases of a card are edited.

    Args:
        card: A card; or the name of one on the server, whose cases are read from there and saved there.
        cases: The cases to edit, of a card that is given itself. They are not changed: see `CaseTable.cases`.
        workspace: Where the card is; by default that of this kernel's server.
        run: A finished run of this process, on whose answers edited assertions are tried.

    Raises:
        NotFound: There is no such card.
        CardError: Two cases have the same variables.

    Example:
        >>> table = edit_cases(Card("greet", "Hello {{ who }}"), [{"who": "Ada"}])
        >>> table.add([{"who": "Grace"}])
        1
        >>> [case.variables["who"] for case in table.cases]
        ['Ada', 'Grace']
        >>> table.close()
    """
    if isinstance(card, Card):
        return CaseTable(card, as_cases(cases or ()), answers=LocalAnswers(run) if run is not None else None)
    place = workspace or connect()
    latest = place.card(card)
    store = CaseStore(place.api, latest.name)
    table = CaseTable(latest, store.load(), store=store, answers=ServerAnswers(place.api, latest.name))
    if cases is not None:
        table.add(cases)
    return table


class CaseTable(anywidget.AnyWidget):
    """Shows cases as a spreadsheet does; made by `edit_cases`.

    `close` it when it is not needed any more: the kernel keeps open widgets for ever.

    Args:
        card: For the columns and their types.
        cases: What is there at first.
        store: Where to save; None keeps everything here.
        answers: What edited assertions are tried on.
    """

    _esm = joined_files("greeting.js", "windows.js", "case_table.js", "assertion_panel.js")
    _css = static_file("case_table.css")
    state = traitlets.Dict().tag(sync=True, echo_update=False)
    channel = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        card: Card,
        cases: Iterable[Case | SavedCase] = (),
        *,
        store: CaseStore | None = None,
        answers: Answers | None = None,
        throttle: Callable[[Callable[[], None]], Throttle] = Throttle,
    ) -> None:
        # Guards the sheet and everything below. Requests take it on threads of the kernel, cells on the main thread,
        # saving on threads of its own. Never held while the server is asked.
        self._lock = threading.RLock()
        # One save at a time.
        self._saving = threading.Lock()
        self._card, self._store = card, store
        given = tuple(cases)
        self._sheet = Sheet(columns_of(card, given), given)
        self._requests = CaseRequests(self._sheet, answers)
        self._has_answers = answers is not None
        self._revision = self._done = self._to_save = 0
        self._busy, self._said, self._problem = False, "", ""
        self._fixed = {
            "name": harmless(card.name),
            "columns": [column_state(column) for column in self._sheet.columns],
            "server": store is not None,
            "answers": self._has_answers,
        }
        self._outputs: list[Any] = []
        self._channel = Channel(self._on_request)
        super().__init__(channel=self._channel.model_id, state=self._now())
        self._throttle = throttle(self._tick)

    # -- from Python ---------------------------------------------------------------------------------------------------

    @property
    def cases(self) -> list[Case]:
        """Return the cases as they stand in the table.

        Raises:
            CardError: A row is not finished (``case_unfinished``).
        """
        with self._lock:
            cases = self._sheet.cases()
        if self._store is not None:
            for case in cases:
                python.distrust(case.assertions)
        return cases

    def add(self, cases: Iterable[Case | Mapping[str, Any]]) -> int:
        """Add cases and return how many are new; those with variables that a row has replace it. One step for undo."""
        with self._lock:
            rows = {row.draft.uid: row.key for row in self._sheet.rows}
            drafts, added = {}, []
            for case in as_cases(cases):
                draft = Draft.of(case)
                if case.uid in rows:
                    drafts[rows[case.uid]] = draft
                else:
                    added.append(draft)
            self._sheet.change(drafts, added)
            self._changed()
        return len(added)

    def add_frame(self, frame: pd.DataFrame) -> int:
        """Add the cases in a data frame, whose columns are as in a file of cases; return how many are new.

        Raises:
            FileError: A cell does not fit; names row and column. Then nothing is added.
        """
        return self.add(load_cases(frame, self._card))

    def undo(self) -> None:
        """Take the last step back."""
        with self._lock:
            self._sheet.undo()
            self._changed()

    def redo(self) -> None:
        """Take the step again that was taken back last."""
        with self._lock:
            self._sheet.redo()
            self._changed()

    def save(self) -> str:
        """Save what was changed, wait for it, and return what came of it.

        Cases that somebody else has changed meanwhile are left as they are, and marked in the table.

        Raises:
            CardError: The table has no server (``table_local``).
        """
        if self._store is None:
            raise CardError(
                "These cases are not on a server.",
                hint="Take them from '.cases', or use workspace.edit_cases().",
                code="table_local",
            )
        self._save()
        return self._said

    def close(self) -> None:
        """Leave a plain table in the notebook and let go of everything; what was not saved is lost."""
        if "_throttle" not in self.__dict__:  # its construction failed half-way
            super().close()
            return
        self._throttle.close()
        with self._lock:
            outputs, self._outputs = self._outputs, []
            if self.comm is not None:
                self._channel.close()
                self.layout.close()
            super().close()
        for output in outputs:
            output.update(self._static(), raw=True)

    def __repr__(self) -> str:
        counts = self._sheet.counts()
        edits = [(counts.added, "new"), (counts.changed, "changed"), (counts.removed, "to be deleted")]
        told = [
            f"{counts.total:,} case{'' if counts.total == 1 else 's'}",
            *(f"{number:,} {what}" for number, what in edits if number),
        ]
        return f"<CaseTable '{self._card.name}': {', '.join(told)}>"

    def _static(self) -> dict[str, Any]:
        """Return what a notebook shows without a kernel."""
        with self._lock:
            sheet = self._sheet
            rows = [(sheet.state(row), row.draft) for row in sheet.rows[:MAX_ROWS]]
            number = len(sheet.rows)
        cells = ([state, *(column.shown(draft) for column in sheet.columns)] for state, draft in rows)
        titles = [column.title for column in sheet.columns]
        return {"text/plain": repr(self), "text/html": cases_html(self._card.name, titles, cells, number)}

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        live = super()._repr_mimebundle_(**kwargs) if self.comm is not None and render_mode() == "widget" else None
        data, metadata = live or ({}, {})
        return data | self._static(), metadata

    def _ipython_display_(self) -> None:
        from IPython.display import display

        data, metadata = self._repr_mimebundle_()
        output = display(data, metadata=metadata, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        if output is not None:
            self._outputs.append(output)

    # -- state ---------------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        """Take note that the state is another; whoever calls holds the lock."""
        self._revision += 1
        self._throttle.request()

    def _tick(self) -> None:
        with self._lock:
            if self.comm is not None and self.state.get("revision") != self._revision:
                self.state = self._now()

    def _now(self) -> dict[str, Any]:
        sheet = self._sheet
        return {
            **self._fixed,
            "revision": self._revision,
            "edition": sheet.edition,
            "seen": len(sheet),
            **sheet.counts()._asdict(),
            "can_undo": sheet.can_undo,
            "can_redo": sheet.can_redo,
            "saving": self._busy,
            "done": self._done,
            "to_save": self._to_save,
            "said": self._said,
            "problem": self._problem,
        }

    # -- requests ------------------------------------------------------------------------------------------------------

    def _on_request(self, request: dict[str, Any]) -> Channel.Answer | None:
        head = {"kind": request.get("kind"), "rid": request.get("rid")}
        with self._lock:
            if head["kind"] in ("ready", "resync"):
                return {**head, "state": self._now()}, []
            if head["kind"] == "save":
                self._later(head, self._save_answer)
                return None
            try:
                found = self._requests.answer(request)
            except PromptCardError as error:
                return {**head, "refused": _words(error)}, []
            except (msgspec.ValidationError, TypeError, ValueError):
                return {**head, "refused": "This request makes no sense."}, []
            if found is None:
                return None
            if callable(found):
                self._later(head, found)
                return None
            content, buffers = found
            if head["kind"] not in _ONLY_LOOKS:
                self._said = self._problem = ""
                self._changed()
                content = content | {"state": self._now()}
            return {**head, **content}, buffers

    def _later(self, head: dict[str, Any], work: Later) -> None:
        def done() -> None:
            answer = {**head, **_told(work)}
            with self._lock:
                if self.comm is not None:
                    self._channel.send(answer)

        loop.submit(asyncio.to_thread(done))

    # -- saving --------------------------------------------------------------------------------------------------------

    def _save_answer(self) -> dict[str, Any]:
        if self._store is None:
            return {}
        try:
            self._save()
        except PromptCardError as error:
            with self._lock:
                self._problem = _words(error)
                self._changed()
        with self._lock:
            return {"state": self._now()}

    def _save(self) -> None:
        assert self._store is not None, "whoever calls has looked"
        with self._saving:
            with self._lock:
                changes = Changes(
                    [(row, self._sheet.bases.get(row.key)) for row in self._sheet.unsaved()],
                    {key: one for key, one in self._sheet.removed().items() if key not in self._sheet.conflicts},
                )
                self._busy, self._done, self._to_save = True, 0, len(changes.rows) + len(changes.removed)
                self._said = self._problem = ""
                self._changed()
            saved = Saved()
            try:
                self._store.save(changes, saved, self._progress)
            finally:
                with self._lock:
                    self._keep(saved)
                    self._busy = False
                    self._changed()

    def _progress(self, done: int) -> None:
        with self._lock:
            self._done = done
            self._changed()

    def _keep(self, saved: Saved) -> None:
        sheet = self._sheet
        stored = saved.stored.items()
        sheet.were_saved({key: (draft, Base(Draft.of(case), state_of(case))) for key, (draft, case) in stored})
        for key in saved.removed:
            sheet.was_removed(key)
        for key, theirs in saved.conflicts.items():
            sheet.has_conflict(key, theirs)
        sheet.notes.update(saved.refused)
        left = sum(1 for row in sheet.rows if sheet.state(row) and sheet.blocked(row))
        more = f" {left:,} not saved: they are not finished." if left else ""
        self._said = saved.text + more


def _told(work: Later) -> dict[str, Any]:
    try:
        return work()
    except PromptCardError as error:
        return {"refused": _words(error)}
    except Exception as error:  # noqa: BLE001  The edge of a background thread: nobody else would ever see it.
        return {"refused": harmless(f"Something broke: {error!r}")}


def _words(error: PromptCardError) -> str:
    return harmless(f"{error.message} {error.hint}".strip())
