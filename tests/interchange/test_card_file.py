"""Card files: what they may hold, and where their mistakes are."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.errors import FileError
from promptcard_ext.interchange import card_file
from promptcard_ext.interchange.card_file import CardFile, load_card_file

Load = Callable[[str | bytes], CardFile]
GOOD = """\
card:
  name: triage
  title: Triage
  variables:
    - {name: message}
    - {name: product, default: Acme}
versions:
  - template: "{{ message }}"
  - system: |
      You work for {{ product }}.
    template: |
      Read this:
      {{ message }}
    settings: {temperature: 0.0, stop: [END]}
    note: Second
assertions:
  - {type: not-contains, value: sorry}
cases:
  - name: first
    variables: {message: Hello}
    assertions:
      - {type: equals, value: other}
  - variables: {message: Bye}
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_load(text: str | bytes) -> CardFile:
        path = tmp_path / "card.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_card_file(path)

    return write_and_load


def failure(load: Load, text: str | bytes) -> FileError:
    with pytest.raises(FileError) as caught:
        load(text)
    assert "card.yaml" in caught.value.message
    return caught.value


def variables(load: Load, value: str) -> object:
    """Return what ``value``, written in a case, is read as."""
    return (
        load(GOOD.replace("{name: message}", "{name: message, type: json}").replace("Hello}", value + "}"))
        .cases[0]
        .variables["message"]
    )


def test_versions_and_cases_are_read(load: Load) -> None:
    found = load(GOOD)
    assert found.name == "triage"
    assert [version.template for version in found.versions] == ["{{ message }}", "Read this:\n{{ message }}\n"]
    assert found.versions[1].settings.stop == ("END",)
    assert found.versions[1].note == "Second"
    assert [case.variables for case in found.cases] == [{"message": "Hello"}, {"message": "Bye"}]
    assert [one.type for one in found.cases[0].assertions] == ["equals", "not-contains"]
    assert [one.type for one in found.cases[1].assertions] == ["not-contains"]


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(load: Load) -> None:
    assert load(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()) == load(GOOD)


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("templates/cards/*.yaml")), ids=lambda p: p.stem)
def test_the_cards_that_come_with_it_are_in_order(path: Path) -> None:
    found = load_card_file(path)
    assert len(found.versions) >= 2
    for version in found.versions:
        for case in found.cases:
            assert version.render(case.variables)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("NO", "NO"), ("yes", "yes"), ("on", "on"), ("12:30", "12:30"), ("12:30:45", "12:30:45"), ("010", "010"),
        ("0x1F", "0x1F"), ("1_000", "1_000"), ("2024-01-31", "2024-01-31"), (".5", ".5"), ("'5'", "5"),
        ("true", True), ("False", False), ("5", 5), ("-0", 0), ("1.50", 1.5), ("1e3", 1000.0), ("~", None),
        ("null", None), ("+5", 5),
    ],
)  # fmt: skip
def test_a_value_is_what_it_looks_like(load: Load, written: str, value: object) -> None:
    found = variables(load, written)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("old", "new", "line", "text"),
    [
        ("title: Triage", "titel: Triage", 1, "titel"),
        ("name: triage", "name: 5", 2, "str"),
        ("name: triage", "name: Not a slug", 8, "card name"),
        ("temperature: 0.0", "temperature: 9", 14, "2"),
        ("temperature: 0.0", "warmth: 9", 14, "warmth"),
        ("{type: not-contains", "{type: contians", 17, "contians"),
        ("{type: equals, value", "{type: equals, valeu", 22, "valeu"),
        ("{{ message }}\n    settings", "{{ mesage }}\n    settings", 13, "mesage"),
        ("{{ message }}\n    settings", "{{ message }\n    settings", 13, "parse"),
        ("{{ product }}.", "{{ product }.", 10, "parse"),
        ('template: "{{ message }}"', 'template: "{{ message }"', 8, "parse"),
        ("{message: Bye}", "{message: Hello}", 18, "same variables"),
        ("{message: Bye}", "[Bye]", 23, "object"),
        ("note: Second", "note: 5", 15, "str"),
    ],
)
def test_a_mistake_has_its_line(load: Load, old: str, new: str, line: int, text: str) -> None:
    assert GOOD.count(old) == 1
    message = failure(load, GOOD.replace(old, new)).message
    assert f"line {line}" in message
    assert text in message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "file_empty"),
        ("# only a comment", "file_empty"),
        ("card: [", "yaml_syntax"),
        ("a: b: c", "yaml_syntax"),
        ("\x00", "yaml_syntax"),
        ("[" * 5000, "yaml_syntax"),
        ("card: !!python/object/apply:os.system [ls]", "yaml_syntax"),
        (GOOD.replace("title: Triage", "name: twice"), "yaml_syntax"),
        ("just text", "card_file_invalid"),
        ("[1, 2]", "card_file_invalid"),
        ("card: {name: a}\nversions: []", "card_file_invalid"),
        ("card: {name: a}", "card_file_invalid"),
        (b"card:\n  name: \xff", "file_not_utf8"),
        (GOOD.replace("message: Bye", "message: &a [*a]"), "case_invalid"),
        (GOOD.replace("message: Bye", "message: .nan"), None),
    ],
    ids=lambda value: None if isinstance(value, str) else "bytes",
)  # fmt: skip
def test_what_is_no_card_file_is_said(load: Load, text: str | bytes, code: str | None) -> None:
    if code is None:
        assert load(text).cases[1].variables["message"] == ".nan"
    else:
        assert failure(load, text).code == code


def test_a_file_that_is_not_utf8_has_the_line(load: Load) -> None:
    assert "line 2" in failure(load, b"card:\n  name: \xff").message


@pytest.mark.parametrize("kind", ["list", "merge"])
def test_aliases_that_explode_are_refused(load: Load, kind: str) -> None:
    first, again = ("&a0 [x]", "[{0}, {0}]") if kind == "list" else ("&a0 {k: v}", "{{<<: [{0}, {0}]}}")
    lines = ["a0: " + first] + [f"a{i}: &a{i} " + again.format(f"*a{i - 1}") for i in range(1, 40)]
    assert failure(load, "\n".join(lines)).code == "file_too_large"


def test_a_large_file_is_not_read(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_file, "MAX_FILE_BYTES", 100)
    assert failure(load, GOOD).code == "file_too_large"


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(FileError) as caught:
            load_card_file(path)
        assert caught.value.code == "file_unreadable"


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "card.yaml"
    path.write_bytes(text.encode("utf-8", "replace"))
    with pytest.raises(FileError):
        load_card_file(path)
