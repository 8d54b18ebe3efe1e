"""One event loop in a daemon thread of its own, for everything that goes on while cells run.

The kernel's own loop is not used: it stands still while a cell computes, and it is another one in every front end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Start ``work`` on the background loop and return its future at once."""
    return asyncio.run_coroutine_threadsafe(work, _running_loop())


def call_later(delay_s: float, work: Callable[[], object]) -> None:
    """Call ``work`` on the background loop's thread after a while; it must be short and must not block."""
    loop = _running_loop()
    loop.call_soon_threadsafe(loop.call_later, delay_s, work)


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="promptcards-loop", daemon=True).start()
            _loop = loop
        return _loop
