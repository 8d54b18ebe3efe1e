"""The labextension that is in the repository, against its sources."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jupyterlab_server.config import get_federated_extensions

from promptcard_ext import __version__
from server_ext.cli import serve
from server_ext.cli.serve import LABEXTENSIONS

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "labextension"
BUILT = LABEXTENSIONS / "promptcards"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def build() -> dict[str, Any]:
    return runpy.run_path(str(SOURCES / "build.py"))


def test_what_is_committed_is_what_its_sources_give(build: dict[str, Any]) -> None:
    assert files(BUILT) == build["built"](), "run: python labextension/build.py"


def test_building_removes_what_an_earlier_build_left(build: dict[str, Any], tmp_path: Path) -> None:
    old = tmp_path / "static" / "old" / "panel.js"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    build["write"](tmp_path)
    assert files(tmp_path) == files(BUILT)
    assert not old.parent.exists()


def test_jupyterlab_takes_it_for_an_extension_and_finds_what_it_is_to_load() -> None:
    found = get_federated_extensions([str(LABEXTENSIONS)])["promptcards"]
    assert found["version"] == __version__
    built = found["jupyterlab"]["_build"]
    assert built["extension"] == "./extension"
    assert (BUILT / built["load"]).is_file()


def test_a_checkout_is_served_as_it_is_now_and_not_as_it_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where Jupyter looks first.
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    installed = tmp_path / "labextensions" / "promptcards"
    shutil.copytree(BUILT, installed)
    assert serve._labextension_installed()
    (installed / "package.json").write_text("{}")
    assert not serve._labextension_installed()


def test_the_functions_of_the_panel() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    command = [node, "--test", *map(str, sorted(HERE.glob("*.test.mjs")))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_small_and_fetches_nothing_from_elsewhere() -> None:
    texts = files(SOURCES / "src")
    assert sum(map(len, texts.values())) <= 40_000
    for name, text in texts.items():
        addresses = set(re.findall(r"https?://[\w./-]+", text.decode()))
        assert addresses <= {"http://www.w3.org/2000/svg"}, name
        assert not re.search(r"@import|url\(", text.decode()), name


def test_data_reaches_the_page_as_text_only() -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function"
    for name, text in files(SOURCES / "src").items():
        assert not re.search(forbidden, text.decode()), name


def test_styles_touch_nothing_outside_the_panel() -> None:
    style = (SOURCES / "src" / "panel.css").read_text("utf-8")
    style = re.sub(r"@media[^{]*{(.*)}\s*$", r"\1", style, flags=re.MULTILINE)
    selectors = [one.strip() for group in re.findall(r"([^{}]+){", style) for one in group.split(",")]
    assert selectors
    assert [one for one in selectors if not one.startswith(".pcl")] == []
