"""A run on the server, and what can be asked of it there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from decimal import Decimal
from itertools import islice
from uuid import UUID

import msgspec

from promptcard_ext.client.api import WorkspaceApi
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cases import CasePatch, SavedCase
from promptcard_ext.core.contract.generations import GenerationOut
from promptcard_ext.core.contract.runs import FINAL, RunOut, RunSpec
from promptcard_ext.core.errors import NotFound, PromptCardError, RunError
from promptcard_ext.core.results import Generation, ItemResult
from promptcard_ext.kernel import loop
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.provenance import staying
from promptcard_ext.kernel.run_keeper import Money, Story

REFRESH_S = 2.0
SEARCHED = 200
"""Answers to the same question that are looked through for the one of an item."""

_ENDED = "The run has ended."
_NOT_ENDED = "The run has not ended."


class ServerKeeper:
    """Steers a run on the server. See `RunKeeper`.

    Args:
        run: The run as it was last seen.
        follow: Makes the handle of another run of the same workspace.
    """

    quick = False

    def __init__(self, api: WorkspaceApi, run: RunOut, follow: Callable[[RunOut], RunHandle]) -> None:
        self._api, self._run, self._follow = api, run, follow
        self._looked, self._looking = time.monotonic(), False
        self._provenance = staying()

    def reasons(self, status: str) -> dict[str, str]:
        """Return why what is not possible."""
        run = self._run
        ended = _ENDED if status in FINAL else ""
        stopping = ended or ("It is being cancelled." if status == "cancelling" else "")
        waits = status in ("pausing", "paused")
        batch = "Its calls are given away in batches." if run.plan.execution == "batch" else ""
        return {
            "pause": stopping or ("It is paused." if waits else ""),
            "resume": stopping or ("" if waits else "It is not paused."),
            "retry": "" if ended else _NOT_ENDED,
            "budget": stopping or batch,
            "again": "",
            "requeue": stopping or ("" if (run.error or {}).get("code") == "unknown_outcomes" else "Nothing waits."),
            "promote": "",
        }

    def money(self) -> Money | None:
        """Return how things stood with its budget a moment ago."""
        money = self._run.money
        limits = [one for one in (money.budget_usd, money.ceiling_usd) if one is not None]
        return Money(min(limits, default=None), money.charged_usd, money.held_usd) if limits else None

    def refresh(self, told: Callable[[], None]) -> None:
        """Ask the server for money and error, at most every two seconds, in the background."""
        if self._looking or time.monotonic() - self._looked < REFRESH_S:
            return
        self._looking = True

        def look() -> None:
            before = self._run
            try:
                # What cannot be asked now is asked again later; results say for themselves that the server is away.
                with suppress(PromptCardError):
                    self._run = self._api.runs.get(before.id)
            finally:
                self._looked, self._looking = time.monotonic(), False
            if (self._run.money, self._run.error) != (before.money, before.error):
                told()

        loop.submit(asyncio.to_thread(look))

    def pause(self) -> None:
        """Let it wait."""
        self._run = self._api.runs.pause(self._run.id)

    def resume(self) -> None:
        """Let it go on."""
        self._run = self._api.runs.resume(self._run.id)

    def requeue(self) -> None:
        """Let all that waits be called again."""
        self._run = self._api.runs.requeue(self._run.id)

    def set_budget(self, limit: Decimal | None) -> None:
        """Give it another budget."""
        self._run = self._api.runs.change(self._run.id, budget_usd=limit)

    def retry_errors(self, budget: Decimal | None) -> RunHandle | None:
        """Start a run of the items that failed."""
        return self._follow(self._api.runs.retry_errors(self._run.id, budget_usd=budget, provenance=self._provenance()))

    def ask_again(self, result: ItemResult) -> RunHandle | None:
        """Start a run of one item; what is stored is never changed."""
        plan = self._run.plan
        spec = RunSpec(
            card=plan.card,
            models=[result.model],
            versions=[result.version],
            cases=[result.case],
            concurrency=1,
            timeout_s=plan.timeout_s,
            judges=plan.judges,
            embedder=plan.embedder,
            name=f"{self._run.name}: {result.case} again"[:255],
            provenance=self._provenance(),
        )
        return self._follow(self._api.runs.start(spec))

    def story(self, result: ItemResult) -> Story:
        """Return what was sent, and the ledger of the calls; without an answer what would be sent today."""
        found = None if result.generation is None else self._generation(result, result.generation)
        if found is None:
            return self._rendered(result)
        messages = [(str(one.get("role", "")), _text_of(one.get("content"))) for one in found.request["messages"]]
        return Story(messages, self._attempts(found, result.ordinal))

    def _generation(self, result: ItemResult, answer: Generation) -> GenerationOut | None:
        heads = self._api.generations.list(request_hash=answer.request_hash)
        for head in islice(heads, SEARCHED):
            # Repeats ask the same; the time it took tells their answers apart before each is looked at.
            if head.latency_ms != answer.latency_ms:
                continue
            found = self._api.generations.get(head.id)
            if "messages" in found.request and any(self._is(use.run_id, use.ordinal, result) for use in found.uses):
                return found
        return None

    def _is(self, run_id: UUID, ordinal: int, result: ItemResult) -> bool:
        return run_id == self._run.id and ordinal == result.ordinal

    def _attempts(self, found: GenerationOut, ordinal: int) -> tuple[str, ...]:
        return tuple(
            f"{one.claimed_at:%Y-%m-%d %H:%M:%S} {one.state}, by {one.worker}"
            for use in found.uses
            if use.run_id == self._run.id and use.ordinal == ordinal
            for one in use.attempts
        )

    def _rendered(self, result: ItemResult) -> Story:
        card = self._api.versions.get(result.card, result.version).value.card
        messages = card.render(self.case(result).variables, f"case '{result.case}'")
        shown = [(str(one.role), one.content) for one in messages]
        return Story(shown, note="Rendered now, from the card version and the case as it is: no call is on record.")

    def case(self, result: ItemResult) -> Case:
        """Return the case as it is saved now.

        Raises:
            NotFound: The card has no such case any more.
        """
        return as_case(self._api.cases.get(result.card, result.case_uid).value)

    def promote(self, result: ItemResult) -> str:
        """Make the answer the expected one of its case.

        Raises:
            RunError: There is no answer (``run_options``).
            NotFound: The card has no such case any more.
            Conflict: Somebody is changing it.
        """
        answer = result.generation.output if result.generation is not None else None
        if answer is None:
            raise RunError(f"Item {result.ordinal} has no answer to be expected.", code="run_options")
        saved = self._api.cases.get(result.card, result.case_uid)
        patch = CasePatch(expected_output=answer)
        self._api.cases.update(result.card, saved.value.id, patch, etag=saved.etag)
        return f"This answer is the expected one of case '{saved.value.name}' of card '{result.card}' now."

    def others(self) -> list[tuple[str, str]]:
        """Return the latest runs of the same card."""
        found = islice(self._api.runs.list(card=self._run.plan.card, page=30), 30)
        return [
            (str(run.id), f"{run.name}, {run.created_at:%Y-%m-%d %H:%M}") for run in found if run.id != self._run.id
        ]

    def changed_since(self, other: str) -> Collection[int]:
        """Ask the server which items have another outcome in another run.

        Raises:
            NotFound: There is no such run.
        """
        try:
            run_id = UUID(other)
        except ValueError:
            raise NotFound(f"There is no run '{other:.60}'.") from None
        return {item.ordinal for item in self._api.runs.items(self._run.id, changed_since=run_id)}


def as_case(saved: SavedCase) -> Case:
    """Return a case without what the server knows of it beside."""
    known = {name: getattr(saved, name) for name in Case.__struct_fields__}
    return msgspec.convert(known, Case)


def _text_of(content: object) -> str:
    return content if isinstance(content, str) else msgspec.json.encode(content).decode()
