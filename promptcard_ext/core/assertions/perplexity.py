"""Assertions on how sure the model was of its words: perplexity, perplexity-score.

Perplexity is exp(-mean of the tokens' log-probabilities): 1 when every token was certain, without upper limit.
"""

from __future__ import annotations

import math

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import Assertion, Check, Finding, register
from promptcard_ext.core.assertions.limits import graded, share
from promptcard_ext.core.results import Outcome

_NO_LOGPROBS = Finding(
    Outcome.UNSCORED, "no_logprobs", "The provider sent no log-probabilities; they must be asked for."
)


def _mean_logprob(answer: Answer) -> float | None:
    logprobs = answer.generation.logprobs
    if not logprobs:
        return None
    mean = sum(logprobs) / len(logprobs)
    # What is no logarithm of a probability is no evidence either.
    return mean if mean <= 0 else None


@register("perplexity")
def perplexity(assertion: Assertion) -> Check:
    """The perplexity of the answer is at most ``threshold``; without one it is measured only.

    The score is 1 / perplexity, the geometric mean of the tokens' probabilities.
    """
    limit = math.inf if assertion.threshold is None else assertion.threshold
    if not limit >= 1:
        raise assertion.invalid("'threshold' must be 1 or more; no text has a lower perplexity")
    _refuse_empty_negation(assertion)

    def check(answer: Answer) -> Finding:
        mean = _mean_logprob(answer)
        if mean is None:
            return _NO_LOGPROBS
        probability = math.exp(mean)
        if mean >= -math.log(limit) - 1e-12:
            return Finding(Outcome.PASS, score=probability)
        message = f"The perplexity is {math.exp(min(-mean, 700)):.4g}; the limit is {limit:g}."
        return Finding(Outcome.FAIL, "too_perplexed", message, probability)

    return check


@register("perplexity-score")
def perplexity_score(assertion: Assertion) -> Check:
    """1 / (1 + perplexity), a number up to 0.5, is at least ``threshold``; without one it is measured only."""
    threshold = share(assertion, 0.0)
    _refuse_empty_negation(assertion)

    def check(answer: Answer) -> Finding:
        mean = _mean_logprob(answer)
        if mean is None:
            return _NO_LOGPROBS
        return graded(1 / (1 + math.exp(min(-mean, 700))), threshold, "too_perplexed", "The perplexity score")

    return check


def _refuse_empty_negation(assertion: Assertion) -> None:
    if assertion.negated and assertion.threshold is None:
        raise assertion.invalid("without a 'threshold' it holds of every answer; its negation never would")
