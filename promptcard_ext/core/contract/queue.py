"""The queue of a workspace over REST: what waits, what is in flight, and who there is to do it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from promptcard_ext.core.contract.runs import Priority


class QueueLine(Struct, frozen=True):
    """Tasks of one priority: shards of runs, up to 250 items each, reports and deliveries.

    Attributes:
        priority: That of their runs; what is not of a run is ``medium``.
        waiting: Tasks that wait for a worker.
        waiting_items: Items of runs in them.
        oldest_s: How long the oldest of them has waited, in seconds; null when none waits.
        in_flight: Tasks that a worker is at.
        held: Tasks whose run pauses.
        ended: Tasks that ended in the last five minutes.
        ended_items: Items of runs in them.
    """

    priority: Priority
    waiting: int
    waiting_items: int
    oldest_s: float | None
    in_flight: int
    held: int
    ended: int
    ended_items: int


class QueueWorker(Struct, frozen=True):
    """A worker of this installation, as far as it concerns a workspace.

    Attributes:
        id: What tells it from others.
        state: ``running``; ``draining`` when it ends and takes nothing new; ``lost`` after 30 s of silence.
        version: Of promptcards.
        started_at, heartbeat_at: Since when it runs, and its last sign of life.
        tasks: Tasks of this workspace that it is at.
    """

    id: str
    state: Literal["running", "draining", "lost"]
    version: str
    started_at: datetime
    heartbeat_at: datetime
    tasks: int


class ProviderLoad(Struct, frozen=True):
    """A provider key that runs of a workspace call at the moment.

    Attributes:
        provider: Its name.
        in_flight: Calls of this workspace.
        limit: Calls that the key is trusted with at once, by all who call it.
        down: As what it is taken to be down, ``task`` or ``judge``; calls wait meanwhile.
        requests_per_minute, tokens_per_minute: What this workspace began to call in a minute, as it was over the last
            seconds; null when the kind has no limit.
        most_requests_per_minute, most_tokens_per_minute: The limits of the key, for all who call it; null for none.
    """

    provider: str
    in_flight: int
    limit: int
    down: list[Literal["task", "judge"]]
    requests_per_minute: int | None = None
    most_requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    most_tokens_per_minute: int | None = None


class Queue(Struct, frozen=True):
    """The queue of a workspace.

    Attributes:
        waiting, in_flight, held: Tasks, of all priorities.
        oldest_s: How long the oldest that waits has waited, in seconds; null when none waits.
        items_per_minute: Items of shards that ended, over the last five minutes.
        lines: The same by priority, the highest first; a priority without tasks is not there.
        workers: Who there is to do it.
        providers: What is called at the moment; null while Redis, which knows it, is away.
    """

    waiting: int
    in_flight: int
    held: int
    oldest_s: float | None
    items_per_minute: float
    lines: list[QueueLine]
    workers: list[QueueWorker]
    providers: list[ProviderLoad] | None
