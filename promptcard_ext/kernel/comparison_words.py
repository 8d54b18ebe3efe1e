"""How the numbers of a comparison are told: the same words in text, HTML and the live view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from promptcard_ext.stats.compared import Compared, MetricDifference, MetricName, Word
from promptcard_ext.stats.flips import moves_text
from promptcard_ext.stats.paired import Difference

NAMES: dict[MetricName, str] = {
    "pass_rate": "pass rate",
    "score": "score",
    "latency_ms": "latency",
    "cost_usd": "cost",
}
_WORDS: dict[tuple[MetricName, Word], str] = {
    ("latency_ms", "better"): "faster",
    ("latency_ms", "worse"): "slower",
    ("cost_usd", "better"): "cheaper",
    ("cost_usd", "worse"): "dearer",
}


def name_text(metric: MetricDifference) -> str:
    """Return what a metric is called; the name of a named one may be anything."""
    return metric.name or NAMES[metric.metric]


def word_text(metric: MetricDifference) -> str:
    """Return the verdict, for example ``better``, ``slower`` or ``no difference shown``."""
    word = metric.word
    return "no difference shown" if word == "undecided" else _WORDS.get((metric.metric, word), word)


def value_text(name: MetricName, value: float) -> str:
    """Return a mean, for example ``83.3%``, ``0.83``, ``420 ms`` or ``$0.0012``."""
    if name == "pass_rate":
        return f"{100 * value:.1f}%"
    if name == "score":
        return f"{value:.3f}"
    return f"{value:,.{_latency_digits(value)}f} ms" if name == "latency_ms" else f"${value:.6f}"


def _latency_digits(value: float) -> int:
    return 0 if abs(value) >= 10 else 1


def signed_text(name: MetricName, value: float) -> str:
    """Return a difference with its sign, for example ``+4.2`` (percentage points) or ``−120``."""
    digits = {"pass_rate": 1, "score": 3, "latency_ms": _latency_digits(value), "cost_usd": 6}[name]
    number = f"{abs(value) * (100 if name == 'pass_rate' else 1):,.{digits}f}"
    money = "$" if name == "cost_usd" else ""
    if not float(number.replace(",", "")):
        return f"±{money}{number}"
    return f"{'+' if value > 0 else '−'}{money}{number}"


def difference_text(name: MetricName, difference: Difference) -> str:
    """Return for example ``+4.2 points [−1.0, +9.4]``; the brackets are the 95 % interval."""
    unit = {"pass_rate": " points", "score": "", "latency_ms": " ms", "cost_usd": ""}[name]
    if difference.low is None or difference.high is None:
        ends = "[one case only]"
    else:
        ends = f"[{signed_text(name, difference.low)}, {signed_text(name, difference.high)}]"
    return f"{signed_text(name, difference.mean)}{unit} {ends}"


def headline(compared: Compared) -> str:
    """Return what the pass rates say in one sentence, or why nothing is said."""
    found = [metric for group in compared.groups if (metric := group.metric("pass_rate")) is not None]
    if not found:
        return "The two have nothing in common."
    if compared.withheld:
        return f"Pass rates are not compared: {compared.withheld}."
    if len(found) == 1:
        return f"Pass rate: {_one(found[0])}."
    words = Counter(word_text(metric) for metric in found)
    told = ", ".join(f"{word} in {number}" for word, number in words.most_common())
    return f"Pass rate over {len(found)} versions and models: {told}."


def _one(metric: MetricDifference) -> str:
    difference = metric.difference
    if difference is None:
        return "no pair in which both sides have a verdict"
    return f"{word_text(metric)}, {difference_text(metric.metric, difference)} over {_cases(difference)}"


def _cases(difference: Difference) -> str:
    cases = f"{difference.cases:,} case{'' if difference.cases == 1 else 's'}"
    return cases if difference.pairs == difference.cases else f"{difference.pairs:,} pairs of {cases}"


def flips_text(compared: Compared) -> str:
    """Return for example ``3 of 48 pairs flipped: 2 fail → pass, 1 pass → error``."""
    told = moves_text(compared.matrix)
    pairs = len(compared.joined.pairs)
    return f"{compared.flipped:,} of {pairs:,} pairs flipped" + (f": {told}" if told else "")


def notes_of(compared: Compared, more: Sequence[str] = ()) -> list[str]:
    """Return in what the two differ, one sentence each, and what else there is to know."""
    return [*(f"{axis.name}: {axis.text}" for axis in compared.axes), *filter(None, more)]
