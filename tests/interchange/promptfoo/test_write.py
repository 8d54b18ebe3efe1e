"""What is written as a promptfoo configuration is read as the same."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, Example, ModelSettings
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import FileError
from promptcard_ext.interchange.promptfoo import promptfoo_yaml, read_promptfoo, write_promptfoo
from tests.interchange.promptfoo.conftest import Read
from tests.interchange.strategies import CARD, cases


@given(cases())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cases_come_back(tmp_path: Path, drawn: list[Case]) -> None:
    # A variable without a value is an empty text in promptfoo, so null cannot come back.
    known = [case for case in drawn if "null" not in promptfoo_yaml([CARD], [case]).split("tests:")[1]]
    if not known:
        return
    path = tmp_path / "c.yaml"
    write_promptfoo(path, [Card("c", "{{ text }}")], known, ["openai:a:b", "ollama:c", "simulated:echo"])
    found = read_promptfoo(path, environment={})
    assert list(found.cases) == known
    assert found.models == ("openai:a:b", "ollama:c", "simulated:echo")
    assert [notice for notice in found.notices if notice.severity == "lost"] == []


def test_cards_settings_and_metrics_come_back(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    plain = Card(
        "plain", "Say {{ a|tojson }}:\n\n  {{ b }}  \n", settings=ModelSettings(temperature=0.5, stop=("END",))
    )
    chat = Card("chat", "{{ a }}", "You are {{ b }}.\n")
    write_promptfoo(path, [plain, chat], [Case({"a": "x", "b": "y"})], ["openai:m"], derived={"f": "a / 2"}, repeats=3)
    found = read_promptfoo(path, environment={})
    assert [(card.name, card.system, card.template.replace(" |", "|")) for card in found.cards] == [
        ("plain", None, plain.template),
        ("chat", chat.system, chat.template),
    ]
    assert found.cards[0].settings == plain.settings
    assert (found.derived, found.repeats) == ({"f": "a / 2"}, 3)


def test_examples_and_messages_are_written_as_a_conversation(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    card = Card("c", "{{ q }}", "s", examples=(Example("one", "1"), Example("two", "2")))
    write_promptfoo(path, [card], [Case({"q": "three"})])
    (found,) = read_promptfoo(path, environment={}).cards
    assert found.render({"q": "three"}) == card.render({"q": "three"})


def test_what_was_taken_over_as_a_placeholder_goes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    written = {"type": "javascript", "value": "output.length < {{ n }}"}
    path.write_text(yaml.safe_dump({"prompts": ["hi"], "tests": [{"vars": {"n": 1}, "assert": [written]}]}))
    found = read_promptfoo(path, environment={})
    again = yaml.safe_load(promptfoo_yaml(found.cards, found.cases))
    assert again["tests"][0]["assert"] == [written]


def test_what_a_program_judged_before_is_not_judged_without_it(read: Read, tmp_path: Path) -> None:
    found = read("""\
        prompts: ["{{ q }} {{ gone }}"]
        tests:
          - vars: {q: a}
            options: {transform: "output.split(1)"}
            assert: [{type: equals, value: x}]
          - vars: {q: b}
            options: {transform: "JSON.parse(output).items[0]['name'].trim()"}
            assert: [{type: equals, value: y}]
        """)
    path = tmp_path / "project" / "promptfooconfig.yaml"
    write_promptfoo(path, found.cards, found.cases)
    again = read_promptfoo(path, environment={})
    assert "JSON.parse(output).items[0]['name'].trim()" in path.read_text("utf-8")
    assert again.cases == found.cases
    assert [one.type for case in again.cases for one in case.assertions] == ["unsupported", "equals"]


def test_names_of_fields_are_those_of_promptfoo() -> None:
    assertion = Assertion(
        "context-recall", "x", rubric_prompt="p", provider="openai:j", options={"context_transform": "json.docs"}
    )
    case = Case({"a": ["x"]}, (assertion, Assertion("assert-set", assertions=(Assertion("equals", "y"),))))
    (test,) = yaml.safe_load(promptfoo_yaml([Card("c", "{{ a }}")], [case]))["tests"]
    assert test["assert"] == [
        {
            "type": "context-recall",
            "value": "x",
            "provider": "openai:j",
            "rubricPrompt": "p",
            "contextTransform": "output.docs",
        },
        {"type": "assert-set", "assert": [{"type": "equals", "value": "y"}]},
    ]
    assert test["options"] == {"disableVarExpansion": True}


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        write_promptfoo(tmp_path / "none" / "c.yaml", [Card("c", "x")], [])
    assert caught.value.code == "file_unwritable"
