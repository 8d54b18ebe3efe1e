"""What waits for workers."""

from __future__ import annotations

from promptcard_ext.client.noun import Noun
from promptcard_ext.core.contract.queue import Queue


class QueueView(Noun):
    """The queue of a workspace."""

    def get(self) -> Queue:
        """Return what waits, what is in flight and how fast it goes, and the workers."""
        return self._read(Queue, "GET", "queue")
