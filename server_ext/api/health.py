"""Whether the server is well."""

from __future__ import annotations

from promptcard_ext._version import __version__
from promptcard_ext.core.contract.health import Health, Ready
from server_ext.api.operation import Call, Operations
from server_ext.auth.permissions import ANY_CREDENTIAL, PUBLIC

operations = Operations("health")


@operations.get("ready", action=PUBLIC, answer=Ready, limit="none", apart=True)
def ready(call: Call) -> Ready:
    """Tell whether the database can be used; for load balancers, which have no credentials.

    Without Redis a server does less, but what it does it does well, so it is ready.
    """
    call.server.readiness.check()
    return Ready("ok")


@operations.get("health", action=ANY_CREDENTIAL, answer=Health, apart=True)
def health(call: Call) -> Health:
    """Ask database and queue whether they can be used."""
    waiting = call.server.doorbell.waiting()
    call.server.watch.ping()
    worker = call.server.worker
    state = "none" if worker is None else "running" if worker.alive else "stopped"
    return Health("ok", __version__, call.actor.name, waiting, state)
