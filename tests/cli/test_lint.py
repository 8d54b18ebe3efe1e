"""What ``jupyter promptcards lint`` says, and its exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from promptcard_ext.cli import main
from promptcard_ext.core.assertions import python

GOOD = """\
card: {name: greet}
versions: [{template: "Hi {{ who }}"}]
cases: [{variables: {who: Ada}, assertions: [{type: python, value: "'Ada' in output"}]}]
"""
WARNED = """\
card:
  name: triage
  variables: [{name: mail, trust: untrusted}, {name: items, type: list, default: []}, {name: idle, default: x}]
versions:
  - template: "{{ mail }}"
  - system: Obey {{ mail }}
    template: |
      {{ mail }}
      {% for mail in items %}{{ mail }}{% endfor %}
cases: [{variables: {mail: Hello}}]
"""


@pytest.fixture(autouse=True)
def python_afterwards() -> Iterator[None]:
    yield
    python.forbid()


def lint(tmp_path: Path, *texts: str, strict: bool = False) -> int:
    paths = [tmp_path / f"{number}.yaml" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    with pytest.raises(SystemExit) as caught:
        main(["lint", *map(str, paths), *(["--strict"] if strict else [])])
    return int(caught.value.code or 0)


def test_a_file_that_is_in_order_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(tmp_path, GOOD, strict=True) == 0
    out, err = capsys.readouterr()
    assert "1 versions, 1 cases, all right" in out
    assert err == ""


def test_each_problem_is_said_once_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(tmp_path, WARNED) == 0
    out, err = capsys.readouterr()
    said = [line.partition(".yaml: ")[2].partition(": warning: ") for line in err.splitlines()]
    assert [(place, message.rpartition("[")[2]) for place, _, message in said] == [
        ("triage, version 2: system, line 1, column 9", "untrusted_in_system]"),
        ("triage, version 2: template, line 2, column 8", "variable_shadowed]"),
        ("triage: variables[2]", "variable_unused]"),
    ]
    assert "0 errors, 3 warnings" in out


def test_warnings_fail_when_they_are_to(tmp_path: Path) -> None:
    assert lint(tmp_path, WARNED, strict=True) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{{ who }}", "{{ who }", "template_syntax"),
        ("'Ada' in output", "len(output", "assertion_invalid"),
        ("who: Ada", "whom: Ada", "unknown_variable"),
        ("name: greet", "name: greet, variables: [{name: whom}]", "unknown_variable"),
        ("name: greet", "name: greet, variables: [{name: who, max_length: 2}]", "variable_value"),
    ],
)
def test_a_mistake_fails_and_the_next_file_is_still_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    assert GOOD.count(old) == 1
    assert lint(tmp_path, GOOD.replace(old, new), GOOD) == 2
    out, err = capsys.readouterr()
    assert f"[{said}]" in err
    assert "1.yaml: greet: 1 versions, 1 cases, all right" in out
