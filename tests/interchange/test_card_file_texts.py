"""Card files with chats, examples, and texts of other files."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptcard_ext.core.errors import FileError
from promptcard_ext.interchange.card_file import CardFile, load_card_file
from promptcard_ext.interchange.card_writer import write_card_file

STYLE = """\
card: {name: style}
versions:
  - template: Be brief.
  - template: Be {{ tone }}.
"""
ASK = """\
uses: [USED]
card: {name: ask}
versions:
  - template: '{% include "style@2" %} {{ q }}'
  - template: '{% include "ask@1" %}!'
"""


def load(folder: Path, **files: str) -> CardFile:
    for name, text in files.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return load_card_file(folder / f"{next(iter(files))}.yaml")


def failure(folder: Path, **files: str) -> str:
    with pytest.raises(FileError) as caught:
        load(folder, **files)
    return caught.value.message


def test_a_text_comes_from_another_file_and_from_an_earlier_version(tmp_path: Path) -> None:
    found = load(tmp_path, ask=ASK.replace("USED", "style.yaml"), style=STYLE)
    values = {"tone": "kind", "q": "Why?"}
    assert [version.render(values)[0].content for version in found.versions] == ["Be kind. Why?", "Be kind. Why?!"]


def test_a_file_outside_of_the_folder_is_not_read(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "style.yaml").write_text(STYLE)
    for name in ("../style.yaml", str(tmp_path / "style.yaml")):
        message = failure(inner, ask=ASK.replace("USED", name))
        assert "line 1" in message
        assert "outside of" in message
    (inner / "link.yaml").symlink_to(tmp_path / "style.yaml")
    assert "outside of" in failure(inner, ask=ASK.replace("USED", "link.yaml"))


def test_files_that_use_each_other_are_refused(tmp_path: Path) -> None:
    message = failure(tmp_path, ask=ASK.replace("USED", "style.yaml"), style="uses: [ask.yaml]\n" + STYLE)
    assert "uses this file" in message


def test_a_version_that_is_not_there_has_its_line(tmp_path: Path) -> None:
    text = ASK.replace("USED", "style.yaml").replace("style@2", "style@3")
    assert "ask.yaml, line 4: Card 'ask' includes 'style@3'" in failure(tmp_path, ask=text, style=STYLE)


def test_a_chat_with_examples_is_written_and_read_again(tmp_path: Path) -> None:
    text = """\
card: {name: tutor, variables: [{name: q, trust: untrusted, max_length: 20}, {name: token, type: secret}]}
versions:
  - messages:
      - {role: system, content: Teach.}
      - {role: assistant, content: "Yes?"}
      - {role: user, content: "{{ q }}"}
    examples: [{user: "1+1?", assistant: "2"}]
cases: [{variables: {q: "Why?", token: env:TOKEN}}]
"""
    found = load(tmp_path, tutor=text)
    write_card_file(tmp_path / "again.yaml", found.versions, found.cases)
    assert load_card_file(tmp_path / "again.yaml") == found
    assert [message.role for message in found.versions[0].render(found.cases[0].variables)] == [
        "system", "assistant", "user", "assistant", "user",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("  - messages:\n      - {role: user, content: hi}\n      - {role: user, content: '{{ a '}\n", 5),
        ("  - template: x\n    examples:\n      - {user: hi, assistant: '{{ a '}\n", 5),
        ("  - messages:\n      - {role: boss, content: hi}\n", 4),
        ("  - messages: [{role: system, content: hi}]\n", 3),
    ],
)
def test_a_mistake_in_a_chat_has_its_line(tmp_path: Path, text: str, line: int) -> None:
    assert f"bad.yaml, line {line}:" in failure(tmp_path, bad="card: {name: bad}\nversions:\n" + text)
