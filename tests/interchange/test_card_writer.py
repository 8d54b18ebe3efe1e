"""Card files that are written are read as the same."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, ModelSettings, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError, FileError
from promptcard_ext.interchange.card_file import load_card_file
from promptcard_ext.interchange.card_writer import card_file_text, write_card_file
from tests.interchange.strategies import CARD, PLAIN, cases


@given(cases(PLAIN))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cases_come_back(tmp_path: Path, drawn: list[Case]) -> None:
    write_card_file(tmp_path / "c.yaml", [CARD], drawn)
    found = load_card_file(tmp_path / "c.yaml")
    assert list(found.cases) == drawn
    assert found.versions == (CARD,)


@given(PLAIN.filter(str.strip), PLAIN)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_templates_come_back(tmp_path: Path, template: str, system: str) -> None:
    template, system = ("{% raw %}" + text.replace("{%", "{ %") + "{% endraw %}" for text in (template, system))
    versions = (
        Card("c", template, title="A title: [x]", tags=("a", "no"), variables=(Variable("x", default="1e3"),)),
        Card("c", template, system, "A title: [x]", tags=("a", "no"), variables=(Variable("x", default="1e3"),),
             settings=ModelSettings(temperature=0.0, stop=("\n", "no")), note="Second: #2"),
    )  # fmt: skip
    write_card_file(tmp_path / "c.yaml", versions)
    assert load_card_file(tmp_path / "c.yaml").versions == versions


def test_texts_of_several_lines_are_blocks_and_shared_assertions_stand_once() -> None:
    shared = Assertion("not-contains", "sorry")
    text = card_file_text(
        [Card("c", "one\ntwo {{ q }}\n", "be kind")],
        [Case({"q": "a"}, [Assertion("is-json"), shared], name="first"), Case({"q": "no"}, [shared])],
    )
    assert text == (
        "card:\n  name: c\n"
        "versions:\n- system: be kind\n  template: |\n    one\n    two {{ q }}\n"
        "assertions:\n- type: not-contains\n  value: sorry\n"
        "cases:\n- name: first\n  variables:\n    q: a\n  assertions:\n  - type: is-json\n"
        "- variables:\n    q: 'no'\n"
    )


def test_a_file_is_of_one_card(tmp_path: Path) -> None:
    for versions in (
        [],
        [Card("a", "x"), Card("b", "x")],
        [Card("a", "x"), Card("a", "x", variables=(Variable("v"),))],
    ):
        with pytest.raises(CardError) as caught:
            card_file_text(versions)
        assert caught.value.code == "card_file_mixed"
    with pytest.raises(FileError) as unwritable:
        write_card_file(tmp_path / "none" / "c.yaml", [Card("a", "x")])
    assert unwritable.value.code == "file_unwritable"


@pytest.mark.parametrize("text", ["a\x85b", "a\u2028b\nc", "a\rb", "a\r\nb\n"])
def test_line_ends_of_every_kind_come_back(tmp_path: Path, text: str) -> None:
    write_card_file(tmp_path / "c.yaml", [Card("c", text + "{{ q }}")], [Case({"q": text})])
    file = load_card_file(tmp_path / "c.yaml")
    assert (file.versions[-1].template, file.cases[0].variables) == (text + "{{ q }}", {"q": text})
