import re
import shutil
import subprocess
from pathlib import Path

import pytest

from promptcard_ext.widgets.base import joined_files, static_file
from promptcard_ext.widgets.case_table import CaseTable

HERE = Path(__file__).parent
SCRIPTS = ("greeting.js", "windows.js", "case_table.js", "assertion_panel.js")


def test_the_functions_of_the_front_end() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    done = subprocess.run(
        [node, "--test", str(HERE / "case_table.test.mjs")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_part_is_small(name: str) -> None:
    assert len(static_file(name).encode()) <= 40_000


def test_what_the_browser_gets_loads_nothing() -> None:
    found = CaseTable._esm + static_file("case_table.css")
    assert not re.search(r"https?:|\bimport\b\s*[\(\"'{*]|\bfrom \"|@import|url\(", found)


@pytest.mark.parametrize("name", SCRIPTS)
def test_data_reaches_the_page_as_text_only(name: str) -> None:
    found = re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write\(|DOMParser|\beval\b|new Function", static_file(name)
    )
    assert found is None


def test_styles_touch_nothing_outside_the_table() -> None:
    style = static_file("case_table.css")
    selectors = [one for group in re.findall(r"([^{}]+)\{", style) for one in group.split(",") if "@" not in one]
    assert selectors
    assert [one for one in selectors if not one.strip().startswith(".pct")] == []


def test_it_is_one_module_of_text(tmp_path: Path) -> None:
    assert CaseTable._esm == joined_files(*SCRIPTS)
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    whole = tmp_path / "whole.mjs"
    whole.write_text(CaseTable._esm, "utf-8")
    subprocess.run([node, "--check", str(whole)], check=True, timeout=60)
