"""A workspace of the server, in a notebook."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from msgspec import structs

from promptcard_ext.client.api import WorkspaceApi
from promptcard_ext.client.discovery import Address, find_server
from promptcard_ext.client.session import Session
from promptcard_ext.client.stream import follow
from promptcard_ext.client.workspaces import Workspaces
from promptcard_ext.core.assertions import python
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case, as_cases
from promptcard_ext.core.contract.cards import LATEST, SavedVersion
from promptcard_ext.core.contract.runs import Priority, RunOut, RunSpec
from promptcard_ext.core.errors import PromptCardError, RunError
from promptcard_ext.core.results import ItemResult
from promptcard_ext.core.shown import Listing
from promptcard_ext.interchange.card_file import CardFile
from promptcard_ext.kernel import loop
from promptcard_ext.kernel.case_editor import CaseEditor
from promptcard_ext.kernel.editor import Editor
from promptcard_ext.kernel.handle import FINAL, RunHandle
from promptcard_ext.kernel.origin import History, Origin
from promptcard_ext.kernel.provenance import here
from promptcard_ext.kernel.run_shape import RunShape
from promptcard_ext.kernel.server_keeper import ServerKeeper, as_case

latest: Workspace | None = None
"""What `connect` returned last: the magics work in it."""


def connect(url: str | None = None, token: str = "", workspace: str = "personal") -> Workspace:
    """Connect to the server.

    Without arguments it is the Jupyter server that started this kernel; there is no second login.

    Args:
        url: Base URL of a Jupyter server.
        token: Its token, or one of Prompt Cards itself.
        workspace: Slug or id of one of your workspaces.

    Raises:
        Unavailable: There is no server, or it does not answer.
        NotFound: There is no such workspace.
    """
    global latest
    latest = opened(Address(url.rstrip("/") + "/", token) if url else find_server(), workspace)
    return latest


def opened(address: Address, workspace: str = "personal") -> Workspace:
    """Return a workspace at an address; raises as `connect` does."""
    session = Session(address, exchange=True)
    try:
        return Workspace(WorkspaceApi(session, workspace))
    except BaseException:
        session.close()
        raise


class Workspace:
    """Cards, cases and runs that are kept on the server."""

    def __init__(self, api: WorkspaceApi) -> None:
        self.api = api
        self._head = Workspaces(api.session).get(api.workspace).value

    @property
    def id(self) -> str:
        """Id of the workspace."""
        return str(self._head.id)

    @property
    def name(self) -> str:
        """Name of the workspace."""
        return self._head.name

    def __repr__(self) -> str:
        return f"<Workspace '{self.name}' at {self.api.session.address.url}, role {self._head.role}>"

    def cards(self) -> list[str]:
        """Return the names of all cards."""
        return [head.name for head in self.api.cards.list()]

    def card(self, name: str, version: int | None = None) -> Card:
        """Return a card in one version, by default the latest.

        Raises:
            NotFound: There is none.
        """
        return self.api.versions.get(name, LATEST if version is None else version).value.card

    def versions(self, name: str) -> list[SavedVersion]:
        """Return the versions of a card, oldest first; a notebook shows them as a table.

        Raises:
            NotFound: There is no such card.
        """
        return Listing(self.api.versions.list(name))

    def save(self, card: Card | CardFile, cases: Iterable[Case | Mapping[str, Any]] | None = None) -> Card:
        """Save a card (or all versions of a card file) and, when given, its cases.

        Content that is saved already is not saved again: the version that has it is returned, so that a notebook can
        be run twice.

        Returns:
            The card as saved, with its version number; of a card file the last version.
        """
        versions = card.versions if isinstance(card, CardFile) else (card,)
        if isinstance(card, CardFile) and cases is None:
            cases = card.cases
        origin = here()
        numbers = [self.api.cards.save(version, origin).version for version in versions]
        if cases is not None:
            self.api.cases.replace(versions[-1].name, as_cases(cases))
        return structs.replace(versions[-1], version=numbers[-1])

    def edit(self, card: str | Card) -> Editor:
        """Edit a card in the notebook; see `promptcard_ext.edit`.

        Raises:
            NotFound: There is no card of this name.
        """
        # The editor lies above this layer, and is loaded when it is asked for.
        editor: Editor = import_module("promptcard_ext.widgets.card_editor").edit(card, workspace=self)
        return editor

    def origin(self, card: str, version: int | str = LATEST) -> Origin:
        """Return which notebook and cell made a version of a card, as far as that is known.

        Args:
            version: Its number, or a label.

        Raises:
            NotFound: There is none.
        """
        return Origin.of(self.api.versions.get(card, version).value)

    def history(self, card: str) -> History:
        """Return the versions of a card with where they came from, newest first.

        Raises:
            NotFound: There is no such card.
        """
        return History(reversed([Origin.of(saved) for saved in self.api.versions.list(card)]))

    def cases(self, card: str, *, trust: bool = False) -> list[Case]:
        """Return the cases of a card.

        Args:
            trust: Let `pc.run` run the assertions in Python among them, which may be anybody's of the workspace.
        """
        cases = Listing(as_case(saved) for saved in self.api.cases.list(card))
        for case in cases:
            (python.trust if trust else python.distrust)(case.assertions)
        return cases

    def edit_cases(self, card: str, cases: Iterable[Case | Mapping[str, Any]] | None = None) -> CaseEditor:
        """Return a table in which the cases of a card are edited and saved.

        Args:
            cases: To be added to those that are there; one with the same variables is replaced.

        Raises:
            NotFound: There is no such card.
        """
        # By name: widgets lie above this layer.
        editor: CaseEditor = import_module("promptcard_ext").edit_cases(card, cases, workspace=self)
        return editor

    def run(
        self,
        card: str | Card,
        models: str | Sequence[str],
        *,
        versions: Sequence[int] = (),
        cases: Sequence[str] = (),
        repeats: int = 1,
        concurrency: int = 16,
        timeout_s: float = 120.0,
        judge: str | Sequence[str] = (),
        embedder: str | None = None,
        name: str = "",
        priority: Priority = "medium",
        budget_usd: float | str | Decimal | None = None,
        reuse: bool = False,
    ) -> RunHandle:
        """Start a run on the server and follow it. It goes on when this kernel ends.

        Args:
            card: Name of a card; or the card itself, which then must have been saved.
            models: References such as ``"ollama:llama3.2"``.
            versions: Versions to compare; default the latest (or the card's own).
            cases: Names of cases; default all.
            judge: Model that judges where an assertion needs one; several are a panel.
            embedder: Model that makes vectors where an assertion needs them.
            priority: ``high``, ``medium`` or ``low``: whether workers turn to it before or after others.
            budget_usd: Most that it may spend, judges included; every model needs a price then.
            reuse: Return the newest run that asks the same and judges it alike, unless it failed or was cancelled; the
                handle's ``reused`` says so.

        Raises:
            PromptCardError: The server refuses, for example because a case does not fit.
        """
        # Here, because whoever only reads cards does without the engine.
        from promptcard_ext.kernel.run import as_money

        if isinstance(card, Card):
            versions, card = versions or ([card.version] if card.version else ()), card.name
        spec = RunSpec(
            card=card,
            models=[models] if isinstance(models, str) else list(models),
            versions=list(versions),
            cases=list(cases),
            repeats=repeats,
            concurrency=concurrency,
            timeout_s=timeout_s,
            judges=[judge] if isinstance(judge, str) else list(judge),
            embedder=embedder,
            name=name,
            priority=priority,
            budget_usd=as_money(budget_usd),
            reuse=reuse,
            provenance=here(),
        )
        return self._handle(self.api.runs.start(spec))

    def open_run(self, run_id: str | UUID) -> RunHandle:
        """Follow a run that was started earlier, here or elsewhere."""
        return self._handle(self.api.runs.get(run_id))

    def runs(self, limit: int = 20) -> list[RunOut]:
        """Return the latest runs, newest first."""
        return Listing(islice(self.api.runs.list(page=min(limit, 200)), limit))

    def _handle(self, run: RunOut) -> RunHandle:
        run_id = str(run.id)

        def cancel() -> None:
            loop.submit(asyncio.to_thread(self.api.runs.cancel, run_id))

        handle = RunHandle(run.name, run.counts.total, cancel, id=run_id)
        handle.shape, handle.keeper = RunShape.of_server(run), ServerKeeper(self.api, run, self._handle)
        if run.started_at is not None:
            until = run.finished_at or datetime.now(UTC)
            handle.reckon_from((until - run.started_at).total_seconds(), ended=run.finished_at is not None)
        handle.feed(status=_live(run.status))
        handle.reused, handle.workspace_id = run.reused, self.id
        handle.card_versions = {str(version.id): version.label for version in run.plan.versions}
        loop.submit(_follow(handle, self.api, run_id))
        return handle

    def run_snapshot(self, run_id: str) -> tuple[dict[str, Any], list[ItemResult]]:
        """Return a run, as its JSON has it, and all its results so far."""
        return msgspec.to_builtins(self.api.runs.get(run_id)), list(self.api.runs.items(run_id))

    def report(self, run: str | RunHandle, path: str | Path | None = None, timeout_s: float = 600.0) -> Path:
        """Make the report of a run and save it as one HTML file that needs no network.

        Args:
            path: Where to; default ``report-<first 8 digits of the run's id>.html`` here.
            timeout_s: Longest time to wait for it, in seconds.

        Raises:
            RunError: The report could not be made.
            TimeoutError: It is not ready after ``timeout_s``.
        """
        run_id = run.id if isinstance(run, RunHandle) else run
        if run_id is None:
            raise RunError("A run of this process has no report on the server.", hint="Start it with workspace.run().")
        report = self.api.reports.create(run_id)
        give_up = time.monotonic() + timeout_s
        while report.status in ("queued", "running"):
            if time.monotonic() > give_up:
                raise TimeoutError(f"The report of run {run_id} is not ready after {timeout_s:g} s.")
            time.sleep(0.3)
            report = self.api.reports.get(report.id)
        if report.status == "failed":
            problem = report.error or {}
            raise RunError(f"The report failed: {problem.get('message', 'no reason given')}", code="report_failed")
        target = Path(path or f"report-{run_id[:8]}.html")
        return self.api.reports.html(report.id).save(target)


async def _follow(handle: RunHandle, api: WorkspaceApi, run_id: str) -> None:
    try:
        async for event in follow(api.session, api.workspace, run_id):
            status = event.payload.get("status", event.status) if event.kind == "finished" else _live(event.status)
            # Before the status, not after it: whoever waits for the end looks for the error then.
            error = await _reason(api, run_id) if status == "failed" else None
            handle.feed(event.items, status=status, error=error)
    except PromptCardError as error:
        handle.feed(status="failed", error=error)
    except Exception as error:  # noqa: BLE001  The edge of the background thread: nobody else would ever see it.
        handle.feed(
            status="failed", error=PromptCardError(f"Following the run broke: {error!r}", code="internal_error")
        )


def _live(status: str) -> str:
    # The run may have ended while its last results are still on the way; the last event says so.
    return "running" if status in FINAL else status


async def _reason(api: WorkspaceApi, run_id: str) -> RunError:
    run = await asyncio.to_thread(api.runs.get, run_id)
    error = run.error or {}
    return RunError(error.get("message", "The run failed."), code=error.get("code", "run_error"))
