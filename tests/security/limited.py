"""Runs each bomb in a process of its own and tells what it used.

The fresh interpreter that is started here imports everything once and forks for every bomb: the operating system then
counts processor time and memory of that bomb alone.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

# Where a bomb that is not ended by us is ended, so that a broken limit fails its own test and nothing else.
LAST_RESORT_S = 8
LAST_RESORT_BYTES = 4_000_000_000


class Used(NamedTuple):
    """What a bomb came to: a code or ``ok``, processor seconds, and megabytes at its peak."""

    outcome: str
    cpu_s: float
    peak_mb: float


def explode(module: str) -> dict[str, Used]:
    """Run every one of ``BOMBS`` in a module of tests, in two processes."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.security.limited", module, str(half)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for half in (0, 1)
    ]
    found: dict[str, Used] = {}
    for process in running:
        output, _ = process.communicate(timeout=280)
        assert process.returncode == 0
        found |= {name: Used(*used) for name, used in json.loads(output).items()}
    return found


def _run(bomb: Callable[[], str]) -> Used:
    """Run ``bomb`` in a child of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (LAST_RESORT_S, LAST_RESORT_S))
        resource.setrlimit(resource.RLIMIT_AS, (LAST_RESORT_BYTES, LAST_RESORT_BYTES))
        try:
            outcome = bomb()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent reports it
            outcome = f"{type(error).__name__}: {error!s:.200}"
        os.write(writer, outcome.encode("utf-8", "replace"))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        outcome = pipe.read().decode()
    _, _, usage = os.wait4(child, 0)
    return Used(outcome or "killed", usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main(module: str, half: int) -> None:
    """Print what each bomb in one half of those of ``module`` used, as JSON."""
    tests = importlib.import_module(module)
    getattr(tests, "warm_up", str)()
    bombs: dict[str, Callable[[], str]] = tests.BOMBS
    print(json.dumps({name: _run(bombs[name]) for name in list(bombs)[half::2]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
