"""One step of a batch at a time: uploaded, made, looked at, fetched, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

from promptcard_ext.core.engine.caller import UNCLEAR, Caller
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.providers.openai_batch import Batch, OpenAIBatches
from server_ext.jobs.context import Context
from server_ext.services import batches, tasks
from server_ext.services.batches import Handed

MARK = "promptcards_batch"
"""Name of the metadata that says which of our batches a provider's is."""
RECONCILE_S = 60.0
"""How long a batch whose making was not answered may take to be listed, before another is made."""
FIRST_LOOK_S, LONGEST_LOOK_S = 15.0, 300.0
MOST_FAILURES = 30
CALL_TIMEOUT_S = 120.0


class Steps:
    """What a worker does with the batches of one task.

    Args:
        content: Gives the requests of a batch by their ids.

    Attributes:
        wait_s: After how long it is time to look again.
    """

    def __init__(
        self, context: Context, lease: tasks.Lease, caller: Caller, content: Callable[[Handed], Mapping[str, Request]]
    ) -> None:
        self._context, self._lease, self._caller, self._content = context, lease, caller, content
        self.wait_s = LONGEST_LOOK_S

    async def advance(self, handed: Handed) -> Batch | ProviderError | None:
        """Go one step further with a batch; return how it ended, or None while it goes on."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                found = await self._next(handed)
        except TimeoutError:
            message = f"{handed.model} did not answer within {CALL_TIMEOUT_S:g} s."
            return await self._failed(handed, ProviderError(message, code="timeout", retryable=True))
        except ProviderError as error:
            return await self._failed(handed, error)
        if found is None or not found.ended:
            # Young ones are looked at often: small batches take minutes.
            age_s = 0.0 if handed.tried_s is None else handed.tried_s
            self._soon(min(LONGEST_LOOK_S, max(FIRST_LOOK_S, age_s / 20)))
            return None
        if found.status == "failed" and not (found.output_file or found.error_file):
            return ProviderError(
                f"The provider refuses the batch of '{handed.model:.200}': {found.problem or 'it does not say why'}",
                code="batch_failed",
            )
        return found

    async def results(self, handed: Handed, ended: Batch) -> dict[str, Reply | ProviderError] | None:
        """Return what came of each call; None when the provider does not give it now."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S * 5):
                return await self._batches(handed).results(ended)
        except (ProviderError, TimeoutError):
            await self._change(handed, failures=handed.failures + 1)
            self._soon(FIRST_LOOK_S)
            return None

    async def cancel(self, handed: Handed) -> bool:
        """Have the provider stop a batch; return whether there is nothing left to stop."""
        self.wait_s = RECONCILE_S
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                interface = self._batches(handed)
                found = await self._find(interface, handed)
                if found is not None and not found.ended:
                    await interface.cancel(found.id)
                # One that is not listed may be being made at this moment.
                return found is not None or handed.tried_s is None or handed.tried_s > RECONCILE_S
        except (ProviderError, TimeoutError):
            return False

    async def close(self, handed: Handed, error: ProviderError | None, *, unanswered: Collection[int]) -> None:
        """Take note that everything of a batch is recorded, or asked again."""
        why = None if error is None else error.to_dict()
        database, workspace_id = self._context.database, self._lease.workspace_id
        await asyncio.to_thread(batches.close, database, workspace_id, handed, why, unanswered)

    async def _next(self, handed: Handed) -> Batch | None:
        interface = self._batches(handed)
        if handed.remote_id is not None:
            found = await interface.get(handed.remote_id)
            await self._change(handed, status=found.status, failures=0)
            return found
        if handed.tried_s is not None:
            # It was tried, and we do not know what came of it: the provider does.
            if (known := await self._find(interface, handed)) is not None:
                return await self._submitted(handed, known)
            if handed.tried_s < RECONCILE_S:
                return None
        file_id = handed.file_id
        if file_id is None:
            file_id = await interface.upload(interface.lines(self._content(handed)))
            await self._change(handed, file_id=file_id)
        if not await self._change(handed, at="tried_at"):
            return None
        metadata = {MARK: str(handed.id), "promptcards_run": str(handed.run_id)}
        return await self._submitted(handed, await interface.create(file_id, metadata))

    async def _find(self, interface: OpenAIBatches, handed: Handed) -> Batch | None:
        if handed.remote_id is not None:
            return await interface.get(handed.remote_id)
        # The clocks of two machines differ.
        return await interface.find({MARK: str(handed.id)}, handed.created_at - 600)

    async def _submitted(self, handed: Handed, batch: Batch) -> Batch:
        values = {"remote_id": batch.id, "status": batch.status, "failures": 0}
        await self._change(handed, at="submitted_at", state="submitted", **values)
        return batch

    async def _failed(self, handed: Handed, error: ProviderError) -> ProviderError | None:
        """Return the error if it is the end of the batch; else take note of it, and try again later."""
        for_now = error.retryable or error.code in UNCLEAR
        if not for_now or handed.failures >= MOST_FAILURES:
            return error
        await self._change(handed, failures=handed.failures + 1, error=error.to_dict())
        pause_s = min(LONGEST_LOOK_S, FIRST_LOOK_S * 2 ** min(handed.failures, 10))
        self._soon(max(error.retry_after_s or 0.0, pause_s))
        return None

    async def _change(self, handed: Handed, at: str | None = None, **values: Any) -> bool:
        database, workspace_id = self._context.database, self._lease.workspace_id
        return await asyncio.to_thread(batches.change, database, workspace_id, handed.id, at, **values)

    def _batches(self, handed: Handed) -> OpenAIBatches:
        provider: Any = self._caller.provider(handed.model)[0]
        found: OpenAIBatches = provider.batches()
        return found

    def _soon(self, wait_s: float) -> None:
        self.wait_s = min(self.wait_s, wait_s)
