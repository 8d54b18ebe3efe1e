"""``jupyter promptcards queue``."""

from __future__ import annotations

import argparse
from typing import Any

from msgspec import Struct

from server_ext.cli.operator import Operator, operator
from server_ext.cli.output import print_json, print_list

LIMITS = ("requests", "tokens")


class Provider(Struct, frozen=True):
    """A provider key, as `server_ext.limits.loads.Load` in numbers; or a limit of all keys together.

    Attributes:
        name: Endpoint with a hash of the credential.
        limit: Calls that it is trusted with at once; None for what is limited by the minute only.
        requests_per_minute, tokens_per_minute: What began in a minute, as it was over the last seconds; None when the
            kind has no limit, which is ``most_…``.
    """

    provider: str
    name: str
    in_flight: int
    limit: int | None
    calls_per_minute: int
    refusals_per_minute: int
    down: list[str]
    requests_per_minute: int | None
    most_requests_per_minute: int | None
    tokens_per_minute: int | None
    most_tokens_per_minute: int | None


class Row(Struct, frozen=True):
    """The same as a line of a table: what is used of the limits by the minute, in words."""

    provider: str
    name: str
    in_flight: int
    limit: int | None
    calls_per_minute: int
    refusals_per_minute: int
    down: list[str]
    requests: str
    tokens: str


def add(commands: Any) -> None:
    """Add the command."""
    queue = commands.add_parser(
        "queue",
        help="what waits for workers, and how they are",
        description="For operators: what waits and is in flight in all workspaces, the workers, and the providers.",
        epilog="examples:\n  jupyter promptcards queue\n  jupyter promptcards queue --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    queue.add_argument("--json", action="store_true", help="print JSON, for programs")
    queue.set_defaults(command=_queue)


def _queue(arguments: argparse.Namespace) -> int:
    from server_ext.services import queue_state

    with operator() as me:
        lines, workers = queue_state.all_queues(me.database)
        providers = _providers(me)
    if arguments.json:
        print_json({"lines": lines, "workers": workers, "providers": providers})
        return 0
    shown = ("workspace_id", "priority", "waiting", "waiting_items", "oldest_s", "in_flight", "held", "ended_items")
    print_list(lines, shown, as_json=False, empty="Nothing waits.")
    of_workers = ("name", "state", "tasks", "concurrency", "version", "started_at", "heartbeat_at")
    print_list(workers, of_workers, as_json=False, empty="There are no workers.")
    if providers is None:
        print("Redis is away: what is called at the moment is not known.")
    else:
        rows = [_row(provider) for provider in providers]
        of_rows = [
            name for name in Row.__struct_fields__ if name not in LIMITS or any(getattr(row, name) for row in rows)
        ]
        print_list(rows, of_rows, as_json=False, empty="No provider is called.")
    return 0


def _providers(me: Operator) -> list[Provider] | None:
    from contextlib import closing

    from server_ext.limits.loads import Loads
    from server_ext.redis_line import RedisLine
    from server_ext.runtime import installation_id

    with closing(Loads(RedisLine(me.services.redis_url), installation_id(me.services.database_url))) as loads:
        found = loads.look()
    if found is None:
        return None
    return [
        Provider(
            load.provider or "all", load.name, sum(load.in_flight.values()), load.limit or None, load.calls_per_minute,
            load.refusals_per_minute, sorted({role for roles in load.down.values() for role in roles.split(",")}),
            *load.rates(load.used.values()),
        )
        for load in found
    ]  # fmt: skip


def _row(provider: Provider) -> Row:
    return Row(
        provider.provider, provider.name, provider.in_flight, provider.limit, provider.calls_per_minute,
        provider.refusals_per_minute, provider.down,
        _used(provider.requests_per_minute, provider.most_requests_per_minute),
        _used(provider.tokens_per_minute, provider.most_tokens_per_minute),
    )  # fmt: skip


def _used(used: int | None, limit: int | None) -> str:
    return "" if limit is None else f"{used:,} of {limit:,} a minute"
