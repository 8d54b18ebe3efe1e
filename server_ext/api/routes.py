"""All routes, in one table."""

from __future__ import annotations

from typing import Any

from jupyter_server.utils import url_path_join

from server_ext.api import cards, runs, workspaces
from server_ext.api.events_ws import RunEventsHandler

PREFIX = "promptcards/api/v1"
_W = r"workspaces/(?P<workspace>[^/]+)"
_C = rf"{_W}/cards/(?P<card>[^/]+)"
_R = rf"{_W}/runs/(?P<run>[^/]+)"
_P = rf"{_W}/reports/(?P<report>[^/]+)"

ROUTES: tuple[tuple[str, type[Any]], ...] = (
    ("health", workspaces.HealthHandler),
    ("workspaces", workspaces.WorkspacesHandler),
    (_W, workspaces.WorkspaceHandler),
    (rf"{_W}/cards", cards.CardsHandler),
    (_C, cards.CardHandler),
    (rf"{_C}/draft", cards.DraftHandler),
    (rf"{_C}/versions", cards.VersionsHandler),
    (rf"{_C}/cases", cards.CasesHandler),
    (rf"{_W}/runs", runs.RunsHandler),
    (_R, runs.RunHandler),
    (rf"{_R}/items", runs.ItemsHandler),
    (rf"{_R}/cancel", runs.CancelHandler),
    (rf"{_R}/events", RunEventsHandler),
    (rf"{_R}/reports", runs.ReportsHandler),
    (_P, runs.ReportHandler),
    (rf"{_P}/(?P<part>html|notebook)", runs.ReportFileHandler),
    # Last: what none of the others took is answered in JSON, like everything here.
    (r".*", workspaces.NothingHereHandler),
)


def handlers(base_url: str = "/") -> list[tuple[str, type[Any]]]:
    """Return the routes with their full patterns."""
    return [(url_path_join(base_url, PREFIX, pattern), handler) for pattern, handler in ROUTES]
