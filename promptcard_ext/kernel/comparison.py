"""Two runs next to each other: `pc.compare`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from promptcard_ext.core.errors import RunError
from promptcard_ext.core.results import ItemResult
from promptcard_ext.kernel import display
from promptcard_ext.kernel.compared_entry import Entry
from promptcard_ext.kernel.compared_side import Comparable, Side, side_of
from promptcard_ext.kernel.comparison_words import flips_text, headline
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.kernel.workspace import Workspace
from promptcard_ext.stats.compared import Axis, CaseSets, Compared, ComparedGroup
from promptcard_ext.stats.comparison import compare_results
from promptcard_ext.stats.flips import FlipTable, flips
from promptcard_ext.stats.response_modes import Mode, response_modes

if TYPE_CHECKING:
    import pandas as pd

# Of one question; more would take long to read.
MAX_REPEATS = 500
# Set by `promptcard_ext.widgets`, which lies above this layer: gives data and metadata of the live view.
live_view: Callable[[Comparison], tuple[dict[str, Any], dict[str, Any]]] | None = None


def compare(a: Comparable, b: Comparable, *, workspace: Workspace | None = None) -> Comparison:
    """Compare two runs, joined by identity: case, card version, model and repeat.

    Where the two have no version in common, and one each, those are compared with each other; likewise models.

    Args:
        a: What to compare with: a handle, ``run.of(version=1)``, a run on disk, or the id of a run.
        b: What is compared.
        workspace: Where ids of the server's runs are looked up; default one's own.

    Raises:
        NotFound: There is no such run.
        CardError: One of the two is no run (``not_a_run``).
        RunError: One of the two has no result (``nothing_to_compare``), or two for one item (``results_twice``).

    Example:
        >>> import promptcard_ext as pc
        >>> cases = [pc.Case({"who": "Ada"}, [pc.Assertion("contains", "Hello")])]
        >>> first = pc.run(pc.Card("greet", "Hello {{ who }}"), cases, "simulated:echo").wait()
        >>> second = pc.run(pc.Card("greet", "Bye {{ who }}"), cases, "simulated:echo").wait()
        >>> print(pc.compare(first, second).text.partition(".")[0])
        1 of 1 pairs flipped: 1 pass → fail
    """
    return Comparison(side_of(a, workspace), side_of(b, workspace))


class Comparison:
    """Two runs, compared.

    Show it in a notebook for its tables, and ``browse()`` through it for each case.

    Attributes:
        a, b: The two sides.
        compared: The numbers.
        entries: Every item of either side: pairs first, then what only ``b`` and what only ``a`` has.
    """

    def __init__(self, a: Side, b: Side) -> None:
        self.a, self.b = a, b
        self.compared: Compared = compare_results(a.results(), b.results(), a.facts, b.facts)
        joined = self.compared.joined
        for side, rows in ((a, joined.only_a), (b, joined.only_b)):
            if not rows and not joined.pairs:
                raise RunError(
                    f"There is no result of '{side.facts.name:.80}' to compare.",
                    hint="Wait for it; or look at the names of versions and models in run.summary().",
                    code="nothing_to_compare",
                )
        self.entries: list[Entry] = [Entry(*pair) for pair in joined.pairs]
        self.entries += [Entry(None, row) for row in joined.only_b]
        self.entries += [Entry(row, None) for row in joined.only_a]

    @property
    def axes(self) -> tuple[Axis, ...]:
        """In what the two differ beside their results: card, models, cases, assertions, judge, parameters."""
        return self.compared.axes

    @property
    def cases(self) -> CaseSets:
        """The cases that both have, that one has, and whose assertions changed."""
        return self.compared.cases

    @property
    def groups(self) -> tuple[ComparedGroup, ...]:
        """The differences, for each card version and model that both have."""
        return self.compared.groups

    @property
    def notes(self) -> list[str]:
        """What to know before the numbers are believed, such as that a run goes on."""
        return [note for note in (self.a.note, self.b.note) if note]

    @property
    def text(self) -> str:
        """Flips and pass rates in two sentences."""
        return harmless(f"{flips_text(self.compared)}. {headline(self.compared)}")

    @cached_property
    def repeats(self) -> int:
        """Greatest number of answers to one question on either side."""
        return max((row.repeat + 1 for entry in self.entries for row in entry if row is not None), default=1)

    def flips(self) -> FlipTable:
        """Return what flipped, down to single assertions; the results are read once more."""
        joined = self.compared.joined

        def renamed(result: ItemResult) -> ItemResult:
            label, model = joined.labels.get(result.label), joined.models.get(result.model)
            return msgspec.structs.replace(result, label=label or result.label, model=model or result.model)

        return flips((renamed(result) for result in self.a.results()), self.b.results())

    def results(self, entry: Entry) -> tuple[ItemResult | None, ItemResult | None]:
        """Return the whole results behind an entry."""
        a = None if entry.a is None else self.a.result(entry.a.ordinal)
        return a, None if entry.b is None else self.b.result(entry.b.ordinal)

    def asked_with(self, entry: Entry) -> list[Entry]:
        """Return all entries of the same question: case, card version and model, in every repeat."""
        return [self.entries[place] for place in self._places[self._question(entry)]]

    def modes(self, entry: Entry) -> list[Mode]:
        """Return which answers the repeats of a case gave on each side, and how often."""
        sides: tuple[list[str], list[str]] = ([], [])
        for one in self.asked_with(entry)[:MAX_REPEATS]:
            for answers, result in zip(sides, self.results(one), strict=True):
                if result is not None and result.generation is not None and result.generation.output is not None:
                    answers.append(result.generation.output)
        return response_modes(*sides)

    @cached_property
    def _places(self) -> dict[tuple[str, str, str], list[int]]:
        found: dict[tuple[str, str, str], list[int]] = {}
        for place, entry in enumerate(self.entries):
            found.setdefault(self._question(entry), []).append(place)
        return found

    def _question(self, entry: Entry) -> tuple[str, str, str]:
        row, joined = entry.some, self.compared.joined
        if entry.b is not None:
            return row.case_uid, row.label, row.model
        return row.case_uid, joined.labels.get(row.label, row.label), joined.models.get(row.model, row.model)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per entry as a data frame (columns: docs/users/comparing.md)."""
        from promptcard_ext.kernel.comparison_frame import comparison_frame

        return comparison_frame(self.entries)

    def browse(self) -> None:
        """Show it case by case, to filter and look into, as long as this kernel lives; elsewhere in its static form."""
        if live_view is None or display.render_mode() != "widget":
            display.show({"text/plain": repr(self), "text/html": self._repr_html_()})
            return
        data, metadata = live_view(self)
        display.show(data | {"text/plain": repr(self), "text/html": self._repr_html_()}, metadata)

    def __repr__(self) -> str:
        names = f"{self.a.facts.name:.80} → {self.b.facts.name:.80}"
        return f"<Comparison {harmless(names)}: {self.text}>"

    def _repr_html_(self) -> str:
        from promptcard_ext.kernel.comparison_html import comparison_html

        return comparison_html(self)
