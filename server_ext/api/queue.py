"""What waits for workers, and who they are."""

from __future__ import annotations

from promptcard_ext.core.contract.queue import Queue
from server_ext.api.operation import Call, Operations
from server_ext.services import queue_state

operations = Operations("queue")


@operations.get("workspaces/{workspace}/queue", action="test:read", answer=Queue)
def get_queue(call: Call) -> Queue:
    """Return what waits, what is in flight and how fast it goes, the workers, and the providers that are called."""
    return queue_state.queue(call.scope, call.server.loads.look())
