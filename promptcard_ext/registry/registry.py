"""The prompts of one workspace: in memory, on disk, and at the server, in this order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from promptcard_ext.client.credentials import owner_of
from promptcard_ext.client.retries import TOTAL_S
from promptcard_ext.client.session import Session, decoded, parameters
from promptcard_ext.core.contract.cards import LATEST, FetchQuery, RegisteredCard
from promptcard_ext.core.errors import (
    CardError,
    Denied,
    FileError,
    NotFound,
    PromptCardError,
    StalePromptError,
    Unauthenticated,
)
from promptcard_ext.local.prompt_files import KeptPrompt, PromptFiles
from promptcard_ext.registry.follower import Follower
from promptcard_ext.registry.prompt import RegisteredPrompt, Wanted

MAX_AGE_S = 60.0
MAX_STALE_S = 86_400.0
KEPT = 1_000
"""Prompts in memory."""
MOST_TOLD = 10_000
# With something to fall back on nobody waits longer for a server, nor asks it more often when it is away.
IMPATIENT_S = 2.0
AGAIN_AFTER_S = 10.0
# Several servers hear of a change within a second: what one of them answers just after it may still be the old state.
SETTLE_S = 2.0
_LOCKS = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Held:
    """A prompt in memory.

    Attributes:
        asked_at: When the server was asked for it, on the clock of this process; minus infinity for one from disk.
    """

    kept: KeptPrompt
    asked_at: float


class Registry:
    """Fetches prompts of a workspace for programs; for all threads.

    Args:
        workspace: Slug or id.
        files: Where prompts are kept for the next process, and for when the server is away.
        clock: Seconds that only go forward.
        wall: Seconds since 1970.
    """

    def __init__(
        self,
        session: Session,
        workspace: str,
        files: PromptFiles | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._session, self._workspace = session, workspace
        self._files = files or PromptFiles()
        self._clock, self._wall = clock, wall
        self._owner = owner_of(session.address.token)
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._held: dict[Wanted, _Held] = {}
        self._told: dict[str, float] = {}
        self._told_all = float("-inf")
        self._away: tuple[float, PromptCardError] | None = None
        self._follower = Follower(session, workspace, self._changed)

    def get(
        self,
        name: str,
        *,
        label: str = LATEST,
        version: int | None = None,
        max_age_s: float = MAX_AGE_S,
        max_stale_s: float = MAX_STALE_S,
    ) -> RegisteredPrompt:
        """Return a version of a card; `promptcard_ext.get` says how."""
        wanted = Wanted(name, label, version)
        held = self._held.get(wanted)
        if held is None or not self._is_good(wanted, held, max_age_s):
            with self._locks[hash(wanted) % _LOCKS]:
                held = self._held.get(wanted)
                if held is None or not self._is_good(wanted, held, max_age_s):
                    return self._renewed(wanted, held, max_stale_s)
        return _prompt(held.kept)

    def close(self) -> None:
        """Stop following changes."""
        self._follower.close()

    def _is_good(self, wanted: Wanted, held: _Held, max_age_s: float) -> bool:
        """Tell whether the server need not be asked again."""
        told = max(self._told.get(wanted.key, float("-inf")), self._told_all)
        settled = held.asked_at - told > SETTLE_S
        good_for_s = max_age_s if settled else min(max_age_s, SETTLE_S)
        return told < held.asked_at and self._clock() - held.asked_at <= good_for_s

    def _renewed(self, wanted: Wanted, held: _Held | None, max_stale_s: float) -> RegisteredPrompt:
        known = held.kept if held is not None else self._files.load(self._place(wanted))
        if known is not None and self._away is not None and self._clock() < self._away[0]:
            return self._stale(wanted, known, max_stale_s, self._away[1])
        self._listen_for(wanted)
        asked_at = self._clock()
        try:
            prompt = self._fetch(wanted, impatient=known is not None)
        except (NotFound, Denied):
            self._held.pop(wanted, None)
            self._files.drop(self._place(wanted))
            raise
        except (Unauthenticated, CardError):
            raise
        except PromptCardError as problem:
            self._away = (self._clock() + AGAIN_AFTER_S, problem)
            if known is None:
                raise
            _log.warning("Prompt %s could not be asked for (%s)", wanted, problem.code)
            return self._stale(wanted, known, max_stale_s, problem)
        self._away = None
        return _prompt(self._keep(wanted, prompt, asked_at))

    def _listen_for(self, wanted: Wanted) -> None:
        """Have changes noted; before the request, so that one that is told while it is on its way is not lost."""
        if len(self._told) > MOST_TOLD:
            self._changed(None)
            self._told.clear()
        self._told.setdefault(wanted.key, float("-inf"))
        self._follower.start()

    def _fetch(self, wanted: Wanted, *, impatient: bool) -> RegisteredCard:
        query = parameters(FetchQuery(wanted.label, wanted.version))
        url = self._session.url("workspaces", self._workspace, "cards", wanted.name, "fetch", **query)
        reply = self._session.ask("GET", url, total_s=IMPATIENT_S if impatient else TOTAL_S)
        return decoded(reply.body, RegisteredCard)

    def _keep(self, wanted: Wanted, prompt: RegisteredCard, asked_at: float) -> KeptPrompt:
        kept = KeptPrompt(self._place(wanted), prompt, self._wall())
        self._held[wanted] = _Held(kept, asked_at)
        if len(self._held) > KEPT:
            self._held.pop(next(iter(self._held)), None)
        try:
            self._files.save(kept)
        except FileError as problem:
            _log.warning("Prompt %s is not kept for later: %s", wanted, problem)
        return kept

    def _stale(
        self, wanted: Wanted, known: KeptPrompt, max_stale_s: float, problem: PromptCardError
    ) -> RegisteredPrompt:
        age_s = self._wall() - known.fetched_at
        if age_s > max_stale_s:
            raise StalePromptError(
                f"What is known of prompt '{wanted}' is {age_s:,.0f} s old, and the server cannot be asked: {problem}",
                hint="Start the server, or allow older prompts with max_stale_s.",
            ) from problem
        self._held.setdefault(wanted, _Held(known, float("-inf")))
        return _prompt(known, stale=True)

    def _changed(self, key: str | None) -> None:
        if key is None:
            self._told_all = self._clock()
        elif key in self._told:  # others were never asked for
            self._told[key] = self._clock()

    def _place(self, wanted: Wanted) -> tuple[str, ...]:
        return (self._session.address.url, self._workspace, self._owner, *map(str, wanted))


def _prompt(kept: KeptPrompt, *, stale: bool = False) -> RegisteredPrompt:
    fetched_at = datetime.fromtimestamp(kept.fetched_at, UTC)
    found = kept.prompt
    return RegisteredPrompt(found.card, found.version, found.label, found.content_hash, fetched_at, stale)
