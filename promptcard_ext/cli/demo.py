"""``jupyter promptcards demo``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command."""
    demo = commands.add_parser(
        "demo",
        help="the whole way once: server, database, queue, worker, models, report",
        description="Start server and worker, load cards, run them through REST and the queue, write reports.",
    )
    demo.add_argument("files", nargs="*", type=Path, metavar="FILE", help="card files (default: the starter cards)")
    demo.add_argument("--model", action="append", metavar="PROVIDER:MODEL", help="default: two that can be reached")
    demo.add_argument(
        "--out", type=Path, default=None, metavar="FOLDER", help="where reports go (default: in the home)"
    )
    demo.add_argument("--concurrency", type=int, default=8, metavar="N", help="most calls in flight (default 8)")
    demo.add_argument("--timeout", type=float, default=120.0, metavar="S", help="seconds for one call (default 120)")
    demo.set_defaults(command=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    from promptcard_ext.demo import demo

    return demo(
        arguments.files, arguments.model, arguments.out, concurrency=arguments.concurrency, timeout_s=arguments.timeout
    )
