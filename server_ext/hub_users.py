"""The Hub's users, as a server that is one of its services knows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server_ext.auth.actor import Actor
from server_ext.auth.hub import HubService, HubUser
from server_ext.auth.hub_actors import HubActors
from server_ext.jobs.hub_keeper import HubKeeper
from server_ext.runtime import Runtime
from server_ext.services import hub_members
from server_ext.services.changes import Change
from server_ext.services.scope import as_uuid


class HubUsers:
    """Actors by what the Hub says of a user; `close` ends it.

    Args:
        role_map: What groups mean, see `hub_members.roles_of`.
        keep_every_s: Seconds between two looks at everybody's groups.

    Raises:
        SetupError: The map makes no sense.
    """

    def __init__(self, runtime: Runtime, service: HubService, role_map: Mapping[str, str], keep_every_s: float) -> None:
        hub_members.roles_of([], role_map)  # now, and not with the first user
        self._database, self._role_map = runtime.database, role_map
        self._actors = HubActors(self._sync)
        runtime.news.subscribe(self._heard)
        self._keeper = HubKeeper(runtime.watch, self._actors, service, every_s=keep_every_s)
        self._keeper.start()

    def actor_of(self, jupyter_user: Any) -> Actor:
        """Return the actor for ``handler.current_user``; see `HubActors.actor_of`."""
        return self._actors.actor_of(jupyter_user)

    def at_hand(self, jupyter_user: Any) -> Actor | None:
        """Return what `actor_of` would, or None when that takes asking the database."""
        return self._actors.at_hand(jupyter_user)

    def close(self) -> None:
        """Stop looking after memberships."""
        self._keeper.close()

    def _sync(self, user: HubUser) -> Actor:
        return hub_members.sync(self._database, user.name, user.groups, self._role_map, admin=user.admin)

    def _heard(self, change: Change | None) -> None:
        """Look at a user anew whose account may have been locked, or at all when news may have been missed."""
        if change is None or change.family == "session":
            self._actors.forget(as_uuid(change.key) if change else None)
