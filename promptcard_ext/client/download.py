"""Answers that are files, read a piece at a time."""

from __future__ import annotations

import http.client
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from promptcard_ext.core.errors import FileError, Unavailable

CHUNK_BYTES = 65_536


class Download:
    """A file on its way here: iterate over its pieces, or `save` it. Either is done once, and closes it.

    Args:
        response: The answer, of which only the head was read.
        close: Closes what it comes over.
    """

    def __init__(self, response: http.client.HTTPResponse, close: Callable[[], None]) -> None:
        self._response = response
        self.close = close

    @property
    def media_type(self) -> str:
        """What the server says that it is."""
        return self._response.headers.get("Content-Type", "")

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces, at most 65,536 bytes each.

        Raises:
            Unavailable: The connection broke before the end (``server_unreachable``).
        """
        try:
            while piece := self._response.read(CHUNK_BYTES):
                yield piece
            # A read of a given size does not complain when the rest of an announced length is missing.
            if self._response.length:
                raise http.client.IncompleteRead(b"", self._response.length)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                f"The download stopped before its end ({type(error).__name__}).",
                hint="Start it again.",
                code="server_unreachable",
            ) from None
        finally:
            self.close()

    def save(self, path: str | Path) -> Path:
        """Write the file; return where it is. It is there as a whole, or not at all.

        Raises:
            Unavailable: As for iterating.
            FileError: It cannot be written (``file_unwritable``).
        """
        path = Path(path)
        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        except OSError as error:
            self.close()
            raise _unwritable(path, error) from None
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(self)
            part.replace(path)
        except OSError as error:
            raise _unwritable(path, error) from None
        finally:
            part.unlink(missing_ok=True)
            self.close()
        return path

    def read(self) -> bytes:
        """Return the whole file.

        Raises:
            Unavailable: As for iterating.
        """
        return b"".join(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _unwritable(path: Path, error: OSError) -> FileError:
    return FileError(f"{path} cannot be written: {error.strerror}.", code="file_unwritable")
