"""Ids that the program makes itself, so that what is written twice is found to be the same."""

from __future__ import annotations

import os
import time
from uuid import UUID


def new_id() -> UUID:
    """Return a UUID of version 7 (RFC 9562), as PostgreSQL's ``uuidv7()`` does: those made later sort behind.

    Example:
        >>> new_id().version
        7
    """
    moment = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10), "big")
    # 48 bits of milliseconds, 4 of version, 12 of chance, 2 of variant, 62 of chance.
    return UUID(int=moment << 80 | 7 << 76 | (chance >> 68) << 64 | 2 << 62 | chance & (1 << 62) - 1)
