import re
import shutil
import subprocess
from pathlib import Path

import pytest

from promptcard_ext.widgets.base import static_file
from promptcard_ext.widgets.card_editor import CardEditor

HERE = Path(__file__).parent
SCRIPTS = ("greeting.js", "card_draft.js", "card_editor.js")


def node(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    program = shutil.which("node")
    if program is None:
        pytest.skip("Node.js is not installed")
    return subprocess.run([program, *arguments], input=text, capture_output=True, text=True, timeout=120)


def test_the_functions_of_the_front_end() -> None:
    done = node("--test", str(HERE / "card_draft.test.mjs"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_two_files_are_one_module_that_parses() -> None:
    assert isinstance(CardEditor._esm, str)
    assert isinstance(CardEditor._css, str)
    done = node("--check", "--input-type=module", text=CardEditor._esm)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_part_is_small(name: str) -> None:
    assert len(static_file(name).encode()) <= 40_000


def test_what_the_browser_gets_loads_nothing() -> None:
    assert not re.search(r"https?:|\bimport\b\s*[\(\"'{*]|\bfrom \"", CardEditor._esm)
    assert not re.search(r"https?:|@import|url\(", CardEditor._css)


@pytest.mark.parametrize("name", SCRIPTS)
def test_data_reaches_the_page_as_text_only(name: str) -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function", static_file(name)
    )


def test_styles_touch_nothing_outside_the_editor() -> None:
    style = static_file("card_editor.css")
    selectors = [one for group in re.findall(r"([^{}]+)\{", style) for one in group.split(",") if "@" not in one]
    assert selectors
    assert [one for one in selectors if not one.strip().startswith(".pce")] == []
