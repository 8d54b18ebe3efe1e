"""Who judges an assertion and how they vote; what becomes of it when some of them do not judge."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import Assertion, Finding
from promptcard_ext.core.assertions.judging import outage
from promptcard_ext.core.assertions.limits import refuse_options, share
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.identity import digest
from promptcard_ext.core.judges.asking import Juror, together
from promptcard_ext.core.judges.panel import VOTES, Opinion, decide, mean_score
from promptcard_ext.core.judges.prompts import Prompt
from promptcard_ext.core.judges.question import NotJudged, OwnPrompt, Question, ask_about, own_prompt
from promptcard_ext.core.ports import Asker
from promptcard_ext.core.results import Outcome, Verdict

T = TypeVar("T")
NO_JUDGE = Finding(Outcome.UNSCORED, "no_judge", "There is no judge: name one for the run, or as 'provider'.")


class Jury(NamedTuple):
    """How an assertion is judged, checked once.

    Attributes:
        vote: One of `VOTES`.
        threshold: Least score that passes, 0 to 1.
        own: A prompt in place of ours.
    """

    assertion: Assertion
    vote: str
    threshold: float
    own: OwnPrompt | None

    def question(
        self,
        prompt: Prompt,
        answer: Answer,
        material: Mapping[str, str],
        read: Callable[[Mapping[str, Any]], T],
        **terms: Any,
    ) -> Question[T]:
        """Return a question in our words or in those of the assertion's ``rubric_prompt``.

        Raises:
            NotJudged, TemplateError: As `ask_about` says.
        """
        return ask_about(prompt, material, read, self.own, answer.variables, terms)


def jury_of(
    assertion: Assertion, threshold: float = 0.5, options: Sequence[str] = (), votes: Sequence[str] = VOTES
) -> Jury:
    """Check what all judged kinds have in common.

    Args:
        threshold: The kind's default.
        options: Names that the kind knows beside ``vote``.

    Raises:
        CardError: A threshold, vote or option does not fit (``assertion_invalid``).
        TemplateError: Its ``rubric_prompt`` does not parse.
    """
    reached = share(assertion, threshold)
    refuse_options(assertion, *options, "vote")
    vote = assertion.options.get("vote", "majority")
    if vote not in votes:
        raise assertion.invalid(f"'options.vote' is {vote!r:.60}; it must be one of {', '.join(votes)}")
    return Jury(assertion, vote, reached, own_prompt(assertion.rubric_prompt))


class Absence(NamedTuple):
    """A judge that did not judge, and what that alone would make of the verdict."""

    juror: Juror
    finding: Finding


class Ballots(NamedTuple):
    """What a panel was asked and answered."""

    cast: list[Any]
    absent: list[Absence]


def jurors_of(assertion: Assertion, asker: Asker) -> list[Juror]:
    """Return who is asked: the assertion's judges, else the run's. One named twice is asked twice."""
    seats: Counter[str] = Counter()
    jurors = []
    for model in assertion.judges or asker.judges:
        jurors.append(Juror(model, seats[model]))
        seats[model] += 1
    return jurors


async def ballots(jurors: Sequence[Juror], ask: Callable[[Juror], Awaitable[Any]]) -> Ballots:
    """Ask all of them at the same time; one that breaks does not keep the others from being heard."""

    async def one(juror: Juror) -> Any:
        try:
            return await ask(juror)
        except NotJudged as error:
            return Absence(
                juror, Finding(Outcome.ERROR if error.broken else Outcome.UNSCORED, error.reason, str(error))
            )
        except ProviderError as error:
            return Absence(juror, outage(error))

    found = await together(one(juror) for juror in jurors)
    return Ballots(
        [ballot for ballot in found if not isinstance(ballot, Absence)],
        [ballot for ballot in found if isinstance(ballot, Absence)],
    )


async def heard(jury: Jury, asker: Asker, opinion_of: Callable[[Juror], Awaitable[Opinion]]) -> Finding:
    """Return what the panel finds; never pass or fail because of somebody who did not judge."""
    jurors = jurors_of(jury.assertion, asker)
    if not jurors:
        return NO_JUDGE

    async def signed(juror: Juror) -> tuple[Juror, Opinion]:
        return juror, await opinion_of(juror)

    cast, absent = await ballots(jurors, signed)
    if not cast:
        return nobody(absent)
    opinions = [opinion for _, opinion in cast]
    decision = decide(jury.vote, opinions, len(absent), jury.threshold)
    message = _told(opinions, absent)
    parts = _votes(jury.assertion, cast, absent) if len(jurors) > 1 else ()
    if decision is None:
        return Finding(Outcome.UNSCORED, "panel_undecided", message, parts=parts)
    # Not known while one is missing: a set around it must not take the mean of the others for its score.
    score = None if absent else mean_score(opinions)
    if decision:
        return Finding(Outcome.PASS, None, message, score, parts)
    failed = next((opinion.code for opinion in opinions if not opinion.passed), "score_below_threshold")
    return Finding(Outcome.FAIL, "score_below_threshold" if jury.vote == "mean" else failed, message, score, parts)


def _votes(
    assertion: Assertion, cast: Sequence[tuple[Juror, Opinion]], absent: Sequence[Absence]
) -> tuple[Verdict, ...]:
    """Return what each of a panel said, as parts of its verdict."""
    found = [
        (
            juror,
            Outcome.PASS if said.passed else Outcome.FAIL,
            None if said.passed else said.code,
            said.reason,
            said.score,
        )
        for juror, said in cast
    ]
    found += [(one.juror, one.finding.outcome, one.finding.reason, one.finding.message, None) for one in absent]
    return tuple(
        Verdict(
            digest([assertion.uid, juror.model, juror.repeat]),
            assertion.kind,
            outcome,
            reason,
            f"{juror.model}: {told}",
            score,
        )
        for juror, outcome, reason, told, score in found
    )


def nobody(absent: Sequence[Absence]) -> Finding:
    """Return the finding when no judge judged: what broke comes first, and all of them are named."""
    first = next((one for one in absent if one.finding.outcome is Outcome.ERROR), absent[0]).finding
    return first if len(absent) == 1 else first._replace(message=f"No judge judged. {not_counted(absent)}")


def not_counted(absent: Sequence[Absence]) -> str:
    """Return a sentence that names those that did not judge, and why."""
    names = ", ".join(f"{one.juror.model} ({one.finding.reason})" for one in absent)
    return f"Not counted: {names}." if names else ""


def _told(opinions: Sequence[Opinion], absent: Sequence[Absence]) -> str:
    if len(opinions) + len(absent) == 1:
        return opinions[0].reason
    passed = sum(opinion.passed for opinion in opinions)
    reasons = " / ".join(opinion.reason for opinion in opinions if opinion.reason)
    return f"{passed} of {len(opinions)} judges let it pass. {not_counted(absent)} {reasons}".replace("  ", " ")[:1000]


def criteria_of(assertion: Assertion) -> list[str]:
    """Return the criteria in ``value``: a text, a list of texts, or a mapping as JSON.

    Raises:
        CardError: There is none (``assertion_invalid``).
    """
    value = assertion.value
    found = list(value) if isinstance(value, list | tuple) else [value]
    texts = [json.dumps(one, ensure_ascii=False) if isinstance(one, dict) else one for one in found]
    if not texts or not all(isinstance(one, str) and one.strip() for one in texts):
        raise assertion.invalid("'value' must be a text that is not empty, or a list of such texts")
    return texts


def query_of(answer: Answer) -> str:
    """Return what was asked: the variable ``query``, else the last message of a user; empty when neither is known."""
    query = answer.variables.get("query")
    if isinstance(query, str):
        return query
    return next((one.content for one in reversed(answer.messages) if one.role == "user"), "")


def with_query(answer: Answer, material: dict[str, str]) -> dict[str, str]:
    """Return material with what was asked, where that is known."""
    query = query_of(answer)
    return {"query": query, **material} if query else material
