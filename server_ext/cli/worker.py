"""``jupyter promptcards worker``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import Any

from promptcard_ext.core.errors import SetupError
from server_ext.settings import Settings

MOST_PROCESSES = 64
MOST_CALLS = 10_000
MOST_GRACE_S = 600.0


def add(commands: Any) -> None:
    """Add the command."""
    worker = commands.add_parser("worker", help="run a worker; start as many as you like")
    worker.add_argument("--burst", action="store_true", help="end when nothing is left to do")
    worker.add_argument(
        "--lease", type=float, default=None, metavar="S", help="seconds of silence until another takes over"
    )
    worker.add_argument(
        "--grace", type=float, default=None, metavar="S", help="seconds that calls in flight get when it is to end"
    )
    worker.add_argument(
        "--concurrency",
        type=int,
        default=None,
        metavar="N",
        help="most calls in flight of a process, whatever runs ask",
    )
    worker.add_argument(
        "--processes", type=int, default=1, metavar="N", help="so many workers; one that dies is started again"
    )
    worker.add_argument(
        "--status", action="store_true", help="say how this home's workers are; the code is 0 when all are well"
    )
    worker.add_argument("--parent", type=int, default=0, help=argparse.SUPPRESS)
    worker.set_defaults(command=_worker)


def _worker(arguments: argparse.Namespace) -> int:
    from server_ext.jobs import worker
    from server_ext.keys import load_ring
    from server_ext.runtime import installation_id, ready_services

    settings = Settings.from_environment()
    if arguments.status:
        return _status(settings)
    lease_s, grace_s = _checked(arguments)
    # Until RQ has installed its own handlers a SIGTERM still ends us in good order, detaching from the services.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ready_services(settings) as services:
        if arguments.parent:
            worker.die_with_parent(arguments.parent)
        if arguments.processes > 1:
            _keep_running(settings, arguments, lease_s, grace_s)
            return 0
        worker.work_forever(
            services.database_url,
            services.redis_url,
            load_ring(settings.keys_path),
            lease_s=lease_s,
            grace_s=grace_s,
            shared_keys=settings.shared_provider_keys,
            most_calls=arguments.concurrency,
            installation=installation_id(services.database_url),
            calls_total=settings.calls_total,
            calls_per_workspace=settings.calls_per_workspace,
            rates=settings.rates,
            burst=arguments.burst,
        )
    return 0


def _checked(arguments: argparse.Namespace) -> tuple[float, float]:
    """Return how long a lease lasts, and how long calls in flight may when the worker is to end."""
    from server_ext.jobs.context import DEFAULT_GRACE_S, DEFAULT_LEASE_S

    lease_s = _seconds(arguments.lease, "PROMPTCARDS_LEASE_S", DEFAULT_LEASE_S, "lease_invalid")
    grace_s = _seconds(arguments.grace, "PROMPTCARDS_GRACE_S", DEFAULT_GRACE_S, "worker_option_invalid")
    if not 0 <= grace_s <= MOST_GRACE_S:
        raise SetupError(
            f"Calls in flight may get 0 to {MOST_GRACE_S:g} s, not {grace_s:g}.", code="worker_option_invalid"
        )
    if not 1 <= lease_s <= 3600:
        raise SetupError(f"A lease may last 1 to 3600 s, not {lease_s:g}.", code="lease_invalid")
    if not 1 <= arguments.processes <= MOST_PROCESSES:
        raise SetupError(
            f"1 to {MOST_PROCESSES} processes may run, not {arguments.processes}.", code="worker_option_invalid"
        )
    if arguments.processes > 1 and arguments.burst:
        raise SetupError(
            "Of several processes each would be started again when it has ended.",
            hint="Start several workers with --burst instead.",
            code="worker_option_invalid",
        )
    if arguments.concurrency is not None and not 1 <= arguments.concurrency <= MOST_CALLS:
        raise SetupError(
            f"1 to {MOST_CALLS:,} calls may be in flight, not {arguments.concurrency}.", code="worker_option_invalid"
        )
    return lease_s, grace_s


def _keep_running(settings: Settings, arguments: argparse.Namespace, lease_s: float, grace_s: float) -> None:
    from server_ext.worker_pool import keep_running

    given = ["--lease", f"{lease_s:g}", "--grace", f"{grace_s:g}"]
    if arguments.concurrency is not None:
        given += ["--concurrency", str(arguments.concurrency)]
    keep_running(settings, arguments.processes, given, grace_s)


def _status(settings: Settings) -> int:
    """Print how the workers of this home and machine are, for whoever supervises them; asks no database."""
    from server_ext.jobs.presence import healthy, pulses

    found = pulses(settings.home)
    if not found:
        print("No worker runs here.")
    for pulse in found:
        silent = "" if healthy(pulse) else f", silent for {time.time() - pulse.at:.0f} s"
        ready = "" if pulse.ready else ", without a database"
        print(f"{pulse.name}: {pulse.state}{silent}{ready}")
    return 0 if found and all(healthy(pulse) and pulse.ready for pulse in found) else 1


def _seconds(given: float | None, variable: str, default: float, code: str) -> float:
    if given is not None:
        return given
    text = os.environ.get(variable)
    try:
        return float(text) if text else default
    except ValueError:
        raise SetupError(f"{variable} is {text!r:.40}, not a number.", code=code) from None
