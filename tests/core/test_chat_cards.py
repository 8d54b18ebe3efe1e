"""Cards that are a chat, examples, and texts of other cards."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from promptcard_ext.core.card import Card, Example, Message, ModelSettings, Variable
from promptcard_ext.core.errors import CardError, TemplateError

USER = Message("user", "{{ q }}")


def refusal(make: Any) -> str:
    with pytest.raises((CardError, TemplateError)) as caught:
        make()
    return caught.value.code


def contents(card: Card, **values: Any) -> list[str]:
    return [message.content for message in card.render(values)]


def test_a_chat_is_rendered_message_by_message() -> None:
    card = Card("c", messages=(Message("system", "Be {{ tone }}."), Message("assistant", "Yes?"), USER))
    assert card.used_variables == {"tone", "q"}
    assert card.render({"tone": "kind", "q": "Why?"}) == (
        Message("system", "Be kind."), Message("assistant", "Yes?"), Message("user", "Why?"),
    )  # fmt: skip


def test_an_answer_may_be_begun() -> None:
    assert contents(Card("c", messages=(USER, Message("assistant", "{"))), q="JSON!") == ["JSON!", "{"]


@pytest.mark.parametrize("chat", [False, True])
def test_examples_stand_before_the_last_question(chat: bool) -> None:
    examples = (Example("1+1?", "2"), Example("2+{{ n }}?", "many"))
    head: dict[str, Any] = {"messages": (Message("system", "Add."), USER)} if chat else {"template": "{{ q }}"}
    card = Card("c", examples=examples, system=None if chat else "Add.", **head)
    assert contents(card, q="3+3?", n=5) == ["Add.", "1+1?", "2", "2+5?", "many", "3+3?"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"template": "x", "messages": (USER,)},
        {"system": "x", "messages": (USER,)},
        {"messages": (Message("system", "x"),)},
        {"messages": (Message("assistant", "x"),)},
        {"messages": (USER, Message("system", "x"))},
        {"messages": (Message("user", ""),)},
        {"messages": (Message("user", "x" * 100_001),)},
        {"messages": (Message("user", "x" * 90_000),) * 6},
        {"messages": (USER,) * 101},
        {"template": "x", "examples": (Example("a", "b"),) * 51},
    ],
)
def test_what_is_no_chat_is_refused(fields: dict[str, Any]) -> None:
    assert refusal(lambda: Card("c", **fields)) in ("card_messages", "field_invalid")


def test_a_chat_survives_json_and_its_own_content() -> None:
    card = Card("c", messages=(Message("system", "s"), USER), examples=(Example("a", "b"),), variables=(Variable("q"),))
    again = msgspec.json.decode(msgspec.json.encode(card), type=Card)
    assert again == card
    assert Card.from_content("c", card.content).content_hash == card.content_hash
    assert refusal(lambda: Card.from_content("c", {**card.content, "voice": "deep"})) == "content_unknown"


class TestHashes:
    @pytest.mark.parametrize(
        ("card", "content_hash"),
        [
            (Card("c", "Hi {{ who }}"), "2a38be09b012e5070f91c00dd6dcf81bddf72f20c380b711a28169aca620857a"),
            (
                Card(
                    "c", "Hi {{ who }}", "You are {{ role }}.",
                    variables=(
                        Variable("who"),
                        Variable("role", "enum", default="kind", values=("kind", "strict"), description="d"),
                    ),
                ),
                "1ea9be57bb37e49c908b03f9a859780d029655884db848e7c72e248b8014e1b6",
            ),
            (
                Card(
                    "c", "x",
                    settings=ModelSettings(
                        temperature=0.0, top_p=0.5, max_tokens=5, seed=7, stop=("END",), stream=True,
                        response_format={"type": "json_object"},
                    ),
                ),
                "222a95dca825ff60fb94415af0111ed6c2bd72aa79f60311ca2180cec99b30e4",
            ),
        ],
        ids=["plain", "variables", "settings"],
    )  # fmt: skip
    def test_what_was_saved_before_there_were_chats_keeps_its_hash(self, card: Card, content_hash: str) -> None:
        assert card.content_hash == content_hash

    def test_a_chat_of_system_and_user_is_the_same_version_as_a_template(self) -> None:
        chat = Card("c", messages=(Message("system", "s"), USER))
        assert chat.content_hash == Card("c", "{{ q }}", "s").content_hash

    def test_everything_that_goes_to_the_model_is_part_of_it(self) -> None:
        ask = Card("c", '{% include "a@1" %}')
        tool = {"type": "function", "function": {"name": "look"}}
        cards = [
            Card("c", "x"), Card("c", "x", examples=(Example("a", "b"),)), Card("c", messages=(USER,) * 2),
            Card("c", "x", settings=ModelSettings(tools=(tool,))), ask, ask.compose([Card("a", "1", version=1)]),
            ask.compose([Card("a", "2", version=1)]),
        ]  # fmt: skip
        assert len({card.content_hash for card in cards}) == len(cards)


class TestIncludes:
    style = Card("style", "Be {{ tone }}.", "You are a style.", version=2)

    def test_a_text_of_another_card_is_put_in_with_its_variables(self) -> None:
        card = Card("ask", '{% include "style@2" %} {{ q }}').compose([self.style])
        assert card.used_variables == {"tone", "q"}
        assert contents(card, tone="brief", q="Why?") == ["Be brief. Why?"]

    def test_its_system_message_too(self) -> None:
        card = Card("ask", "{{ q }}", '{% include "style@2#system" %}').compose([self.style])
        assert contents(card, q="Why?") == ["You are a style.", "Why?"]

    def test_a_variable_of_the_text_must_be_declared_as_any_other(self) -> None:
        card = Card("ask", '{% include "style@2" %} {{ q }}', variables=(Variable("q"),))
        with pytest.raises(TemplateError) as caught:
            card.compose([self.style])
        assert caught.value.code == "unknown_variable"
        assert "of card 'style@2'" in caught.value.message

    def test_a_loop_is_not_seen_by_what_is_included_in_it(self) -> None:
        loop = Card("ask", '{% for x in xs %}{% include "a@1" %}{% endfor %}')
        card = loop.compose([Card("a", "{{ x }}", version=1)])
        assert card.used_variables == {"xs", "x"}
        assert contents(card, xs=[1, 2], x="given") == ["givengiven"]

    def test_five_texts_within_each_other_and_no_more(self) -> None:
        cards = [Card("a", f'{{% include "a@{i + 1}" %}}' if i < 6 else "end", version=i) for i in range(1, 7)]
        assert contents(Card("ask", '{% include "a@2" %}').compose(cards)) == ["end"]
        assert refusal(lambda: Card("ask", '{% include "a@1" %}').compose(cards)) == "include_too_deep"

    def test_a_circle_is_refused(self) -> None:
        cards = [Card("a", '{% include "b@1" %}', version=1), Card("b", '{% include "a@1" %}', version=1)]
        assert refusal(lambda: Card("ask", '{% include "a@1" %}').compose(cards)) == "include_circle"

    def test_what_is_not_there_is_said(self) -> None:
        card = Card("ask", '{% include "style@3" %}')
        assert refusal(lambda: card.compose([self.style])) == "include_unknown"
        assert refusal(lambda: card.render({})) == "include_unresolved"
        chat = Card("style", messages=(USER,) * 2, version=3)
        assert refusal(lambda: card.compose([chat])) == "include_unknown"

    def test_two_texts_under_one_name_are_refused(self) -> None:
        other = Card("other", '{% include "style@2" %}', version=1).compose([Card("style", "Be rude.", version=2)])
        card = Card("ask", '{% include "other@1" %}{% include "style@2" %}')
        assert refusal(lambda: card.compose([self.style, other])) == "include_conflict"

    def test_a_text_that_nothing_includes_is_not_carried(self) -> None:
        assert refusal(lambda: Card("ask", "x", includes={"style@2": "Be brief."})) == "include_invalid"

    def test_a_composed_card_can_be_composed_again(self) -> None:
        card = Card("ask", '{% include "style@2" %}').compose([self.style])
        assert card.compose([self.style]) == card
