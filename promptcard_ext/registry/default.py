"""Prompts of the server that this program belongs to."""

from __future__ import annotations

import os
import threading

from promptcard_ext.client.credentials import workspace_of
from promptcard_ext.client.discovery import find_server
from promptcard_ext.client.session import Session
from promptcard_ext.core.contract.cards import LATEST
from promptcard_ext.registry.prompt import RegisteredPrompt
from promptcard_ext.registry.registry import MAX_AGE_S, MAX_STALE_S, Registry

PERSONAL = "personal"


class _Registries:
    """The registries of the server that is found, by workspace; found when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._known: dict[str | None, Registry] = {}

    def of(self, workspace: str | None) -> Registry:
        """Return the registry of a workspace; None is the one that the token opens, or one's own."""
        if (known := self._known.get(workspace)) is not None:
            return known
        with self._lock:
            if self._session is None:
                self._session = Session(find_server(), exchange=True)
            if workspace not in self._known:
                name = workspace or workspace_of(self._session.address.token) or PERSONAL
                self._known[workspace] = Registry(self._session, name)
            return self._known[workspace]

    def forget(self) -> None:
        """Begin anew, with other connections and threads, and look for the server again."""
        self.__init__()  # type: ignore[misc]


_registries = _Registries()
# A child process has none of the threads, and must not share connections.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_registries.forget)


def get(
    name: str,
    *,
    label: str = LATEST,
    version: int | None = None,
    workspace: str | None = None,
    max_age_s: float = MAX_AGE_S,
    max_stale_s: float = MAX_STALE_S,
) -> RegisteredPrompt:
    """Return a saved prompt for use in a program: ``get("triage", label="production").render(text="…")``.

    The server is found as by `connect`. It is asked once, and then when the prompt has changed, which it tells within a
    second, or is older than ``max_age_s``. While it is away, what was last fetched is used, also by the next process.

    Args:
        name: Of the card.
        label: A label such as ``production``; by default the latest version.
        version: Number of a version, instead of a label.
        workspace: Slug or id; by default the one that an API token is for, else ``personal``.
        max_age_s: After how many seconds to ask the server in any case.
        max_stale_s: For how many seconds to use what was fetched while the server cannot be asked.

    Raises:
        NotFound: There is no such card, label or version (any more).
        StalePromptError: The server cannot be asked, and what was fetched is older than ``max_stale_s``.
        Unavailable: The server cannot be asked, and nothing was fetched before.
        PromptCardError: The server refuses.
    """
    found = _registries.of(workspace)
    return found.get(name, label=label, version=version, max_age_s=max_age_s, max_stale_s=max_stale_s)
