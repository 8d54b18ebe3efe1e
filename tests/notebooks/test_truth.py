"""Where versions and runs say they come from, and whether saved outputs are still true: real kernel, real server."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

from promptcard_ext.core.card import Card
from promptcard_ext.core.errors import FileError
from promptcard_ext.kernel import manifests
from promptcard_ext.kernel.verification import Verification, verify_notebook
from tests.notebooks.conftest import Served
from tests.support import run_command

# nbclient makes a loop of its own and leaves it to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

CELLS = """
%load_ext promptcard_ext
---
%%card NAME
Say hello to {{ who }}.
---
%%case NAME -n ada
vars: {who: Ada}
assert: [{contains: Ada}]
---
%%case NAME -n bo
vars: {who: Bo}
assert: [{contains: Ada}]
---
%run_card NAME simulated:echo -o run --wait
---
run
---
print("nothing of ours")
"""
NOBODY = "01980000-0000-7000-8000-000000000000"
# Numbers of the cells, from 1, that show the version and the run.
VERSION, RUN = 2, (5, 6)


def cells_of(name: str) -> list[str]:
    return [cell.strip() for cell in CELLS.replace("NAME", name).split("---")]


# -- where it comes from ---------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "first", "--allow-empty")):
        subprocess.run(
            ["git", "-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false", *words],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
    return tmp_path


@pytest.fixture
def cell(served: Served, repository: Path) -> Iterator[Callable[[str, str], None]]:
    """A function that runs a cell as JupyterLab does, with its id; the notebook is `greetings.ipynb`."""
    env = {**served.env, "JPY_SESSION_NAME": str(repository / "greetings.ipynb")}
    manager, client = start_new_kernel(startup_timeout=60, env=env, cwd=str(repository))

    def run(cell_id: str, code: str) -> None:
        content = {"code": code, "silent": False, "store_history": True, "stop_on_error": True}
        message = client.session.msg("execute_request", content, metadata={"cellId": cell_id})
        client.shell_channel.send(message)
        reply = _reply(client, message["header"]["msg_id"])
        assert reply["status"] == "ok", reply

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def _reply(client: BlockingKernelClient, request: str) -> dict[str, Any]:
    while True:
        message = client.get_shell_msg(timeout=60)
        if message["parent_header"].get("msg_id") == request:
            content: dict[str, Any] = message["content"]
            return content


def test_a_version_and_a_run_know_their_cell(
    served: Served, repository: Path, cell: Callable[[str, str], None]
) -> None:
    name = f"card-{uuid4().hex[:8]}"
    cell("first", "import promptcard_ext as pc\nws = pc.connect()")
    cell("made-it", f"saved = ws.save(pc.Card('{name}', 'Say hello to {{{{ who }}}}.'), [pc.Case({{'who': 'Ada'}})])")
    cell("again", f"ws.save(pc.Card('{name}', 'Say hello to {{{{ who }}}}.'))")
    cell("second", f"ws.save(pc.Card('{name}', 'Greet {{{{ who }}}}.', note='shorter'))")
    cell("ran-it", f"run = ws.run('{name}', 'simulated:echo'); run.wait()")
    cell("asked", f"assert 'cell made-it' in repr(ws.origin('{name}', 1)), ws.origin('{name}', 1)")

    origin = served.workspace.origin(name, 1)
    assert origin.provenance.notebook == "greetings.ipynb"
    assert origin.provenance.cell_id == "made-it"
    assert origin.provenance.git_commit
    assert origin.provenance.git_dirty is False
    assert len(origin.provenance.environment_hash or "") == 64
    history = served.workspace.history(name)
    assert [(one.label, one.provenance.cell_id, one.note) for one in history] == [
        (f"{name}@2", "second", "shorter"),
        (f"{name}@1", "made-it", ""),
    ]
    assert "second" in history._repr_html_()
    run = next(iter(served.workspace.api.runs.list(card=name)))
    assert run.provenance is not None
    assert run.provenance.cell_id == "ran-it"
    assert run.provenance.environment_hash == origin.provenance.environment_hash


# -- whether it is still true ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def executed(served: Served, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, nbformat.NotebookNode]:
    """A card's name, and a notebook that makes and runs it."""
    name = f"card-{uuid4().hex[:8]}"
    return name, served.execute(cells_of(name), tmp_path_factory.mktemp("book"))


@pytest.fixture
def verify(served: Served, tmp_path: Path) -> Callable[[Any], Verification]:
    """A function that saves a notebook and holds it against the store."""

    def verified(book: Any) -> Verification:
        path = tmp_path / "book.ipynb"
        nbformat.write(book, path)
        return verify_notebook(path, workspace=served.workspace)

    return verified


def flags(found: Verification) -> list[tuple[int, str]]:
    assert found.ok == (not found.flags)
    return [(flag.cell, flag.kind) for flag in found.flags]


def test_a_notebook_that_nobody_touched_is_true(
    executed: tuple[str, nbformat.NotebookNode], verify: Callable[[Any], Verification]
) -> None:
    found = verify(executed[1])
    assert flags(found) == []
    assert found.outputs == 3
    assert found.unchecked == 0


def test_edited_numbers_are_flagged(
    executed: tuple[str, nbformat.NotebookNode], verify: Callable[[Any], Verification]
) -> None:
    book = copy.deepcopy(executed[1])
    shown = book.cells[RUN[1] - 1].outputs[0].data
    assert "pass 50%" in shown["text/plain"]
    shown["text/plain"] = shown["text/plain"].replace("pass 50%", "pass 90%")
    found = verify(book)
    assert flags(found) == [(RUN[1], "edited")]
    assert found.flags[0].cell_id == book.cells[RUN[1] - 1].id
    assert "edited" in repr(found)
    assert "edited" in found._repr_html_()


def test_edited_html_is_flagged(
    executed: tuple[str, nbformat.NotebookNode], verify: Callable[[Any], Verification]
) -> None:
    book = copy.deepcopy(executed[1])
    shown = book.cells[RUN[0] - 1].outputs[0].data
    shown["text/html"] = shown["text/html"].replace("50%", "90%")
    assert flags(verify(book)) == [(RUN[0], "edited")]


def test_numbers_that_the_store_does_not_have_are_flagged_even_under_a_fitting_hash(
    executed: tuple[str, nbformat.NotebookNode], verify: Callable[[Any], Verification]
) -> None:
    book = copy.deepcopy(executed[1])
    output = book.cells[RUN[1] - 1].outputs[0]
    output.data["text/plain"] = "<Run completed: 2 of 2, pass 100%>"
    output.metadata[manifests.KEY]["numbers"]["passed"] = 2
    output.metadata[manifests.KEY]["shown"] = manifests.shown_hash(output.data)
    found = verify(book)
    assert flags(found) == [(RUN[1], "numbers")]
    assert "passed 2, now 1" in found.flags[0].message


def test_a_run_or_a_version_that_is_not_there_is_flagged(
    executed: tuple[str, nbformat.NotebookNode], verify: Callable[[Any], Verification]
) -> None:
    book = copy.deepcopy(executed[1])
    book.cells[RUN[1] - 1].outputs[0].metadata[manifests.KEY]["run"] = str(uuid4())
    version = book.cells[VERSION - 1].outputs[0].metadata[manifests.KEY]
    version["versions"] = {str(uuid4()): label for label in version["versions"].values()}
    assert flags(verify(book)) == [(VERSION, "gone"), (RUN[1], "gone")]


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"workspace": 1, "run": [], "versions": "x", "numbers": 7, "shown": None},
        {
            "workspace": "../../x?y#z",
            "run": "../cards",
            "versions": {"a": "../b@1", "c": 3, "d": "@", "e": "x@" + "9" * 99},
        },
        {"workspace": NOBODY, "run": "\ud800\u202e<b>", "versions": {}, "numbers": {"total": {"x": 1}}},
        {"workspace": NOBODY, "run": NOBODY, "versions": {"\ud800": "greet@1"}},
        {"workspace": NOBODY, "run": None, "versions": {"x\u202e": "greet@1", "y": "../b@1"}},
    ],
)
def test_whatever_a_manifest_says_the_notebook_is_gone_through(
    manifest: dict[str, Any], served: Served, tmp_path: Path
) -> None:
    output = {
        "output_type": "display_data",
        "data": {"text/plain": ["a\n", "b"]},
        "metadata": {"promptcards": manifest},
    }
    path = tmp_path / "odd.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "id": 3, "outputs": [output]}]}))
    found = verify_notebook(path, workspace=served.workspace)
    assert found.flags[0].kind == "edited"
    assert "\u202e" not in repr(found)


def test_a_notebook_can_look_at_itself(
    executed: tuple[str, nbformat.NotebookNode], served: Served, tmp_path: Path
) -> None:
    path = tmp_path / "self.ipynb"
    nbformat.write(executed[1], path)
    book = served.execute(
        ["import promptcard_ext as pc\npc.verify_notebook()"], tmp_path, JPY_SESSION_NAME=str(path)
    )
    shown = book.cells[0].outputs[0].data
    assert shown["text/plain"] == "<Verification self.ipynb: 3 outputs; as in the store>"
    assert "✓ self.ipynb" in shown["text/html"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{"outputs": [null]}]}'])
def test_what_is_no_notebook_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "no.ipynb"
    path.write_text(text)
    with pytest.raises(FileError) as caught:
        verify_notebook(path)
    assert caught.value.code == "notebook_invalid"


def test_the_outputs_of_a_run_of_the_kernel_are_held_against_themselves(
    served: Served, verify: Callable[[Any], Verification], tmp_path: Path
) -> None:
    book = served.execute(
        [
            "import promptcard_ext as pc\ncard = pc.Card('c', 'Hi {{ x }}')",
            "run = pc.run(card, [{'x': 1}], 'simulated:echo').wait()\nrun",
        ],
        tmp_path,
    )
    found = verify(book)
    assert (flags(found), found.unchecked) == ([], 1)
    book.cells[1].outputs[0].data["text/plain"] = "<Run 'c' completed: 9 of 9>"
    assert flags(verify(book)) == [(2, "edited")]


def test_the_command_tells_by_its_exit_code_and_a_newer_version_is_flagged(served: Served, tmp_path: Path) -> None:
    name = f"card-{uuid4().hex[:8]}"
    book = served.execute(cells_of(name), tmp_path)
    path = tmp_path / "book.ipynb"
    nbformat.write(book, path)
    where = {"PROMPTCARDS_URL": served.workspace.api.session.address.url, "PROMPTCARDS_TOKEN": served.token}
    done = run_command(served.home, "verify", str(path), **where)
    assert (done.returncode, done.stdout) == (0, "book.ipynb: 3 outputs; as in the store\n"), done.stderr

    served.workspace.save(Card(name, "Greet {{ who }}."))
    done = run_command(served.home, "verify", str(path), **where)
    assert done.returncode == 10
    assert done.stdout.count("[moved]") == 3
    assert f"{name}@1, now 2" in done.stdout
    assert run_command(served.home, "verify", str(tmp_path / "none.ipynb"), **where).returncode == 2
    assert run_command(served.home, "verify", str(path), PROMPTCARDS_URL="http://127.0.0.1:9/").returncode == 1
