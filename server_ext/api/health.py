"""Whether the server is well."""

from __future__ import annotations

from msgspec import Struct

from promptcard_ext._version import __version__
from server_ext.api.operation import Call, Operations
from server_ext.auth.permissions import ANY_CREDENTIAL

operations = Operations("health")


class Health(Struct, frozen=True):
    """A server that can do its work.

    Attributes:
        status: ``ok``; what is not ok answers with 503 and the reason.
        user: Name of whoever asks.
        queue: Jobs that wait for a worker.
        worker: The server's own worker: ``running``, ``stopped`` or ``none``.
    """

    status: str
    version: str
    user: str
    queue: int
    worker: str


@operations.get("health", action=ANY_CREDENTIAL, answer=Health, apart=True)
def health(call: Call) -> Health:
    """Ask database and queue whether they can be used."""
    waiting = call.server.doorbell.waiting()
    call.server.watch.ping()
    worker = call.server.worker
    state = "none" if worker is None else "running" if worker.alive else "stopped"
    return Health("ok", __version__, call.actor.name, waiting, state)
