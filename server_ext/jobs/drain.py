"""Shutting a worker down in good order: the forked job hears of it from its parent, and hands its task back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

SIGNAL = signal.SIGUSR1

requested = False
_worker: int | None = None
_listener: Callable[[], None] | None = None


def install() -> None:
    """Listen to the signal, in this process and in the children it forks. Without this the signal would kill them."""
    global _worker
    _worker = os.getpid()
    signal.signal(SIGNAL, lambda *_: request())


def orphaned() -> bool:
    """Tell whether this is a job whose worker is gone: nobody would tell it to end, so it begins nothing."""
    return _worker is not None and _worker not in (os.getpid(), os.getppid())


def request(child: int = 0) -> None:
    """Ask this process, and the job that it has forked, to come to an end."""
    global requested
    # A job that is forked from now on finds this set; one that runs already gets the signal.
    requested = True
    if _listener is not None:
        _listener()
    if child:
        with suppress(ProcessLookupError):
            os.kill(child, SIGNAL)


def on_request(listener: Callable[[], None]) -> None:
    """Call ``listener`` when a shutdown is asked for; at once when it was already."""
    global _listener
    _listener = listener
    if requested:
        listener()
