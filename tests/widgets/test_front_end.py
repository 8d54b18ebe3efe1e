import re
import shutil
import subprocess
from pathlib import Path

import pytest

from promptcard_ext.widgets import run_view
from promptcard_ext.widgets.base import static_file

HERE = Path(__file__).parent


def test_the_functions_of_the_front_end() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    done = subprocess.run(
        [node, "--test", str(HERE / "run_view.test.mjs")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_small_and_loads_nothing() -> None:
    script, style = static_file("run_view.js"), static_file("run_view.css")
    assert len(script.encode()) <= 40_000
    assert not re.search(r"https?:|\bimport\b\s*[\(\"'{*]|@import|url\(", script + style)


def test_data_reaches_the_page_as_text_only() -> None:
    script = static_file("run_view.js")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function", script
    )


def test_styles_touch_nothing_outside_the_view() -> None:
    style = re.sub(r"@keyframes[^}]*}\s*}", "", static_file("run_view.css"))
    selectors = [one for group in re.findall(r"([^{}]+)\{", style) for one in group.split(",") if "@" not in one]
    assert selectors
    assert [one for one in selectors if not one.strip().startswith(".pcv")] == []


def test_script_and_style_are_given_as_text_not_as_watched_files() -> None:
    assert isinstance(run_view.RunView._esm, str)
    assert isinstance(run_view.RunView._css, str)
