"""Totals of many calls as quantiles, by simulation.

A total over thousands of calls has two kinds of uncertainty. Chance from call to call nearly cancels out: the sum of
independent calls is normal to a good approximation (central limit theorem), with the variances added up; up to 30 calls
are drawn one by one, because a few skewed values are not normal. What does not cancel out is what all calls share: a
tokenizer that cuts finer than assumed, a model that is wordier than the one before. That is drawn once per draw, as a
factor for all calls it concerns, and it dominates. The quantiles are those of 1,000 draws with a fixed seed, so the
same plan gets the same estimate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from promptcard_ext.stats.estimate.load import Load, LoadKey
from promptcard_ext.stats.estimate.spread import Spread

DRAWS = 1000
_SINGLY = 30
# The ranges of token counts held nine tenths of the true ones: their ends are 1.645 standard deviations out.
_RANGE_SIGMAS = 1.645
# How unsure the shares of repeated calls and of repairs are: a factor of 2 either way is one standard deviation.
_SHARE_DOUBT = math.log(2)


@dataclass
class Totals:
    """The values of all draws."""

    calls: list[float] = field(default_factory=list)
    tokens_input: list[float] = field(default_factory=list)
    tokens_output: list[float] = field(default_factory=list)
    usd: list[float] = field(default_factory=list)
    minutes: list[float] = field(default_factory=list)


class Forecast:
    """Draws totals.

    Args:
        loads: All calls of the plan.
        lengths: How many output tokens the calls of each load have.
        latencies_s: How long they take; None is derived from their lengths.
        concurrency: Most calls in flight.
        repeated: Share of calls that are made again after a failure; counted as paid for.
        repaired: Share of judgements that are asked for again because they cannot be read.
    """

    def __init__(
        self,
        loads: Mapping[LoadKey, Load],
        lengths: Mapping[LoadKey, Spread],
        latencies_s: Mapping[LoadKey, Spread | None],
        concurrency: int,
        repeated: float,
        repaired: float,
    ) -> None:
        self._loads, self._lengths, self._latencies = loads, lengths, latencies_s
        self._concurrency, self._repeated, self._repaired = concurrency, repeated, repaired
        self._chance = Random(0)  # noqa: S311  reproducible, and nothing here is secret

    def run(self) -> Totals:
        """Return the totals of all draws."""
        totals = Totals()
        for _ in range(DRAWS):
            self._draw(totals)
        return totals

    def _draw(self, totals: Totals) -> None:
        chance = self._chance
        tokenizers: dict[str, float] = {}
        wordy: dict[LoadKey, float] = {}
        again = min(0.5, self._repeated * math.exp(_SHARE_DOUBT * chance.gauss(0, 1)))
        repaired = min(0.5, self._repaired * math.exp(_SHARE_DOUBT * chance.gauss(0, 1)))
        speed = chance.gauss(0, 1)
        calls = given = made = usd = busy_s = longest_s = 0.0
        for key, load in self._loads.items():
            factor = 1 + again
            if key.purpose == "judge":
                factor *= 1 + repaired
            z = tokenizers.setdefault(key.model, chance.gauss(0, 1))
            mean, out = self._output(key, load, wordy)
            inside = self._answer_length(key, wordy) if load.answers else 0.0
            read = load.given.mid * _stretch(load, z)
            calls += load.usual * factor
            given += (read + load.answers * inside) * factor
            made += out * factor
            rate = load.out_usd / load.usual if load.usual else 0.0
            usd += factor * (
                load.given_usd * _stretch(load, z) + load.answer_usd * inside + out * rate + load.fixed_usd
            )
            mean_s = self._latency_s(key, mean, speed)
            busy_s += load.usual * factor * mean_s
            longest_s = max(longest_s, 2 * mean_s if load.usual else 0.0)
        totals.calls.append(calls)
        totals.tokens_input.append(given)
        totals.tokens_output.append(made)
        totals.usd.append(usd)
        at_once = max(1.0, min(float(self._concurrency), calls))
        # The last calls do not fill all places.
        totals.minutes.append((busy_s / at_once + (longest_s if calls > at_once else 0.0)) / 60)

    def _output(self, key: LoadKey, load: Load, wordy: dict[LoadKey, float]) -> tuple[float, float]:
        """Return the mean length of an answer in this draw, and the sum over all calls."""
        spread, factor = self._lengths[key], self._factor(key, wordy)
        moments = spread.moments(factor, load.limit)
        number = load.usual
        if 0 < number <= _SINGLY:
            drawn = [spread.draw(self._chance) * factor for _ in range(max(1, round(number)))]
            total = sum(value if load.limit is None else min(value, load.limit) for value in drawn)
            return moments.mean, total * number / len(drawn)
        total = number * moments.mean + math.sqrt(number) * moments.sd * self._chance.gauss(0, 1)
        return moments.mean, max(0.0, total)

    def _factor(self, key: LoadKey, wordy: dict[LoadKey, float]) -> float:
        # A changed prompt is answered by the same model under the same card version: as wordily.
        shared = key._replace(purpose="answer") if key.purpose == "variant" else key
        if shared not in wordy:
            wordy[shared] = math.exp(self._lengths[key].doubt * self._chance.gauss(0, 1))
        return wordy[shared]

    def _answer_length(self, key: LoadKey, wordy: dict[LoadKey, float]) -> float:
        answer = LoadKey("answer", key.about, key.label, key.about)
        return self._lengths[answer].moments(self._factor(answer, wordy), self._loads[answer].limit).mean

    def _latency_s(self, key: LoadKey, output: float, speed: float) -> float:
        seen = self._latencies[key]
        if seen is not None:
            return seen.moments(math.exp(seen.doubt * speed), None).mean
        return (FIRST_TOKEN_S + output * TOKEN_S) * math.exp(SPEED_DOUBT * speed)


# Without history: a hosted model of middling size. Small ones are three times as fast, reasoning ones slower.
FIRST_TOKEN_S, TOKEN_S, SPEED_DOUBT = 0.7, 0.015, 0.6


def _stretch(load: Load, z: float) -> float:
    """Return how many times the middle of the range the true count is, ``z`` standard deviations out."""
    low, mid, high = load.given
    if not mid or not low:
        return 1.0
    step = math.log(high / mid) if z > 0 else math.log(mid / low)
    return math.exp(step * z / _RANGE_SIGMAS)
