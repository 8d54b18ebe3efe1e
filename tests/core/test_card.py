"""Cards, variables and what a case may set."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.card import Card, Message, ModelSettings, Variable
from promptcard_ext.core.errors import CardError, TemplateError


def test_a_card_renders_its_messages() -> None:
    variables = (Variable("who"), Variable("role", default="kind"))
    card = Card("c", "Hi {{ who }}", "You are {{ role }}.", variables=variables)
    assert card.render({"who": "Ada"}) == (Message("system", "You are kind."), Message("user", "Hi Ada"))


def test_without_declarations_the_variables_are_those_used() -> None:
    card = Card("c", "{{ a }}", "{{ b }}")
    assert card.used_variables == {"a", "b"}
    assert card.render({"a": 1, "b": [2]})[1].content == "1"


@pytest.mark.parametrize("name", ["", "A", "has space", "-a", "a" * 101, "ü", "a\n"])
def test_a_name_is_a_slug(name: str) -> None:
    with pytest.raises(CardError) as caught:
        Card(name, "x")
    assert caught.value.code == "card_name"


def test_a_name_that_is_none_gets_a_proposal() -> None:
    with pytest.raises(CardError) as caught:
        Card("My Card!", "x")
    assert "my-card" in caught.value.hint


class TestUnknownAndMissingVariables:
    card = Card("c", "Hi {{ customer }}", variables=(Variable("customer"),))

    @pytest.mark.parametrize("name", ["custumer", "Customer"])
    def test_a_typing_mistake_gets_a_proposal(self, name: str) -> None:
        with pytest.raises(CardError) as caught:
            self.card.render({name: "Ada"}, "case 'first'")
        assert caught.value.code == "unknown_variable"
        assert "Case 'first'" in caught.value.message
        assert caught.value.hint == "Did you mean 'customer'?"

    def test_another_name_gets_the_list(self) -> None:
        with pytest.raises(CardError) as caught:
            self.card.render({"zzz": 1})
        assert caught.value.hint == "It has: customer."

    def test_a_missing_value_names_case_and_variable(self) -> None:
        with pytest.raises(CardError) as caught:
            self.card.render({}, "case 'first'")
        assert caught.value.code == "missing_variable"
        assert "Case 'first' gives no value for variable 'customer'" in caught.value.message

    def test_using_an_undeclared_one_has_its_place(self) -> None:
        with pytest.raises(TemplateError) as caught:
            Card("c", "a\n {{ custmer }}", variables=(Variable("customer"),))
        assert (caught.value.code, caught.value.line, caught.value.column) == ("unknown_variable", 2, 5)
        assert caught.value.hint == "Did you mean 'customer'?"

    def test_also_in_the_system_message(self) -> None:
        with pytest.raises(TemplateError) as caught:
            Card("c", "{{ customer }}", "{{ custmer }}", variables=(Variable("customer"),))
        assert (caught.value.line, caught.value.column) == (1, 4)

    def test_declaring_one_twice_is_refused(self) -> None:
        with pytest.raises(CardError) as caught:
            Card("c", "x", variables=(Variable("a"), Variable("a")))
        assert caught.value.code == "variable_twice"


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("string", ["", "x"], [1, None, ["x"], True]),
        ("integer", [0, -1], [1.0, "1", True, None]),
        ("number", [0, 1.5], ["1", False, None]),
        ("boolean", [True, False], [0, "true", None]),
        ("enum", ["a", "b"], ["c", 1, None, ["a"]]),
        ("list", [[], [1]], ["a", {"a": 1}, None]),
        ("json", [None, {"a": [1]}, "x"], []),
    ],
)
def test_a_value_must_be_of_its_type(kind: Any, good: list[Any], bad: list[Any]) -> None:
    card = Card("c", "{{ v }}", variables=(Variable("v", kind, values=("a", "b")),))
    for value in good:
        card.render({"v": value})
    for value in bad:
        with pytest.raises(CardError) as caught:
            card.render({"v": value})
        assert caught.value.code == "variable_type"
        assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "make",
    [
        lambda: Variable("1 bad"),
        lambda: Variable("v", "text"),  # type: ignore[arg-type]
        lambda: Variable("v", "enum"),
        lambda: Variable("v", "integer", default="x"),
        lambda: Variable("v", "enum", default="c", values=("a",)),
        lambda: ModelSettings(temperature=9),
        lambda: ModelSettings(max_tokens=0),
        lambda: ModelSettings(response_format=5),  # type: ignore[arg-type]
        lambda: Card("c", ""),
        lambda: Card("c", 5),  # type: ignore[arg-type]
        lambda: Card("c", "x", tags=("",)),
        lambda: Card("c", "x", settings=ModelSettings(response_format={"a": object()})),
        lambda: Card("c", "x", settings=ModelSettings(response_format={"a": float("nan")})),
        lambda: Card("c", "{{ v }}", variables=(Variable("v", "json", default=object()),)),
    ],
)
def test_what_is_typed_into_a_notebook_is_checked_like_a_file(make: Any) -> None:
    with pytest.raises(CardError):
        make()


def test_lists_become_what_they_should_be() -> None:
    card = Card("c", "x", tags=["a"], variables=[Variable("v", "enum", values=["a"])])  # type: ignore[arg-type]
    assert card.tags == ("a",)
    assert card.variables[0].values == ("a",)


class TestIdentity:
    def test_it_is_that_of_the_content(self) -> None:
        base = Card("c", "x")
        assert Card("other", "x", title="T", tags=("t",), note="n", version=4).content_hash == base.content_hash
        changed = [
            Card("c", "y"), Card("c", "x", "s"), Card("c", "x", settings=ModelSettings(seed=1)),
            Card("c", "x", variables=(Variable("v"),)),
        ]  # fmt: skip
        assert len({base.content_hash, *(card.content_hash for card in changed)}) == 5

    def test_an_empty_system_message_is_none(self) -> None:
        assert Card("c", "x", "").content_hash == Card("c", "x").content_hash
        assert len(Card("c", "x", "").render({})) == 1

    def test_a_label_has_the_version_or_the_hash(self) -> None:
        assert Card("c", "x", version=2).label == "c@2"
        assert Card("c", "x").label == "c@" + Card("c", "x").content_hash[:6]

    @given(st.text(min_size=1, alphabet=st.characters(exclude_characters="{", exclude_categories=["Cs"])))
    def test_it_survives_json(self, text: str) -> None:
        card = Card("c", text, settings=ModelSettings(temperature=1, stop=("a",)))
        again = msgspec.json.decode(msgspec.json.encode(card), type=Card)
        assert again == card
        assert again.content_hash == card.content_hash
