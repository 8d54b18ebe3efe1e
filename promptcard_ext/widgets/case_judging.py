"""What edited assertions say of answers that are stored already: nothing is called, and nothing is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from promptcard_ext.client.api import WorkspaceApi
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.regrades import CaseAssertions, Regraded, RegradeSpec
from promptcard_ext.core.contract.runs import RunOut
from promptcard_ext.core.errors import CardError, NotFound
from promptcard_ext.core.results import ItemResult, Outcome, Verdict
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.regrade import regrade
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.kernel.seen_answer import seen_answer
from promptcard_ext.kernel.verdict_outline import verdict_name
from promptcard_ext.stats.flips import moves_text
from promptcard_ext.stats.ledger import flattened

MAX_RUNS = 10
MAX_ITEMS = 200
MAX_ANSWERS = 20
MAX_ANSWER_CHARS = 2_000
MAX_TEXT_CHARS = 400


class Answers(Protocol):
    """Stored answers that can be judged again."""

    def judged(self, cases: Sequence[Case], *, latest: bool = False) -> Judged:
        """Return what these cases' assertions say, beside what was said.

        Args:
            latest: Give the answers of the newest run with their verdicts, too.
        """


@dataclass
class Judged:
    """Old verdicts and new ones, over the answers of some runs.

    Attributes:
        runs: How many runs had such answers.
        older: How many runs were not looked at.
        answers: How many answers were judged.
        without_answer: Items that have no answer to judge.
        unjudged: Verdicts that would need a call to a judge.
        moves: Number of answers by outcome before and now.
        items: Run, case, card version, model, repeat, before, now and reason of those whose outcome flips.
        latest: Answers of the newest run with their verdicts.
    """

    runs: int = 0
    older: int = 0
    answers: int = 0
    without_answer: int = 0
    unjudged: int = 0
    moves: Counter[tuple[Outcome, Outcome]] = field(default_factory=Counter)
    items: list[list[Any]] = field(default_factory=list)
    latest: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Return the flips in one line."""
        if not self.answers:
            return "There is no stored answer to judge."
        told = moves_text(self.moves)
        many = f"{self.answers:,} stored answer{'' if self.answers == 1 else 's'}"
        flipped = sum(count for (before, now), count in self.moves.items() if before is not now)
        return f"{flipped:,} of {many} flip{'s' if flipped == 1 else ''}: {told}" if told else f"None of {many} flips."

    def state(self) -> dict[str, Any]:
        """Return it for the browser."""
        return {
            "text": self.text,
            "runs": self.runs,
            "older": self.older,
            "answers": self.answers,
            "without_answer": self.without_answer,
            "unjudged": self.unjudged,
            "moves": [[str(before), str(now), count] for (before, now), count in sorted(self.moves.items())],
            "items": self.items[:MAX_ITEMS],
            "more_items": max(0, len(self.items) - MAX_ITEMS),
            "latest": self.latest,
        }


class ServerAnswers:
    """The answers of a card's latest runs on the server.

    Args:
        card: Name of the card.
    """

    def __init__(self, api: WorkspaceApi, card: str) -> None:
        self._api, self._card = api, card

    def judged(self, cases: Sequence[Case], *, latest: bool = False) -> Judged:
        """Judge the answers of the ten newest runs."""
        told = Judged()
        runs = list(islice(self._api.runs.list(card=self._card, page=MAX_RUNS + 1), MAX_RUNS + 1))
        told.older = len(runs) - MAX_RUNS if len(runs) > MAX_RUNS else 0
        for run in runs[:MAX_RUNS]:
            found = self._regraded(run, cases)
            if found is None or not found.judged + found.without_answer:
                continue
            _add(told, run.name, found)
            if latest and not told.latest and found.results:
                told.latest = self._latest(run, cases, found)
        return told

    def _regraded(self, run: RunOut, cases: Sequence[Case]) -> Regraded | None:
        by_case = [CaseAssertions(case.uid, list(case.assertions), case.threshold) for case in cases]
        spec = RegradeSpec(by_case=by_case, cases=[case.uid for case in cases], skip_unknown=True)
        try:
            return self._api.runs.regrade(run.id, spec)
        except NotFound:
            return None  # deleted meanwhile
        except CardError as error:
            if error.code == "nothing_to_regrade":
                return None
            raise

    def _latest(self, run: RunOut, cases: Sequence[Case], found: Regraded) -> list[dict[str, Any]]:
        uids = {case.uid for case in cases}
        old: dict[int, ItemResult] = {}
        for case in cases:
            old |= {item.ordinal: item for item in islice(self._api.runs.items(run.id, case=case.name), 1000)}
        known = {ordinal: item for ordinal, item in old.items() if item.case_uid in uids}
        return [
            _answer(run.name, known.get(one.ordinal), one.outcome, one.message, one.verdicts)
            for one in found.results[:MAX_ANSWERS]
        ]


class LocalAnswers:
    """The answers of a finished run of this process."""

    def __init__(self, run: RunHandle) -> None:
        self._run = run

    def judged(self, cases: Sequence[Case], *, latest: bool = False) -> Judged:
        """Judge the answers of the run, without asking judges."""
        told = Judged()
        wanted = {case.uid for case in cases}
        try:
            done = regrade(self._run, cases, mode="replay")
        except CardError as error:
            if error.code == "regrade_what":
                return told  # the run has none of these cases
            raise
        mine = [result for result in done.run.results() if result.case_uid in wanted]
        old = {result.ordinal: result for result in self._run.results()}
        told.runs = 1
        for result in mine:
            if result.generation is None:
                told.without_answer += 1
                continue
            told.answers += 1
            told.unjudged += sum(_not_recorded(verdict) for verdict in result.verdicts)
            told.moves[old[result.ordinal].outcome, result.outcome] += 1
        told.items = [_item(self._run.name, flip) for flip in done.flips.items if flip.case_uid in wanted]
        if latest:
            told.latest = [
                _answer(self._run.name, result, result.outcome, result.message, result.verdicts)
                for result in mine[:MAX_ANSWERS]
            ]
        return told


def _not_recorded(verdict: Verdict) -> int:
    own = verdict.outcome is Outcome.UNSCORED and verdict.reason == "not_recorded" and not verdict.parts
    return own + sum(map(_not_recorded, verdict.parts))


def _add(told: Judged, run: str, found: Regraded) -> None:
    told.runs += 1
    told.answers += found.judged
    told.without_answer += found.without_answer
    told.unjudged += found.unjudged
    for move in found.flips.moves:
        told.moves[move.before, move.after] += move.count
    told.items.extend(_item(run, flip) for flip in found.flips.items)


def _item(run: str, flip: Any) -> list[Any]:
    why = flip.reason_after or flip.reason_before or ""
    texts = [_text(text) for text in (run, flip.case, flip.label, flip.model)]
    return [*texts, flip.repeat, str(flip.before), str(flip.after), _text(why)]


def _answer(
    run: str, item: ItemResult | None, outcome: Outcome, message: str, verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    seen = seen_answer(item.generation if item else None)
    return {
        "run": _text(run),
        "label": _text(item.label) if item else "",
        "model": _text(item.model) if item else "",
        "repeat": item.repeat if item else 0,
        "before": str(item.outcome) if item else "",
        "outcome": str(outcome),
        "message": _text(message),
        "output": None if seen.text is None else harmless(seen.text[:MAX_ANSWER_CHARS]),
        "cut": seen.text is not None and len(seen.text) > MAX_ANSWER_CHARS,
        "verdicts": [
            [path, str(verdict.outcome), _text(verdict_name(verdict)), "" if verdict.parts else _text(verdict.message)]
            for path, verdict in islice(flattened(verdicts), 100)
        ],
    }


def _text(text: str) -> str:
    return harmless(text[:MAX_TEXT_CHARS] + ("…" if len(text) > MAX_TEXT_CHARS else ""))
