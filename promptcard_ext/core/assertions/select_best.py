"""The select-best assertion: a judge compares the answers of a case, two at a time and in both orders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, Assertion, Contender, Contested, Finding, register
from promptcard_ext.core.assertions.jury import (
    NO_JUDGE,
    Ballots,
    Jury,
    ballots,
    criteria_of,
    jurors_of,
    jury_of,
    nobody,
    not_counted,
    query_of,
)
from promptcard_ext.core.assertions.transform import TransformFailed, transformed
from promptcard_ext.core.judges import reading
from promptcard_ext.core.judges.asking import Juror, put, together
from promptcard_ext.core.judges.prompts import PAIR
from promptcard_ext.core.judges.standings import Match, Standing, all_pairs, knockout
from promptcard_ext.core.ports import Asker
from promptcard_ext.core.results import Outcome

MAX_ALL_PAIRS = 5
METHODS: dict[
    str, Callable[[Sequence[int], Callable[[int, int], Awaitable[Match]]], Awaitable[dict[int, Standing]]]
] = {
    "pairs": all_pairs,
    "knockout": knockout,
}
NO_ANSWER = Finding(Outcome.UNSCORED, "no_answer", "There is no answer that could be compared.")
NOTHING_TO_COMPARE = Finding(Outcome.UNSCORED, "nothing_to_compare", "Fewer than two answers: nothing to compare.")
TIED = Finding(Outcome.UNSCORED, "contest_tied", "No answer is better than all others, whichever order they stand in.")


@register("select-best", needs=("judge", "variables"))
def select_best(assertion: Assertion) -> Contested:
    """The answer is the best of its case by the criterion in ``value``; the others fail.

    Two answers are shown in both orders, and only a preference that survives the exchange counts. Up to five are
    compared each with each, more in a knockout (``options.method``: ``pairs``, ``knockout``).
    """
    jury = jury_of(assertion, options=("method",), votes=("majority", "all"))
    criteria = "\n".join(criteria_of(assertion))
    method = assertion.options.get("method")
    if method is not None and not (isinstance(method, str) and method in METHODS):
        raise assertion.invalid(f"'options.method' is {method!r:.60}; it must be one of {', '.join(METHODS)}")
    if jury.own is not None and any("outputs" in source.variables for _, source in jury.own.messages):
        raise assertion.invalid("answers are compared two at a time: the prompt has {{ A }} and {{ B }}, not 'outputs'")

    async def contest(contenders: Sequence[Contender], asker: Asker) -> list[Finding]:
        findings, answers = _admitted(assertion, contenders)
        jurors = jurors_of(assertion, asker)
        if len(answers) < 2 or not jurors:
            refused = NO_JUDGE if len(answers) > 1 else NOTHING_TO_COMPARE
            return [finding or refused for finding in findings]
        duels = _Duels(jury, criteria, answers, jurors, asker)
        compare = METHODS[method or ("pairs" if len(answers) <= MAX_ALL_PAIRS else "knockout")]
        standings = await compare(list(answers), duels.meet)
        return [finding or _finding(standings[i], contenders, standings, duels) for i, finding in enumerate(findings)]

    return Contested(contest)


def _admitted(assertion: Assertion, contenders: Sequence[Contender]) -> tuple[list[Finding | None], dict[int, Answer]]:
    """Return a finding for each that cannot compete, and the answers of the others by place."""
    findings: list[Finding | None] = []
    answers: dict[int, Answer] = {}
    for place, contender in enumerate(contenders):
        found = _seen(assertion, contender.answer)
        if isinstance(found, Finding):
            findings.append(found)
        else:
            findings.append(None)
            answers[place] = found
    return findings, answers


def _seen(assertion: Assertion, answer: Answer | None) -> Answer | Finding:
    if answer is None:
        return NO_ANSWER
    if answer.output is None:
        return NO_TEXT
    try:
        return answer if assertion.transform is None else transformed(assertion.transform, answer)
    except TransformFailed as error:
        return Finding(Outcome.UNSCORED, "transform_failed", str(error))


class _Duels:
    """The comparisons of one contest; ``open`` tells of those that nobody decided."""

    def __init__(
        self, jury: Jury, criteria: str, answers: Mapping[int, Answer], jurors: Sequence[Juror], asker: Asker
    ) -> None:
        self._jury, self._criteria, self._answers, self._jurors, self._asker = jury, criteria, answers, jurors, asker
        queries = {query_of(answer) for answer in answers.values()}
        # Card versions may ask in other words; then there is no one question that the answers respond to.
        self._query = queries.pop() if len(queries) == 1 else ""
        self.open: list[Finding] = []

    async def meet(self, one: int, other: int) -> Match:
        """Compare two in both orders, by all judges."""
        if self._answers[one].output == self._answers[other].output:
            return Match(None)
        cast = await ballots(self._jurors, lambda juror: self._preferred(one, other, juror))
        return self._counted(cast, one, other)

    async def _preferred(self, one: int, other: int, juror: Juror) -> int | None:
        first, second = await together((self._best(one, other, juror), self._best(other, one, juror)))
        return first if first == second else None

    async def _best(self, first: int, second: int, juror: Juror) -> int | None:
        texts = [self._answers[place].output or "" for place in (first, second)]
        material = {"criteria": self._criteria, "A": texts[0], "B": texts[1]}
        if self._query:
            material = {"query": self._query, **material}
        question = self._jury.question(
            PAIR, self._answers[first], material, _choice, criteria=self._criteria, rubric=self._criteria
        )
        return {"A": first, "B": second, "tie": None}[await put(question, juror, self._asker)]

    def _counted(self, cast: Ballots, one: int, other: int) -> Match:
        size, absent = len(self._jurors), len(cast.absent)
        needed = size if self._jury.vote == "all" else size // 2 + 1
        for name in (one, other):
            votes = cast.cast.count(name)
            if votes >= needed:
                return Match(name)
            if absent and votes + absent >= needed:
                self.open.append(self._undecided(cast))
                return Match(None, known=False)
        return Match(None)

    def _undecided(self, cast: Ballots) -> Finding:
        if not cast.cast:
            return nobody(cast.absent)
        return Finding(Outcome.UNSCORED, "panel_undecided", f"Two answers stay uncompared. {not_counted(cast.absent)}")


def _choice(value: Mapping[str, Any]) -> str:
    reading.reason(value)
    return reading.choice(value, "best", ("A", "B", "tie"))


def _finding(
    standing: Standing, contenders: Sequence[Contender], standings: Mapping[int, Standing], duels: _Duels
) -> Finding:
    if standing.best:
        return Finding(Outcome.PASS, None, f"The best of {len(standings)}.", standing.score)
    if standing.best is None:
        broken = next((one for one in duels.open if one.outcome is Outcome.ERROR), None)
        return broken or (duels.open[0] if duels.open else TIED)
    best = next((contenders[i] for i, one in standings.items() if one.best), None)
    by = f"{best.model} with {best.label} is" if best is not None else "others are"
    return Finding(Outcome.FAIL, "not_best", f"Of {len(standings)} answers, {by} better.", standing.score)
