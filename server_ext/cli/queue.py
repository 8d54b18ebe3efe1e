"""``jupyter promptcards queue``."""

from __future__ import annotations

import argparse
from typing import Any

from server_ext.cli.operator import operator
from server_ext.cli.output import print_json, print_list


def add(commands: Any) -> None:
    """Add the command."""
    queue = commands.add_parser(
        "queue",
        help="what waits for workers, and how they are",
        description="For operators: what waits and what is in flight in all workspaces, and the workers.",
    )
    queue.add_argument("--json", action="store_true", help="print JSON, for programs")
    queue.set_defaults(command=_queue)


def _queue(arguments: argparse.Namespace) -> int:
    from server_ext.services import queue_state

    with operator() as me:
        lines, workers = queue_state.all_queues(me.database)
    if arguments.json:
        print_json({"lines": lines, "workers": workers})
        return 0
    shown = ("workspace_id", "priority", "waiting", "waiting_items", "oldest_s", "in_flight", "held", "ended_items")
    print_list(lines, shown, as_json=False, empty="Nothing waits.")
    of_workers = ("name", "state", "tasks", "concurrency", "version", "started_at", "heartbeat_at")
    print_list(workers, of_workers, as_json=False, empty="There are no workers.")
    return 0
