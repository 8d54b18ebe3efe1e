"""Looks once a minute whether somebody has left the Hub or one of its groups without coming by here."""

from __future__ import annotations

import logging
import threading
import time

from promptcard_ext.core.errors import PromptCardError, SetupError
from server_ext.auth.hub import HubService, HubUser
from server_ext.auth.hub_actors import HubActors
from server_ext.auth.hub_roster import read_roster
from server_ext.db.engine import Database
from server_ext.services import hub_members

EVERY_S = 60.0
log = logging.getLogger("promptcards.hub")


class HubKeeper:
    """A thread that brings memberships in line with the Hub's groups, whether their users are here or not.

    Without it those who never come again would keep theirs, and the API tokens that they have made.
    """

    def __init__(self, database: Database, actors: HubActors, service: HubService, *, every_s: float = EVERY_S) -> None:
        self._database, self._actors, self._service, self._every_s = database, actors, service, every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="promptcards-hub", daemon=True)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def look(self) -> None:
        """Look once.

        Raises:
            SetupError, Unavailable: As `read_roster`.
        """
        began = time.monotonic()
        roster = read_roster(self._service)
        for name in hub_members.names(self._database):
            self._actors.learn(roster.get(name) or HubUser(name, frozenset(), admin=False, as_of=began))

    def _run(self) -> None:
        # Not at once: at its start the Hub waits for this service, and would not answer.
        while not self._stopping.wait(self._every_s):
            try:
                self.look()
            except SetupError as error:
                log.warning("Who leaves the Hub is noticed only when they come by: %s %s", error, error.hint)
                return
            except PromptCardError as error:
                log.warning("The Hub's groups were not looked at: %s", error)
            except Exception:
                # Nobody watches this thread; it must outlive whatever goes wrong in one round.
                log.exception("The look at the Hub's groups met an unexpected error; it is tried again.")
