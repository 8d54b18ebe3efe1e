"""Differences between two texts, word by word."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.stats.word_diff import MAX_EDITS, MAX_WORDS, word_diff

TEXT = st.text(alphabet=st.sampled_from("ab \n.é\u202e𝒳"), max_size=60)


def side(a: str, b: str, of: str) -> str:
    return "".join(piece.text for piece in word_diff(a, b) if piece.side in ("both", of))


@given(TEXT, TEXT)
def test_the_pieces_make_up_both_texts(a: str, b: str) -> None:
    assert side(a, b, "a") == a
    assert side(a, b, "b") == b


@given(TEXT)
def test_equal_texts_have_one_piece(text: str) -> None:
    assert word_diff(text, text) == ([("both", text)] if text else [])


@given(TEXT, TEXT)
def test_neighbours_are_put_together_and_a_comes_before_b(a: str, b: str) -> None:
    sides = [piece.side for piece in word_diff(a, b)]
    assert not {("both", "both"), ("a", "a"), ("b", "b"), ("b", "a")} & set(pairwise(sides))


def test_only_the_words_that_differ_are_marked() -> None:
    a, b = "The capital of France is Lyon, I think.", "The capital of France is Paris, I think."
    assert [tuple(piece) for piece in word_diff(a, b)] == [
        ("both", "The capital of France is "), ("a", "Lyon"), ("b", "Paris"), ("both", ", I think."),
    ]  # fmt: skip


def test_as_few_words_as_possible_are_marked() -> None:
    marked = [piece for piece in word_diff("a b c a b b a .", "c b a b a c .") if piece.side != "both"]
    assert sum(len(piece.text.split()) for piece in marked) == 5


def test_endless_texts_are_cut() -> None:
    endless = " ".join(str(i) for i in range(3 * MAX_WORDS))
    pieces = word_diff(endless, endless + " end")
    assert len(pieces) == 1
    assert pieces[0].text.endswith("…")
    assert len(pieces[0].text.split()) <= MAX_WORDS + 1


def test_texts_with_nothing_in_common_are_shown_as_a_whole() -> None:
    a, b = (" ".join(f"{letter}{i}" for i in range(MAX_EDITS)) for letter in "ab")
    assert [(piece.side, piece.text) for piece in word_diff(a, b)] == [("a", a), ("b", b)]
