"""Typed calls of the REST interface, for one workspace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import msgspec

from promptcard_ext.client.session import Session
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.results import ItemResult

PAGE = 1000


class WorkspaceApi:
    """The calls of one workspace. All raise what `Session.request` says.

    Args:
        workspace: Slug or id.
    """

    def __init__(self, session: Session, workspace: str) -> None:
        self.session, self.workspace = session, workspace

    def _get(self, *path: str, **query: Any) -> Any:
        return self.session.get("workspaces", self.workspace, *path, **query)

    def _send(self, method: str, *path: str, **more: Any) -> Any:
        return self.session.send(method, "workspaces", self.workspace, *path, **more)

    def cards(self) -> list[dict[str, Any]]:
        """Return the heads of all cards, by name."""
        return list(self._pages("cards", limit=200))

    def _pages(self, *path: str, **query: Any) -> Iterator[Any]:
        while True:
            page = self._get(*path, **query)
            yield from page["items"]
            if page["next"] is None:
                return
            query["cursor"] = page["next"]

    def card(self, name: str) -> dict[str, Any]:
        """Return the head of a card."""
        return self._get("cards", name)  # type: ignore[no-any-return]

    def save_card(self, card: Card) -> dict[str, Any]:
        """Save a card as its next version; returns ``{"version", "created", …}``."""
        return self._send("POST", "cards", body=card)  # type: ignore[no-any-return]

    def versions(self, name: str) -> list[Card]:
        """Return all versions of a card, oldest first."""
        return [msgspec.convert(entry["card"], Card) for entry in self._pages("cards", name, "versions", limit=100)]

    def save_cases(self, name: str, cases: Sequence[Case]) -> int:
        """Make ``cases`` the cases of a card; returns how many there are."""
        return int(self._send("PUT", "cards", name, "cases", body={"cases": list(cases)})["count"])

    def cases(self, name: str) -> list[Case]:
        """Return the cases of a card."""
        fields = ("variables", "assertions", "name", "expected_output", "priority", "threshold", "metadata")
        return [
            msgspec.convert({field: entry[field] for field in fields}, Case)
            for entry in self._pages("cards", name, "cases", limit=PAGE)
        ]

    def start_run(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Start a run. Repeating the request after a broken connection starts it once only."""
        return self._send(  # type: ignore[no-any-return]
            "POST", "runs", body=spec, headers={"Idempotency-Key": uuid4().hex}
        )

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run."""
        return self._get("runs", run_id)  # type: ignore[no-any-return]

    def runs(self, limit: int = 50) -> list[dict[str, Any]]:
        """Return the latest runs, newest first."""
        return self._get("runs", limit=limit)["items"]  # type: ignore[no-any-return]

    def cancel_run(self, run_id: str) -> dict[str, Any]:
        """Stop a run. Asking twice is the same as asking once, so the request is repeated when the server is away."""
        headers = {"Idempotency-Key": f"cancel-{run_id}"}
        return self._send("POST", "runs", run_id, "cancel", headers=headers)  # type: ignore[no-any-return]

    def items(self, run_id: str) -> list[ItemResult]:
        """Return all results of a run so far, in the order of its plan."""
        found: list[ItemResult] = []
        query: dict[str, Any] = {"limit": PAGE}
        while True:
            page = self._get("runs", run_id, "items", **query)
            found += msgspec.convert(page["items"], list[ItemResult])
            if page["next"] is None:
                return found
            query["cursor"] = page["next"]

    def start_report(self, run_id: str) -> dict[str, Any]:
        """Ask for a report of a run."""
        return self._send("POST", "runs", run_id, "reports")  # type: ignore[no-any-return]

    def report(self, report_id: str) -> dict[str, Any]:
        """Return the state of a report."""
        return self._get("reports", report_id)  # type: ignore[no-any-return]

    def report_file(self, report_id: str, part: str = "html") -> bytes:
        """Return the ``html`` or ``notebook`` of a finished report."""
        url = self.session.url("workspaces", self.workspace, "reports", report_id, part)
        return self.session.request("GET", url)
