"""A sign that a process and those it forks have in common."""

from __future__ import annotations

import mmap


class Flag:
    """One bit of shared memory; not set at first."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Set it for all."""
        self._byte[0] = 1

    def clear(self) -> None:
        """Take it back for all."""
        self._byte[0] = 0

    def __bool__(self) -> bool:
        return self._byte[0] != 0
