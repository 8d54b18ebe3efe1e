"""Cutting a stream into lines and events, in time linear in its length however it is cut into parts."""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"


class Lines:
    """Lines of a stream that arrives in parts; LF, CR LF or CR ends a line.

    Args:
        longest: Bytes of the longest line.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes, without their ends.

        Raises:
            OverflowError: The line that has begun is longer than allowed.
        """
        cut = data.rfind(b"\n") + 1
        if not cut:
            self._keep(data)
            return []
        # Joined only when a line is complete: joining at each part would take quadratic time.
        whole = b"".join([*self._parts, data[:cut]]) if self._parts else data[:cut]
        self._parts, self._size = [], 0
        if cut < len(data):
            self._keep(data[cut:])
        # Of bytes, splitlines knows LF, CR LF and CR, and nothing else.
        return whole.splitlines()

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._longest:
            raise OverflowError

    def rest(self) -> bytes:
        """Return the line that has begun and is not complete; it is kept."""
        return b"".join(self._parts)

    def end(self) -> list[bytes]:
        """Return what is left when the stream has ended."""
        rest, self._parts, self._size = self.rest(), [], 0
        return rest.splitlines()


class Events:
    """The data of server-sent events, as the HTML standard reads them (section 9.2.6).

    Event names, ids and reconnection times are passed over: the protocols of models put everything into the data.
    Unlike there, an event that no empty line ends still counts: servers end the connection instead.

    Args:
        longest: Bytes of the longest event.

    Attributes:
        other: Lines that belong to no event; of a server that answers with something else, its answer.
    """

    def __init__(self, longest: int) -> None:
        self._lines = Lines(longest)
        self._longest = longest
        self._data: list[bytes] = []
        self._size = self._other_size = 0
        self._begun = False
        self.other: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events that ``data`` completes; several data lines are joined by a line feed.

        Raises:
            OverflowError: An event is longer than allowed.
        """
        return self._events(self._lines.feed(data))

    def end(self) -> list[bytes]:
        """Return what is left when the stream has ended."""
        return self._events([*self._lines.end(), b""])

    def rest(self) -> bytes:
        """Return what was received and has not been returned as an event."""
        return b"\n".join([*self.other, *self._data, self._lines.rest()]).strip()

    def _events(self, lines: list[bytes]) -> list[bytes]:
        found = []
        for line in lines:
            if not self._begun:
                self._begun, line = True, line.removeprefix(_BOM)
            if not line:
                if self._data:
                    found.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                    self._data, self._size = [], 0
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                self._size += len(line)
            elif not line.startswith((b":", b"event:", b"id:", b"retry:")):
                self.other.append(line)
                self._other_size += len(line)
            if self._size > self._longest or self._other_size > self._longest:
                raise OverflowError
        return found
