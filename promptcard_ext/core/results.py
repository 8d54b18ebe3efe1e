"""What came of it: generations, verdicts, item results and the four outcomes."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from typing import Any

from msgspec import Struct

from promptcard_ext.core.shown import html_of


class Outcome(StrEnum):
    """How an item or an assertion ended.

    ``error`` means that we, the provider or a judge broke; ``unscored`` that nobody judged, with a reason. Neither is
    ever turned into pass or fail.
    """

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    ERROR = "error"
    UNSCORED = "unscored"

    def negated(self) -> Outcome:
        """Swap pass and fail; error and unscored stay what they are."""
        return _NEGATED.get(self, self)


_NEGATED = {Outcome.PASS: Outcome.FAIL, Outcome.FAIL: Outcome.PASS}


def all_of(outcomes: Iterable[Outcome]) -> Outcome:
    """Combine assertions that must all hold.

    One definite fail decides, whatever the others would have said (Kleene's strong conjunction). Without a fail, an
    error or a missing verdict leaves the whole undecided; pass needs every one to pass, and at least one.
    """
    found = set(outcomes)
    for outcome in (Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED, Outcome.PASS):
        if outcome in found:
            return outcome
    return Outcome.UNSCORED


class Tokens(Struct, frozen=True, omit_defaults=True):
    """Token counts by kind; None is unknown.

    Attributes:
        input: Of what was sent.
        output: Of the answer.
        cached: Of the input, what was read from the provider's cache.
        reasoning: Of the output, hidden thinking.
        cache_write: Of the input, what was written to the provider's cache.
    """

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    reasoning: int | None = None
    cache_write: int | None = None


class Generation(Struct, frozen=True, omit_defaults=True):
    """One answer of a model, never changed afterwards.

    Attributes:
        provider, model: Who was asked.
        output: The text; None when there is none, as with a call of a tool.
        tokens: How many tokens it took.
        finish_reason: Why the model stopped, in the provider's words.
        model_reported: Who answered, in the provider's words.
        fingerprint: The provider's mark of its configuration.
        price_id: The price by which the cost was reckoned.
        tool_calls: What the model wants to be called, as the OpenAI protocol has it.
        request_hash: SHA-256 of provider, model, messages and settings.
        latency_ms: From sending the request to the last byte, of the attempt that succeeded.
        ttft_ms: To the first token, when streamed.
        cost_usd: None when the price or the token counts are not known.
        attempts: Calls made, the failed ones included.
        logprobs: Natural logarithms of the probabilities of the answer's tokens, when they were asked for.
        raw: The reply as it was received, when it could be read only in part or not at all; it was paid for.
    """

    provider: str
    model: str
    request_hash: str
    output: str | None
    latency_ms: float
    tokens: Tokens = Tokens()
    finish_reason: str | None = None
    ttft_ms: float | None = None
    model_reported: str | None = None
    fingerprint: str | None = None
    cost_usd: Decimal | None = None
    price_id: str | None = None
    attempts: int = 1
    tool_calls: Any = None
    logprobs: tuple[float, ...] | None = None
    raw: str | None = None


class Call(Struct, frozen=True, omit_defaults=True):
    """A call that an item needed beside its answer: a judge, an embedding, a changed prompt.

    Attributes:
        generation: The answer.
        purpose: ``judge``, ``embedding`` or ``variant``.
        cached: Whether it was answered from a store, and so cost nothing this time.
    """

    purpose: str
    generation: Generation
    cached: bool = False


class Verdict(Struct, frozen=True, omit_defaults=True):
    """What one assertion said.

    Attributes:
        type: Kind of the assertion.
        outcome: What it said.
        metric: Name under which its scores are summed up.
        uid: Identity of the assertion.
        reason: Stable code, set whenever the outcome is not pass.
        message: For a person.
        score: 0 to 1, where the assertion has degrees.
        weight: How much it weighs in the item's score; with 0 it is reported and decides nothing.
        parts: What the assertions inside it said, when it is a set or a cascade.
    """

    uid: str
    type: str
    outcome: Outcome
    reason: str | None = None
    message: str = ""
    score: float | None = None
    metric: str | None = None
    weight: float = 1.0
    parts: tuple[Verdict, ...] = ()

    @property
    def points(self) -> float | None:
        """The score; without degrees 1 for a pass and 0 for a fail, and None when it is neither.

        None also for a set or cascade that was decided although a part of it is not: its score is not known.
        """
        if self.score is None and self.parts:
            return None
        if self.outcome is Outcome.PASS:
            return 1.0 if self.score is None else self.score
        if self.outcome is Outcome.FAIL:
            return 0.0 if self.score is None else self.score
        return None


class ItemResult(Struct, frozen=True, omit_defaults=True):
    """The result of one item of a plan: one card version × model × case × repeat.

    Attributes:
        card, label: Name of the card, and of its version.
        model: Reference of the model.
        case, case_uid: Name and identity of the case.
        repeat: Which repeat, from 0.
        outcome: How it was judged.
        message: Why, for a person.
        verdicts: What each assertion said.
        generation: The answer; None when there is none.
        ordinal: Place in the plan; a run has exactly one result for each.
        version: Number of the card version, 0 for one that is only in memory.
        reason: Stable code when the outcome is not pass.
        score: Weighted mean of the verdicts' points, 0 to 1; None while one of them is undecided.
        cached: Whether the answer came from a store, and so cost nothing this time.
        calls: Further calls that the verdicts needed.
    """

    ordinal: int
    card: str
    version: int
    label: str
    model: str
    case: str
    case_uid: str
    repeat: int
    outcome: Outcome
    reason: str | None = None
    message: str = ""
    verdicts: tuple[Verdict, ...] = ()
    generation: Generation | None = None
    score: float | None = None
    cached: bool = False
    calls: tuple[Call, ...] = ()

    @property
    def cost_usd(self) -> Decimal | None:
        """What answer and further calls cost, or would have cost without a store; None when a price is not known."""
        if not self.calls:
            return None if self.generation is None else self.generation.cost_usd
        generations = [call.generation for call in self.calls]
        if self.generation is not None:
            generations.append(self.generation)
        total = Decimal(0)
        for generation in generations:
            if generation.cost_usd is None:
                return None
            total += generation.cost_usd
        return total

    @property
    def spent_usd(self) -> Decimal:
        """What was spent this time on calls with a known price."""
        made = [call.generation for call in self.calls if not call.cached]
        if self.generation is not None and not self.cached:
            made.append(self.generation)
        return sum((generation.cost_usd for generation in made if generation.cost_usd is not None), Decimal(0))

    def _repr_html_(self) -> str | None:
        return html_of(self)


class Counts(Struct, omit_defaults=False):
    """Running totals of a run.

    Attributes:
        total: Items of the plan.
        done: Items that have a result.
        passed, failed, errored, unscored: How many of those ended so.
        cost_usd: What answers and judges cost, or would have cost without a store.
        priced: Items whose cost is known; ``cost_usd`` is the sum over those only.
        spent_usd: What was really spent: answers from a store cost nothing.
        cached: Items whose answer came from a store.
    """

    total: int = 0
    done: int = 0
    passed: int = 0
    failed: int = 0
    errored: int = 0
    unscored: int = 0
    priced: int = 0
    cost_usd: Decimal = Decimal(0)
    spent_usd: Decimal = Decimal(0)
    cached: int = 0

    def add(self, result: ItemResult) -> None:
        """Count one more result."""
        self.done += 1
        field = _COUNT_FIELD[result.outcome]
        setattr(self, field, getattr(self, field) + 1)
        self.cached += result.cached
        if (cost := result.cost_usd) is not None:
            self.priced += 1
            self.cost_usd += cost
            self.spent_usd += cost if not (result.cached or result.calls) else result.spent_usd

    @property
    def judged(self) -> int:
        """Denominator of the pass rate: items with a verdict, pass or fail."""
        return self.passed + self.failed


_COUNT_FIELD = {
    Outcome.PASS: "passed",
    Outcome.FAIL: "failed",
    Outcome.ERROR: "errored",
    Outcome.UNSCORED: "unscored",
}
