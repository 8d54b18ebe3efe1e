import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from promptcard_ext.widgets import run_view
from promptcard_ext.widgets.base import static_file

HERE = Path(__file__).parent
PARTS = [
    "greeting.js",
    "windows.js",
    "rows.js",
    "page.js",
    "run_matrix.js",
    "run_story.js",
    "run_controls.js",
    "run_view.js",
]


def test_the_functions_of_the_front_end(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    module = tmp_path / "run_view.mjs"
    module.write_text(run_view.RunView._esm, "utf-8")
    tests = sorted(str(path) for path in HERE.glob("run_*.test.mjs"))
    environment = os.environ | {"RUN_VIEW_MODULE": module.as_uri()}
    done = subprocess.run([node, "--test", *tests], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_small_and_needs_only_other_parts(part: str) -> None:
    script = static_file(part)
    assert len(script.encode()) <= 40_000
    found = re.findall(r"^(?:import|export) [^;]*? from (\S+);$", script, re.MULTILINE)
    assert {name.strip('"').removeprefix("./") for name in found} <= set(PARTS[: PARTS.index(part)])


def test_what_the_browser_gets_is_one_module_that_loads_nothing() -> None:
    script, style = run_view.RunView._esm, static_file("run_view.css")
    assert not re.search(r"https?:|\bimport\b\s*[\(\"'{*]|\bfrom \"|@import|url\(", script + style)
    names = re.findall(r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)", script, re.MULTILINE)
    assert len(names) == len(set(names))
    assert script.count("export default") == 1


def test_data_reaches_the_page_as_text_only() -> None:
    script = run_view.RunView._esm
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
