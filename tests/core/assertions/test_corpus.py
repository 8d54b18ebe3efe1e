"""ROUGE, BLEU, GLEU, METEOR: numbers worked out by hand, bounds, several references, WordNet."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.corpus import MAX_CHARS
from promptcard_ext.core.errors import CardError
from tests.core.assertions.judged import ERROR, FAIL, PASS, UNSCORED, of

KINDS = ["rouge-n", "bleu", "gleu", "meteor"]
SIX = "the cat sat on the mat"


def score(kind: str, value: Any, text: str, **more: Any) -> float:
    found = of(kind, value, text, **more).score
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("value", "text", "options", "expected"),
    [
        (SIX, SIX, {}, 1),
        (SIX, "the cat sat on a mat", {}, 5 / 6),
        (SIX, "the the the the", {}, 2 / 6),
        (SIX, "dogs bark", {}, 0),
        (SIX, "The CAT, sat; on the mat!", {}, 1),
        (SIX, "the cat sat on the mat and slept all day", {}, 1),
        (SIX, "the cat on the mat", {"n": 2}, 3 / 5),
        (["dogs bark", SIX], SIX, {}, 1),
    ],
)
def test_rouge_is_the_share_of_the_reference_that_is_found(
    value: Any, text: str, options: dict[str, Any], expected: float
) -> None:
    assert score("rouge-n", value, text, options=options) == pytest.approx(expected)


def test_bleu_is_precision_with_a_penalty_for_being_short() -> None:
    # 5/6 · 3/5 · 2/4 · 1/3 of the n-grams of 1 to 4 words are in the reference.
    assert score("bleu", SIX, "the cat sat on a mat") == pytest.approx((5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)
    # All n-grams are there; four words for six.
    assert score("bleu", SIX, "the cat sat on") == pytest.approx(math.exp(1 - 6 / 4))
    assert score("bleu", SIX, SIX + " and slept") < 1


def test_an_answer_of_two_words_can_be_right() -> None:
    assert score("bleu", "hello world", "Hello, world!") == pytest.approx(1)
    assert score("bleu", SIX, "the cat") == pytest.approx(math.exp(1 - 6 / 2))


def test_bleu_takes_the_n_grams_of_all_references_together() -> None:
    both = ["a b c d x", "y a b c d"]
    assert score("bleu", both, "y a b c d x") > max(score("bleu", one, "y a b c d x") for one in both)


def test_gleu_is_the_smaller_of_precision_and_recall() -> None:
    # Of the answer's 3 n-grams (a, b, a b) all are in the reference, which has 6 (a, b, c, a b, b c, a b c).
    assert score("gleu", "a b c", "a b") == pytest.approx(3 / 6)
    assert score("gleu", "a b", "a b c") == pytest.approx(3 / 6)


def test_meteor_knows_stems_and_order() -> None:
    whole = score("meteor", SIX, SIX)
    assert whole == pytest.approx(1 - 0.5 * (1 / 6) ** 3)
    assert score("meteor", "running cats", "run cat") == pytest.approx(1 - 0.5 * (1 / 2) ** 3)
    assert score("meteor", SIX, "mat the on sat cat the") < 0.6 < whole


@pytest.mark.parametrize("kind", KINDS)
class TestAllOfThem:
    def test_the_threshold_decides_and_has_a_default(self, kind: str) -> None:
        default = 0.75 if kind == "rouge-n" else 0.5
        assert of(kind, SIX, SIX).outcome is PASS
        assert of(kind, SIX, "dogs bark").reason == "score_too_low"
        assert f"at least {default:g} " in of(kind, SIX, "dogs bark").message
        assert of(kind, SIX, "dogs bark", threshold=0).outcome is PASS
        assert of(f"not-{kind}", SIX, SIX).reason == f"{kind}_held"

    def test_of_several_references_no_one_makes_it_worse(self, kind: str) -> None:
        assert score(kind, ["dogs bark at night", SIX], SIX) == pytest.approx(score(kind, SIX, SIX))

    @pytest.mark.parametrize("text", ["", " \n", "…", "\x00", "\ud800"])
    def test_an_answer_without_words_has_none_in_common(self, kind: str, text: str) -> None:
        one = of(kind, SIX, text)
        assert (one.outcome, one.score) == (FAIL, 0.0)

    @pytest.mark.parametrize("prefix", ["", "not-"])
    def test_a_long_answer_is_not_read(self, kind: str, prefix: str) -> None:
        one = of(f"{prefix}{kind}", SIX, "the cat " * MAX_CHARS)
        assert (one.outcome, one.reason) == (UNSCORED, "answer_too_long")

    @pytest.mark.parametrize(
        "text", ["a " * (MAX_CHARS // 2), "a" * MAX_CHARS, "".join(map(chr, range(33, MAX_CHARS)))]
    )
    def test_the_longest_that_is_read_takes_a_second_or_so(self, kind: str, text: str) -> None:
        Assertion(kind, "a b c d e f")  # NLTK is imported now
        started = time.process_time()
        assert of(kind, "a b c d e f", text).outcome in (PASS, FAIL)
        assert time.process_time() - started < 4

    @pytest.mark.parametrize(
        ("value", "threshold"),
        [(None, None), (5, None), ([], None), ([SIX, 5], None), ("", None), ([SIX, "…"], None), (SIX, 1.1), (SIX, -0.1),
         ("a" * (MAX_CHARS + 1), None), ([SIX] * 101, None)],
    )  # fmt: skip
    def test_what_cannot_be_used_is_refused(self, kind: str, value: Any, threshold: float | None) -> None:
        with pytest.raises(CardError) as caught:
            Assertion(kind, value, threshold)
        assert caught.value.code == "assertion_invalid"

    @settings(max_examples=50, deadline=None)
    @given(text=st.text("abc 東.", max_size=30), reference=st.text("abc 東", min_size=1, max_size=30).map("a".__add__))
    def test_every_score_is_between_0_and_1(self, kind: str, text: str, reference: str) -> None:
        assert 0 <= score(kind, reference, text) <= 1 + 1e-9


@pytest.mark.parametrize(
    ("kind", "options"),
    [("rouge-n", {"n": 0}), ("rouge-n", {"n": 10}), ("rouge-n", {"n": "2"}), ("rouge-n", {"n": 7}),
     ("rouge-n", {"m": 1}), ("meteor", {"synonyms": "yes"}), ("meteor", {"synonym": True})],
)  # fmt: skip
def test_options_that_do_not_exist_are_refused(kind: str, options: dict[str, Any]) -> None:
    with pytest.raises(CardError):
        Assertion(kind, SIX, options=options)


class TestSynonyms:
    def test_without_the_data_of_wordnet_asking_for_them_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("nltk.data.path", [])
        for kind in ("meteor", "not-meteor"):
            one = of(kind, "a big car", "a big auto", options={"synonyms": True})
            assert (one.outcome, one.reason) == (ERROR, "wordnet_missing")

    def test_without_asking_the_data_makes_no_difference(self) -> None:
        assert score("meteor", "car", "auto") == 0

    def test_with_the_data_they_match(self, tmp_path: Path) -> None:
        small_wordnet(tmp_path / "corpora" / "wordnet")
        # In a process of its own: what NLTK has once loaded it keeps.
        done = subprocess.run(
            [sys.executable, "-c", WITH_SYNONYMS],
            env=os.environ | {"NLTK_DATA": str(tmp_path)}, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert done.stdout == "0.5\n"


WITH_SYNONYMS = """
from tests.core.assertions.judged import of
print(of("meteor", "auto", "car", options={"synonyms": True}).score)
"""


def small_wordnet(folder: Path) -> None:
    """Write a WordNet of one noun synset, car and auto, in the format of its database files (wndb(5WN))."""
    folder.mkdir(parents=True)
    for part in ("adj", "adv", "noun", "verb"):
        (folder / f"index.{part}").write_text("", "utf-8")
        (folder / f"data.{part}").write_text("", "utf-8")
        (folder / f"{part}.exc").write_text("", "utf-8")
    for name in ("index.sense", "cntlist.rev"):
        (folder / name).write_text("", "utf-8")
    (folder / "lexnames").write_text("00\tnoun.artifact\t1\n", "utf-8")
    (folder / "data.noun").write_text("00000000 00 n 02 car 0 auto 0 000 | a motor vehicle  \n", "utf-8")
    (folder / "index.noun").write_text("auto n 1 0 1 0 00000000  \ncar n 1 0 1 0 00000000  \n", "utf-8")
