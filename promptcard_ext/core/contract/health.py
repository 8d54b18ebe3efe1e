"""Whether the server is well, over REST."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Health(Struct, frozen=True):
    """A server that can do its work.

    Attributes:
        status: ``ok``; what is not ok answers with 503 and the reason.
        version: Of the server.
        user: Name of whoever asks.
        queue: Jobs that wait for a worker.
        worker: The server's own worker: ``running``, ``stopped`` or ``none``.
    """

    status: str
    version: str
    user: str
    queue: int
    worker: str


class Ready(Struct, frozen=True):
    """A server that load balancers may send requests to.

    Attributes:
        status: ``ok``; what is not ok answers with 503.
    """

    status: Literal["ok"]
