"""Programs of their own, to be killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def started(source: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a Python program; it is dead and reaped at the end."""
    command = [sys.executable, "-c", source, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        try:
            yield program
        finally:
            program.kill()


def says(program: subprocess.Popen[str], expected: str) -> None:
    """Wait until the program has printed this line."""
    assert program.stdout is not None
    assert program.stdout.readline().strip() == expected


def killed(program: subprocess.Popen[str]) -> None:
    """Kill it as nothing can prevent (SIGKILL), and wait for its death."""
    program.kill()
    program.wait(30)
