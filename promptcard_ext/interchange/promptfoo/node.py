"""A value of a configuration together with the place that it stands at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from promptcard_ext.interchange.notices import Notice, Notices, Severity
from promptcard_ext.interchange.yaml_document import Place, YamlDocument


class Node:
    """A value and its place; whatever is made of it can be reported with file and line.

    Args:
        document: None for a file without lines, such as a spreadsheet.
        label: Words for the place where the path says too little: ``row 7``.
    """

    __slots__ = ("document", "file", "label", "notices", "place", "value")

    def __init__(
        self,
        value: Any,
        file: str,
        notices: Notices,
        document: YamlDocument | None = None,
        place: Place = (),
        label: str = "",
    ) -> None:
        self.value, self.file, self.notices = value, file, notices
        self.document, self.place, self.label = document, place, label

    def child(self, key: str | int, value: Any = None) -> Node:
        """Return what stands at ``key``; None as its value when there is nothing."""
        if value is None:
            try:
                value = self.value[key]
            except (LookupError, TypeError):
                value = None
        return Node(value, self.file, self.notices, self.document, (*self.place, key), self.label)

    def with_value(self, value: Any) -> Node:
        """Return another value at the same place."""
        return Node(value, self.file, self.notices, self.document, self.place, self.label)

    def has(self, key: str) -> bool:
        """Tell whether it is a mapping that has ``key`` with a value other than null."""
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def __iter__(self) -> Iterator[Node]:
        """Yield the elements of a list; anything else is one element, and null is none."""
        if isinstance(self.value, list):
            yield from (
                self.child(index, one) if one is not None else self.child(index) for index, one in enumerate(self.value)
            )
        elif self.value is not None:
            yield self

    @property
    def path(self) -> str:
        """The place as text: ``tests[3].assert[1]``."""
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.place).lstrip(".")
        return " ".join(filter(None, (self.label, text))) or "the file"

    @property
    def line(self) -> int:
        """Line from 1; 0 when the file has no lines."""
        return self.document.line(self.place) if self.document else 0

    def lost(self, code: str, message: str, hint: str = "") -> None:
        """Report that this does not run here."""
        self._report(Severity.LOST, code, message, hint)

    def changed(self, code: str, message: str, hint: str = "") -> None:
        """Report that this runs, but not quite as it did."""
        self._report(Severity.CHANGED, code, message, hint)

    def info(self, code: str, message: str, hint: str = "") -> None:
        """Report something good to know."""
        self._report(Severity.INFO, code, message, hint)

    def _report(self, severity: Severity, code: str, message: str, hint: str, offset: int = 0) -> None:
        self.notices.add(Notice(severity, code, self.file, self.line, self.path, message, hint))

    def lost_in_text(self, code: str, message: str, text_line: int, hint: str = "") -> None:
        """Report that this text does not run here, for what stands on its line ``text_line`` (from 1)."""
        line = self.document.text_line(self.place) + max(text_line, 1) - 1 if self.document else text_line
        self.notices.add(Notice(Severity.LOST, code, self.file, line, self.path, message, hint))
