"""Finding out where a version is made, in folders of all kinds."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

import promptcard_ext as pc
from promptcard_ext.cli import build_parser
from promptcard_ext.core.contract.provenance import Provenance
from promptcard_ext.kernel import provenance
from promptcard_ext.kernel.origin import kept_origin

CODE = "ws.save(card)"
Kernel = Callable[..., None]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_git", provenance._Git())
    monkeypatch.delenv("PROMPTCARDS_PROVENANCE", raising=False)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Pretend to be in a kernel that carries out a request."""

    def pretend(request: Any) -> None:
        shell = SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda channel: request), user_ns={})
        monkeypatch.setattr(provenance, "_shell", lambda: shell)

    return pretend


def execution(code: Any = CODE, **metadata: Any) -> dict[str, Any]:
    return {"header": {"msg_type": "execute_request"}, "content": {"code": code}, "metadata": metadata}


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository with a commit, and a notebook in it."""
    root = tmp_path / "work"
    (root / "notebooks").mkdir(parents=True)
    (root / "notebooks" / "a.ipynb").write_text("{}")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    monkeypatch.setenv("JPY_SESSION_NAME", str(root / "notebooks" / "a.ipynb"))
    return root


def found() -> Provenance:
    here = provenance.here()
    assert here is not None
    # What the server takes.
    assert msgspec.json.decode(msgspec.json.encode(here), type=Provenance) == here
    return here


def test_a_cell_in_a_repository_is_known_whole(repository: Path, kernel: Kernel) -> None:
    kernel(execution(cellId="8c1d"))
    here = found()
    assert here.notebook == "notebooks/a.ipynb"
    assert here.cell_id == "8c1d"
    assert here.cell_hash == hashlib.sha256(CODE.encode()).hexdigest()
    assert here.environment_hash == provenance.environment_hash()
    assert (here.git_commit, here.git_dirty) == (git(repository, "rev-parse", "HEAD"), False)


def test_what_is_done_later_in_the_output_of_a_cell_is_of_that_cell_and_the_commit_of_then(
    repository: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel(execution(cellId="8c1d"))
    then = provenance.staying()
    kernel(execution("another()", cellId="ffff"))
    (repository / "notebooks" / "a.ipynb").write_text("changed")
    made = then()
    assert made is not None
    assert (made.cell_id, made.cell_hash) == ("8c1d", hashlib.sha256(CODE.encode()).hexdigest())
    assert (made.notebook, made.git_dirty) == ("notebooks/a.ipynb", True)
    monkeypatch.setenv("PROMPTCARDS_PROVENANCE", "off")
    assert then() is None


def test_a_changed_file_makes_it_dirty_and_a_new_one_does_not(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "new.txt").write_text("x")
    assert found().git_dirty is False
    monkeypatch.setattr(provenance, "_git", provenance._Git())
    (repository / "notebooks" / "a.ipynb").write_text("changed")
    assert found().git_dirty is True


def test_without_a_commit_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "a.ipynb"))
    assert found().git_commit is None


def test_outside_of_repositories_and_kernels_only_the_packages_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert found() == Provenance(environment_hash=provenance.environment_hash())


@pytest.mark.parametrize(
    "request_",
    [
        None,
        "nothing",
        {},
        {"header": {"msg_type": "comm_msg"}, "content": {"code": CODE}, "metadata": {"cellId": "x"}},
        {"header": {"msg_type": "execute_request"}, "content": None, "metadata": None},
        execution(code=None, cellId=None),
        execution(code=["x"], cellId={"x": 1}),
    ],
)
def test_odd_requests_are_no_cell(
    request_: Any, kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kernel(request_)
    here = provenance.here()
    assert here is None or (here.cell_id, here.cell_hash) == (None, None)


def test_long_and_odd_names_are_bounded(kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kernel(execution(code="\ud800" * 10, cellId="i" * 5000))
    monkeypatch.setenv("JPY_SESSION_NAME", "/" + "d\u202e<b>" * 1000 + ".ipynb")
    here = found()
    assert len(here.cell_id or "") == 100
    assert len(here.notebook or "") == 1000


def test_a_path_at_home_is_told_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "deep" / "a.ipynb"))
    assert found().notebook == "~/deep/a.ipynb"


def test_it_can_be_switched_off(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCARDS_PROVENANCE", "off")
    assert provenance.here() is None


def test_nothing_that_the_settings_of_a_repository_name_is_started(repository: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path / 'caught'}\n")
    trap.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(trap))
    git(repository, "config", "core.pager", str(trap))
    assert found().git_commit
    assert not (tmp_path / "caught").exists()


def test_a_git_that_hangs_is_left_alone_for_a_while(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = tmp_path / "called"
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\necho x >> {called}\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(provenance, "GIT_TIMEOUT_S", 0.1)
    for _ in range(3):
        here = found()
        assert here.git_commit is None
        assert here.notebook is not None
    assert called.read_text() == "x\n"


def test_a_save_does_not_fail_by_what_cannot_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise RuntimeError("anything")

    monkeypatch.setattr(provenance, "environment_hash", broken)
    assert provenance.here() is None


def test_packages_are_sorted_with_their_versions_and_the_first_on_the_path_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, names in {
        "one": ["Some_Thing-2.0.dist-info", "alpha-1.dist-info", "no-package", "x.py"],
        "two": ["some_thing-1.0.dist-info"],
    }.items():
        for name in names:
            (tmp_path / place / name).mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "missing")])
    assert provenance.installed() == ["alpha==1", "some-thing==2.0"]
    before = provenance.environment_hash()
    (tmp_path / "one" / "beta-1.dist-info").mkdir()
    assert provenance.environment_hash() != before


def test_a_run_that_is_kept_on_this_machine_says_where_it_was_started(
    repository: Path,
    kernel: Kernel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PROMPTCARDS_HOME", str(tmp_path / "home"))
    kernel(execution(cellId="8c1d"))
    run = pc.run(pc.Card("greet", "Hi {{ who }}"), [{"who": "Ada"}], "simulated:echo", keep=True).wait()
    assert run.kept_as is not None
    main_of_runs(run.kept_as)
    said = capsys.readouterr().out
    commit = git(repository, "rev-parse", "HEAD")[:12]
    assert f"Started from notebooks/a.ipynb, cell 8c1d, commit {commit}." in said


@pytest.mark.parametrize("written", [3, "x", {"git_dirty": "yes"}, {"unheard": 1}, None, {}, {"notebook": "x" * 2000}])
def test_whatever_the_head_of_a_kept_run_says_of_it_is_no_error(written: object) -> None:
    assert kept_origin({"provenance": written}) == ""


def main_of_runs(run_id: str) -> None:
    arguments = build_parser().parse_args(["runs", run_id])
    assert arguments.command(arguments) == 0
