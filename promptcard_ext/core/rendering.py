"""What one rendering of a template may use, and what it has written so far.

Every value that a template makes has an expanded size (a list that holds the same text a thousand times counts it a
thousand times) below a limit, and every operation is charged by the size of what it reads, before it runs. So the work
of any template is bounded by what can be counted, and ends the same way on every machine. The clock is looked at
between slices of that work, for what counting does not foresee.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

MAX_OUTPUT_CHARS = 1_000_000
MAX_ITERATIONS = 100_000
MAX_RENDER_S = 0.6
# Of a text that a filter works on, and expanded, of any other value that a template makes, prints, sorts or compares.
MAX_TEXT_CHARS = 4_000_000
MAX_VALUE = MAX_OUTPUT_CHARS + 1
# A unit is about ten nanoseconds: a character read, a tenth of an operation.
MAX_WORK = 60_000_000
NODE_WORK = 10
_SLICE = 1_000_000
_PLAIN_INTEGER = 1 << 63
_SMALL = frozenset({int, float, bool, type(None)})


class TooCostly(Exception):
    """The template takes more steps, time or memory than it may; says what."""


class TooLong(Exception):
    """The text grew beyond `MAX_OUTPUT_CHARS`."""


class Missing(NamedTuple):
    """Stands for a value that is not there: a variable, a key, the next item of the last one.

    Attributes:
        name: Of the variable or key, when it has one.
        why: Else, a clause that says what is not there.
    """

    name: str = ""
    why: str = ""


class MissingValue(Exception):
    """A value that is not there was used."""

    def __init__(self, missing: Missing) -> None:
        super().__init__(missing.why)
        self.missing = missing


class Rendering:
    """One rendering.

    Args:
        given: All variables; what an included text sees.
    """

    __slots__ = ("_deadline", "_look_at", "given", "iterations", "parts", "room", "work")

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.parts: list[str] = []
        self.room = MAX_OUTPUT_CHARS
        self.iterations = MAX_ITERATIONS
        self.work = MAX_WORK
        self._look_at = MAX_WORK - _SLICE
        self._deadline: float | None = None

    def write(self, text: str) -> None:
        """Add ``text`` to what is written.

        Raises:
            TooLong: It does not fit any more.
        """
        self.room -= len(text)
        if self.room < 0:
            raise TooLong
        self.parts.append(text)

    def charge(self, work: int) -> None:
        """Take ``work`` from what is left.

        Raises:
            TooCostly: Nothing is left, of steps or of time.
        """
        self.work -= work
        if self.work < self._look_at:
            self._look()

    def _look(self) -> None:
        # Processor time, not the clock on the wall: a busy machine is no fault of the template.
        now = time.thread_time()
        if self._deadline is None:
            self._deadline = now + MAX_RENDER_S
        if self.work < 0 or now > self._deadline:
            raise TooCostly("it takes too many steps")
        self._look_at = self.work - _SLICE

    def enter_loop(self, count: int, work: int) -> None:
        """Charge for a loop of ``count`` iterations whose body takes ``work``, before it runs.

        Raises:
            TooCostly: There are too many, or no work is left.
        """
        self.iterations -= count
        if self.iterations < 0:
            raise TooCostly(f"its loops take more than {MAX_ITERATIONS:,} steps")
        self.charge(count * work)

    def read(self, value: Any) -> int:
        """Charge for reading all of ``value`` and return its expanded size.

        Raises:
            TooCostly: It is larger than `MAX_TEXT_CHARS` or `MAX_VALUE`.
        """
        most = MAX_TEXT_CHARS if type(value) is str else MAX_VALUE
        found = size(value, most)
        if found > most:
            raise TooCostly(f"it works with a value of more than {most:,} characters and places")
        self.charge(found)
        return found

    def text(self, value: Any) -> str:
        """Return ``value`` as a text.

        Raises:
            TooCostly: It is too large.
        """
        if type(value) is str:
            if len(value) > MAX_TEXT_CHARS:
                raise TooCostly(f"it works with a text of more than {MAX_TEXT_CHARS:,} characters")
            self.charge(_weight(value))
            return value
        if type(value) not in _SMALL:
            self.read(value)
        return self.made(str(value))

    def made(self, text: str) -> str:
        """Return a text that an operation made.

        Raises:
            TooCostly: It is longer than any prompt.
        """
        if len(text) > MAX_OUTPUT_CHARS:
            raise TooCostly(f"it makes a text of more than {MAX_OUTPUT_CHARS:,} characters")
        self.charge(_weight(text))
        return text


def _weight(text: str) -> int:
    """Return what reading ``text`` and keeping a copy takes: where not all is ASCII, four bytes a character."""
    return len(text) if text.isascii() else 2 * len(text)


def size(value: Any, most: int) -> int:
    """Return the expanded size of ``value``, or some number above ``most`` as soon as it is known to be larger.

    A text counts its characters and one more, a list or mapping its places and what is in them, anything else 1.
    """
    if type(value) is str:
        return len(value) + 1
    total, stack = 0, [value]
    while stack and total <= most:
        one = stack.pop()
        kind = type(one)
        if kind is str:
            total += len(one) + 1
        elif kind in _SMALL:
            total += 1 if kind is not int or -_PLAIN_INTEGER < one < _PLAIN_INTEGER else 1 + one.bit_length() // 4
        elif isinstance(one, list | tuple):
            # The places count at once: what is shared a million times is then never put on the stack that often.
            total += 1 + len(one)
            if total <= most:
                stack.extend(one)
        elif isinstance(one, Mapping):
            total += 1 + 2 * len(one)
            if total <= most:
                stack.extend(one.keys())
                stack.extend(one.values())
        else:
            total += len(one) + 1 if isinstance(one, str | bytes) else 1
    return total
