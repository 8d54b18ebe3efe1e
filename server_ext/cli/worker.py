"""``jupyter promptcards worker``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any

from promptcard_ext.core.errors import SetupError
from server_ext.settings import Settings


def add(commands: Any) -> None:
    """Add the command."""
    worker = commands.add_parser("worker", help="run a worker; start as many as you like")
    worker.add_argument("--burst", action="store_true", help="end when nothing is left to do")
    worker.add_argument(
        "--lease", type=float, default=None, metavar="S", help="seconds of silence until another takes over"
    )
    worker.add_argument("--parent", type=int, default=0, help=argparse.SUPPRESS)
    worker.set_defaults(command=_worker)


def _worker(arguments: argparse.Namespace) -> int:
    from server_ext.jobs import worker
    from server_ext.jobs.context import DEFAULT_LEASE_S
    from server_ext.keys import load_ring
    from server_ext.runtime import ready_services

    lease_s = arguments.lease if arguments.lease is not None else _lease_of_environment(DEFAULT_LEASE_S)
    if not 1 <= lease_s <= 3600:
        raise SetupError(f"A lease may last 1 to 3600 s, not {lease_s:g}.", code="lease_invalid")
    # Until RQ has installed its own handlers a SIGTERM still ends us in good order, detaching from the services.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = Settings.from_environment()
    with ready_services(settings) as services:
        if arguments.parent:
            worker.die_with_parent(arguments.parent)
        keys = load_ring(settings.keys_path)
        worker.work_forever(
            services.database_url,
            services.redis_url,
            keys,
            lease_s=lease_s,
            shared_keys=settings.shared_provider_keys,
            burst=arguments.burst,
        )
    return 0


def _lease_of_environment(default: float) -> float:
    text = os.environ.get("PROMPTCARDS_LEASE_S")
    try:
        return float(text) if text else default
    except ValueError:
        raise SetupError(f"PROMPTCARDS_LEASE_S is {text!r:.40}, not a number.", code="lease_invalid") from None
