"""Assertions by the metrics of translation and summary: rouge-n, bleu, gleu, meteor.

All compare the words of the answer (see `words`) with those of one or several references. BLEU, GLEU and the alignment
of METEOR are NLTK's. It takes a third of a second to import, which is done when such an assertion is made and not when
the first answer is judged: calls are under way then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, Assertion, Check, Finding, register
from promptcard_ext.core.assertions.limits import graded, refuse_options, share, too_long
from promptcard_ext.core.assertions.words import words
from promptcard_ext.core.results import Outcome

MAX_CHARS = 100_000
MAX_REFERENCES = 100
MAX_ORDER = 9
BLEU_ORDER = 4
# What stands for "no match" of one order, so that the others still count (NLTK's method 1).
_EPSILON = 1e-7

Words = list[str]
Metric = Callable[[Words], float]


def _references(assertion: Assertion) -> list[Words]:
    """Return the words of each reference.

    Raises:
        CardError: There is none, one has no words, or they are too many or too long (``assertion_invalid``).
    """
    value = [assertion.value] if isinstance(assertion.value, str) else assertion.value
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise assertion.invalid("'value' must be a reference text, or a list of them")
    if len(value) > MAX_REFERENCES or sum(map(len, value)) > MAX_CHARS:
        raise assertion.invalid(f"more than {MAX_REFERENCES} references, or {MAX_CHARS:,} characters in all of them")
    found = [words(text) for text in value]
    if not found or not all(found):
        raise assertion.invalid("a reference has no words")
    return found


def _compared(assertion: Assertion, default: float, name: str, metric: Metric) -> Check:
    threshold = share(assertion, default)

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        if (unread := too_long(answer.output, MAX_CHARS)) is not None:
            return unread
        given = words(answer.output)
        score = metric(given) if given else 0.0
        return graded(score, threshold, "score_too_low", name)

    return check


@register("rouge-n")
def rouge_n(assertion: Assertion) -> Check:
    """The share of the reference's n-grams that the answer has is at least ``threshold`` (default 0.75).

    ``options.n`` is the length of the n-grams (default 1). Of several references the best one counts. Source: Lin,
    "ROUGE: a package for automatic evaluation of summaries", 2004; n-grams are counted with their number.
    """
    refuse_options(assertion, "n")
    order = assertion.options.get("n", 1)
    if not isinstance(order, int) or not 1 <= order <= MAX_ORDER:
        raise assertion.invalid(f"'options.n' must be a whole number from 1 to {MAX_ORDER}")
    references = _references(assertion)
    if any(len(reference) < order for reference in references):
        raise assertion.invalid(f"a reference has fewer than {order} words")
    counted = [_ngrams(reference, order) for reference in references]

    def recall(given: Words) -> float:
        found = _ngrams(given, order)
        return max((found & wanted).total() / wanted.total() for wanted in counted)

    return _compared(assertion, 0.75, f"ROUGE-{order}", recall)


def _ngrams(given: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(given[start:] for start in range(order)), strict=False))


@register("bleu")
def bleu(assertion: Assertion) -> Check:
    """BLEU of the answer is at least ``threshold`` (default 0.5).

    N-grams of 1 to 4 words; with a shorter text, of as many words as it has. Source: Papineni et al., "BLEU: a method
    for automatic evaluation of machine translation", 2002, for one sentence, smoothed.
    """
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    references = _references(assertion)
    longest = max(map(len, references))
    smoothing = SmoothingFunction(epsilon=_EPSILON).method1

    def score(given: Words) -> float:
        order = min(BLEU_ORDER, len(given), longest)
        return float(sentence_bleu(references, given, (1 / order,) * order, smoothing))

    return _compared(assertion, 0.5, "BLEU", score)


@register("gleu")
def gleu(assertion: Assertion) -> Check:
    """GLEU of the answer is at least ``threshold`` (default 0.5).

    The smaller of precision and recall over all n-grams of 1 to 4 words. Source: Wu et al., "Google's neural machine
    translation system", 2016.
    """
    from nltk.translate.gleu_score import sentence_gleu

    references = _references(assertion)
    return _compared(assertion, 0.5, "GLEU", lambda given: float(sentence_gleu(references, given)))


@register("meteor")
def meteor(assertion: Assertion) -> Check:
    """METEOR of the answer is at least ``threshold`` (default 0.5).

    Words match when they are equal or have the same stem (Porter); with ``options.synonyms`` also when WordNet has them
    as synonyms, which needs its data on every machine that judges. Source: Lavie and Agarwal, "METEOR: an automatic
    metric for MT evaluation with high levels of correlation with human judgments", 2007; alpha 0.9, beta 3, gamma 0.5.
    """
    from nltk.translate.meteor_score import meteor_score

    refuse_options(assertion, "synonyms")
    references = _references(assertion)
    if assertion.options.get("synonyms") not in (None, False, True):
        raise assertion.invalid("'options.synonyms' must be true or false")
    if not assertion.options.get("synonyms"):
        return _compared(assertion, 0.5, "METEOR", lambda given: float(meteor_score(references, given, wordnet=_NONE)))
    with_synonyms = _compared(assertion, 0.5, "METEOR", lambda given: float(meteor_score(references, given)))

    def check(answer: Answer) -> Finding:
        try:
            return with_synonyms(answer)
        except LookupError:
            return _NO_WORDNET

    return check


_NO_WORDNET = Finding(
    Outcome.ERROR,
    "wordnet_missing",
    "The data of WordNet is not installed here: python -m nltk.downloader wordnet, or leave out options.synonyms.",
)


class _NoSynonyms:
    """Stands where METEOR expects WordNet, and knows no synonyms: a score must not depend on the machine."""

    def synsets(self, _: str) -> list[object]:
        return []


_NONE = _NoSynonyms()
