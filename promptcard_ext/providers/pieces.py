"""An answer that arrives in pieces."""

from __future__ import annotations

import time
from typing import Any

from promptcard_ext.providers.fields import text_of_content
from promptcard_ext.providers.json_text import to_json, too_deep


class Call:
    """A tool call of which parts have arrived."""

    def __init__(self, part: dict[str, Any]) -> None:
        self.fields = {name: value for name, value in part.items() if name not in ("index", "function")}
        self.function: dict[str, Any] = {}
        self.arguments: list[str] = []

    def add(self, part: dict[str, Any]) -> None:
        """Take another part: what is new, and more of the arguments."""
        self.fields |= {
            name: value
            for name, value in part.items()
            if name not in ("index", "function") and value and not self.fields.get(name)
        }
        function = part.get("function")
        for name, value in function.items() if isinstance(function, dict) else ():
            if name == "arguments" and isinstance(value, str):
                self.arguments.append(value)
            elif value is not None and not self.function.get(name):
                self.function[name] = value

    def whole(self) -> dict[str, Any]:
        """Return the call as it would have come in one piece; the arguments stay the text they are."""
        arguments = {"arguments": "".join(self.arguments)} if self.arguments else {}
        return {**self.fields, "function": {**self.function, **arguments}}


class ToolCalls:
    """Tool calls, put together from the parts that carry their index."""

    def __init__(self) -> None:
        self._calls: dict[Any, Call] = {}
        self._at: dict[int, Any] = {}
        self._as_given: list[Any] = []

    def add(self, parts: Any) -> None:
        """Take what a piece of the stream calls its tool calls; what has not their form is kept as it is."""
        for part in parts if isinstance(parts, list) else [parts]:
            if isinstance(part, dict):
                key = self._key(part)
                if key not in self._calls:
                    self._calls[key] = Call(part)
                self._calls[key].add(part)
            else:
                self._as_given.append(part)

    def _key(self, part: dict[str, Any]) -> Any:
        index, identity = part.get("index"), part.get("id")
        identity = identity if isinstance(identity, str) else ""
        if isinstance(index, int):
            key = self._at.setdefault(index, index)
            if identity and key in self._calls and self._calls[key].fields.get("id") not in (None, "", identity):
                # Some servers give every call the index 0; another id is another call.
                key = self._at[index] = identity
            return key
        if identity:
            return identity
        # Without an index (Gemini, older vLLM) a name begins a call, and what has none continues the last.
        function = part.get("function")
        begins = not self._calls or (isinstance(function, dict) and bool(function.get("name")))
        return f"call {len(self._calls)}" if begins else next(reversed(self._calls))

    def whole(self) -> list[Any] | None:
        """Return the calls in order of appearance, or None when there are none."""
        return [*(call.whole() for call in self._calls.values()), *self._as_given] or None


class Pieces:
    """Text, refusal, thoughts, tool calls and log probabilities of one answer, as they come.

    Args:
        longest: Characters of the longest text.

    Attributes:
        first: When the first piece of the answer came (`time.perf_counter`); thoughts are not the answer.
        complete: Whether every piece could be read.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._size = 0
        self.text: list[str] = []
        self.refusal: list[str] = []
        self.thoughts: list[str] = []
        self.calls = ToolCalls()
        self.logprobs: list[Any] = []
        self.first: float | None = None
        self.complete = True

    def add_content(self, content: Any) -> None:
        """Take a piece of the answer's text; a list of parts is joined."""
        if not isinstance(content, str):
            content, whole = text_of_content(content)
            self.complete = self.complete and whole
        self._add(self.text, content, True)

    def add_refusal(self, piece: Any) -> None:
        """Take a piece of the text with which the model refuses."""
        self._add(self.refusal, piece, True)

    def add_thought(self, piece: Any) -> None:
        """Take a piece of what the model thought before it answered."""
        self._add(self.thoughts, piece, False)

    def add_calls(self, calls: Any) -> None:
        """Take pieces of tool calls.

        Raises:
            RecursionError: They are nested too deeply to be stored.
        """
        if calls:
            if too_deep(calls):
                raise RecursionError
            self.first = self.first or time.perf_counter()
            self.calls.add(calls)

    def add_logprobs(self, entries: Any) -> None:
        """Take the log probabilities of the tokens of this piece."""
        if isinstance(entries, list):
            self.logprobs += entries

    def _add(self, where: list[str], piece: Any, is_answer: bool) -> None:
        if not isinstance(piece, str):
            return
        where.append(piece)
        self._size += len(piece)
        if self._size > self._longest:
            raise OverflowError
        if is_answer and piece and self.first is None:
            self.first = time.perf_counter()

    @property
    def output(self) -> str | None:
        """The text so far, or None when no piece had one."""
        return "".join(self.text) if self.text else None

    def received(self) -> str:
        """Return everything there is: the text as it is, then what else came, as JSON."""
        other = {
            "refusal": "".join(self.refusal),
            "reasoning": "".join(self.thoughts),
            "tool_calls": self.calls.whole(),
        }
        kept = {name: value for name, value in other.items() if value}
        text = "".join(self.text)
        return f"{text}\n{to_json(kept).decode()}".lstrip("\n") if kept else text
