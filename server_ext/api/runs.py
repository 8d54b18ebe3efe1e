"""Runs, their items, and reports."""

from __future__ import annotations

from tornado.web import authenticated

from promptcard_ext.core.errors import CardError
from server_ext.api.base import PromptCardsHandler
from server_ext.services import items, reports, runs


class RunsHandler(PromptCardsHandler):
    """``GET, POST workspaces/W/runs``."""

    @authenticated
    async def get(self, workspace: str) -> None:
        """Answer with runs, newest first; ``?before=ID&limit=N``."""
        limit = self.integer("limit", 50, 1, 200)
        found = await self.use(workspace, runs.list_runs, self.get_query_argument("before", ""), limit)
        self.reply({"runs": found, "next": found[-1]["id"] if len(found) == limit else None})

    @authenticated
    async def post(self, workspace: str) -> None:
        """Start a run; with ``Idempotency-Key`` a repeated request gives the same run."""
        key = self.request.headers.get("Idempotency-Key", "").strip() or None
        if key is not None and len(key) > 255:
            raise CardError("'Idempotency-Key' may have 255 characters.", code="request_invalid")
        run = await self.use(workspace, runs.create, self.body(runs.RunSpec), key)
        (await self.runtime()).relay.wake()
        self.reply(run, 201)


class RunHandler(PromptCardsHandler):
    """``GET workspaces/W/runs/R``."""

    @authenticated
    async def get(self, workspace: str, run: str) -> None:
        """Answer with status, plan and counts."""
        self.reply(await self.use(workspace, runs.get, run))


class CancelHandler(PromptCardsHandler):
    """``POST workspaces/W/runs/R/cancel``."""

    @authenticated
    async def post(self, workspace: str, run: str) -> None:
        """Stop a run; what it has stays."""
        self.reply(await self.use(workspace, runs.cancel, run), 202)


class ItemsHandler(PromptCardsHandler):
    """``GET workspaces/W/runs/R/items``."""

    @authenticated
    async def get(self, workspace: str, run: str) -> None:
        """Answer with results in the order of the plan; ``?after=ORDINAL&limit=N``."""
        limit = self.integer("limit", 500, 1, 2000)
        found = await self.use(workspace, items.list_items, run, self.integer("after", -1, -1, 2**31), limit)
        self.reply({"items": found, "next": found[-1].ordinal if len(found) == limit else None})


class ReportsHandler(PromptCardsHandler):
    """``POST workspaces/W/runs/R/reports``."""

    @authenticated
    async def post(self, workspace: str, run: str) -> None:
        """Ask for a report; a worker makes it."""
        report = await self.use(workspace, reports.create, run)
        (await self.runtime()).relay.wake()
        self.reply(report, 202)


class ReportHandler(PromptCardsHandler):
    """``GET workspaces/W/reports/P``."""

    @authenticated
    async def get(self, workspace: str, report: str) -> None:
        """Answer with the state of a report."""
        self.reply(await self.use(workspace, reports.get, report))


class ReportFileHandler(PromptCardsHandler):
    """``GET workspaces/W/reports/P/html`` and ``…/notebook``: the file itself, for download."""

    @authenticated
    async def get(self, workspace: str, report: str, part: str) -> None:
        """Answer with the file. It holds what models wrote, so a browser shows it in a sandbox."""
        data = await self.use(workspace, reports.content, report, part)
        kind, ending = ("text/html; charset=utf-8", "html") if part == "html" else ("application/x-ipynb+json", "ipynb")
        self.set_header("Content-Type", kind)
        self.set_header("Content-Disposition", f'attachment; filename="run-report.{ending}"')
        self.set_header(
            "Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        )
        self.finish(data)
