"""Reading lines of a file by their place, from several threads at once."""

from __future__ import annotations

import os
from collections.abc import Iterator

_GUESS = 4096


def scan_lines(fd: int) -> Iterator[tuple[int, bytes]]:
    """Yield every line of a file with the byte it begins at; the last one may lack its line end."""
    start = 0
    with open(os.dup(fd), "rb") as file:  # noqa: PTH123  of a descriptor
        file.seek(0)
        for line in file:
            yield start, line
            start += len(line)


def read_line(fd: int, start: int) -> bytes:
    """Return the line that begins at a byte, without its line end."""
    size = _GUESS
    while True:
        text = os.pread(fd, size, start)
        end = text.find(b"\n")
        if end >= 0:
            return text[:end]
        if len(text) < size:
            return text
        size *= 8
