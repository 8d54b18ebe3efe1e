"""Completion in the lines of our magics: card names, versions and labels, models, options, kinds of assertions."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, completion_matcher
from IPython.core.interactiveshell import InteractiveShell

from promptcard_ext.core.assertions import kinds
from promptcard_ext.core.errors import PromptCardError
from promptcard_ext.core.pricing import shipped_prices
from promptcard_ext.kernel import loop, magic_line
from promptcard_ext.kernel.shelf import Place

# Nobody who types waits longer than this; what comes later is there at the next key.
PATIENCE_S = 0.2
# How old names may be before they are asked for again, while the old ones are shown.
AGE_S = 10.0
MOST = 200

_IDENTIFIER = "promptcards"
_LINE = re.compile(r"\s*(?:[\w.,\[\] ]+=\s*)?(%%?)(run_card|cards|runs|card|case)\s(.*)\Z", re.DOTALL)
_KIND = re.compile(r"\s*(?:- +)?(?:type: +)?([\w-]*)\Z")
_PARSERS = {
    "card": magic_line.card_parser,
    "case": magic_line.case_parser,
    "run_card": magic_line.run_parser,
    "cards": magic_line.cards_parser,
    "runs": magic_line.runs_parser,
}
_CASE_KEYS = ("vars:", "assert:", "name:", "threshold:", "metadata:", "priority:", "expected_output:")
# Without a key and without a network; the echo answers with the prompt.
_SIMULATED = ("simulated:echo", "simulated:steady", "simulated:hasty")


class Names:
    """Names that are asked for in the background and kept for a while.

    Attributes:
        ask: Asks for them; may take long.
    """

    def __init__(self, ask: Callable[[], list[str]]) -> None:
        self.ask = ask
        # Guards the rest; held for bookkeeping only.
        self._lock = threading.Lock()
        self._known: list[str] = []
        self._good_until = 0.0
        self._asking: Future[None] | None = None

    def get(self) -> list[str]:
        """Return the names as they were a moment ago; the first time, those that come within `PATIENCE_S`."""
        with self._lock:
            if time.monotonic() >= self._good_until and self._asking is None:
                self._asking = loop.submit(asyncio.to_thread(self._refresh))
            asking, known = self._asking, self._known
        if asking is None or known:
            return known
        wait([asking], PATIENCE_S)
        with self._lock:
            return self._known

    def forget(self) -> None:
        """Ask again the next time."""
        with self._lock:
            self._good_until = 0.0

    def _refresh(self) -> None:
        try:
            found = self.ask()
        except PromptCardError:
            found = []
        with self._lock:
            self._known, self._asking = found or self._known, None
            self._good_until = time.monotonic() + AGE_S


class Completion:
    """What may stand at the cursor in one of our magics."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._cards = Names(lambda: [one.name for one in place.shelf().cards()])
        self._models = Names(self._known_models)
        self._labels: dict[str, Names] = {}

    def forget(self) -> None:
        """Ask for names again: some have been added."""
        for names in (self._cards, self._models, *self._labels.values()):
            names.forget()

    def attach(self, shell: InteractiveShell) -> None:
        """Let IPython ask us; what we answer is all that it offers, so that nothing slower is asked."""

        def matcher(context: CompletionContext) -> SimpleMatcherResult:
            word, found = self.offers(context.full_text, context.cursor_line, context.cursor_position)
            completions = [SimpleCompletion(text, type="promptcard") for text in found]
            return SimpleMatcherResult(completions=completions, matched_fragment=word, suppress=True, ordered=True)

        made = completion_matcher(identifier=_IDENTIFIER, api_version=2, priority=200)(matcher)
        _completer(shell).custom_matchers.append(made)

    @staticmethod
    def detach(shell: InteractiveShell) -> None:
        """End it."""
        matchers = _completer(shell).custom_matchers
        matchers[:] = [one for one in matchers if getattr(one, "matcher_identifier", "") != _IDENTIFIER]

    def offers(self, text: str, line: int, column: int) -> tuple[str, list[str]]:
        """Return the word before the cursor and what it may become; nothing where none of our magics stands."""
        lines = text.split("\n")
        before = lines[line][:column]
        if line and (first := _LINE.match(f"{lines[0]} ")) and first[1] == "%%":
            return _in_body(before) if first[2] == "case" else ("", [])
        found = _LINE.match(before)
        # A cell magic is one on the first line only.
        if found is None or (line and found[1] == "%%"):
            return "", []
        words = found[3].split(" ")
        word = words[-1]
        offered = self._offered(found[2], words)
        return word, [one for one in offered if one.startswith(word)][:MOST]

    def _offered(self, magic: str, words: Sequence[str]) -> Sequence[str]:
        word, earlier = words[-1], [one for one in words[:-1] if one]
        if word.startswith("-"):
            return [option for option in _PARSERS[magic]().options if option not in earlier]
        if earlier and earlier[-1] in ("--judge", "--embedder"):
            return self._models.get()
        names = [one for one in earlier if not one.startswith("-")]
        if magic in ("card", "case", "run_card") and not names:
            card, at, _ = word.partition("@")
            if at and magic == "run_card":
                return [f"{card}@{label}" for label in self._labels_of(card)]
            return self._cards.get()
        return [one for one in self._models.get() if one not in names] if magic == "run_card" else []

    def _labels_of(self, card: str) -> list[str]:
        if card not in self._labels:
            if len(self._labels) > MOST:
                self._labels.clear()
            self._labels[card] = Names(lambda: ["latest", *self._place.shelf().labels(card)])
        return self._labels[card].get()

    def _known_models(self) -> list[str]:
        """Return models that were run here, then those that need nothing, then those with a price."""
        run = [model for one in self._place.shelf().runs(50) for model in one.models]
        priced = sorted({f"{one.provider}:{one.model}" for one in shipped_prices() if one.model != "*"})
        return list(dict.fromkeys([*run, *_SIMULATED, *priced]))


def _in_body(before: str) -> tuple[str, list[str]]:
    """Return what may stand in the YAML of a case: keys at the margin, kinds of assertions further in."""
    found = _KIND.match(before)
    if found is None:
        return "", []
    word = found[1]
    offered: Iterator[str] | Sequence[str] = _CASE_KEYS
    if before != word:
        if "-" not in before[: len(before) - len(word)] and "type:" not in before:
            return "", []
        offered = kinds()
    return word, [one for one in offered if one.startswith(word)]


def _completer(shell: InteractiveShell) -> Any:
    return shell.Completer
