from promptcard_ext.core.card import Card, Example, Message, ModelSettings, Variable
from promptcard_ext.kernel.card_html import MAX_PLAIN_CHARS, card_html, card_text
from tests.kernel.page import HOSTILE, Page, assert_nothing_is_obeyed


def test_a_card_is_shown_with_messages_variables_and_settings() -> None:
    card = Card(
        "greet", "Hello {{ who }}{% if n %}!{% endif %}", system="Be kind.", title="Greeting", version=3,
        tags=("a", "b"),
        variables=(Variable("who", trust="untrusted"), Variable("n", "enum", values=("x", "y"), default="x")),
        settings=ModelSettings(temperature=0.5), examples=(Example("Q", "A"),),
    )  # fmt: skip
    html = card_html(card)
    page = Page(html)
    assert page.open == []
    assert "<script" not in html
    assert '<b class="pc-v">{{ who }}</b><b class="pc-v">{% if n %}</b>!' in html
    for text in (
        "greet@3 · Greeting",
        "system Be kind.",
        "assistant A",
        "enum: x, y",
        "untrusted",
        "temperature 0.5",
        "required",
    ):
        assert text in page.text


def test_variables_that_are_not_declared_are_named() -> None:
    assert "Variables: a, b" in Page(card_html(Card("c", "{{ b }} {{ a }}"))).text


def test_nothing_in_a_card_is_obeyed() -> None:
    card = Card("c", messages=(Message("user", HOSTILE + "{{ x }}"),), title=HOSTILE, description=HOSTILE,
                tags=(HOSTILE[:50],), variables=(Variable("x", description=HOSTILE, default=HOSTILE),))  # fmt: skip
    assert_nothing_is_obeyed(card_html(card))


def test_an_endless_card_is_cut_and_says_so() -> None:
    card = Card("c", messages=[Message("user", "<{{ x }}" * 11_000)] * 5)
    html = card_html(card)
    assert len(html.encode()) < 150_000
    assert "and 88,000 more characters" in html
    assert Page(html).open == []
    assert len(card_text(card)) <= MAX_PLAIN_CHARS
