"""Runs of a real server next to each other."""

from __future__ import annotations

import pytest

import promptcard_ext as pc
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import NotFound
from promptcard_ext.kernel.workspace import Workspace
from tests.conftest import StartWorker
from tests.support import ECHO

CASES = [Case({"who": name}, (Assertion("contains", "Hello"),), name=name) for name in ("Ada", "Bo", "Cy")]


def test_runs_are_compared_by_their_ids_and_versions_of_one_run_with_each_other(
    workspace: Workspace, start_worker: StartWorker
) -> None:
    start_worker()
    first = workspace.save(pc.Card("greet", "Hello {{ who }}"), CASES)
    second = workspace.save(pc.Card("greet", "Bye {{ who }}"))
    run = workspace.run("greet", ECHO, versions=[first.version, second.version], name="both").wait(60)
    assert [saved.version for saved in workspace.versions("greet")] == [first.version, second.version]
    alone = workspace.run("greet", ECHO, versions=[second.version], repeats=2).wait(60)

    parts = pc.compare(run.of(version=first.version), run.of(version=second.version))
    assert parts.text.startswith("3 of 3 pairs flipped: 3 pass → fail")
    by_id = pc.compare(str(run.id), str(alone.id), workspace=workspace)
    assert by_id.a.facts.name == "both"
    assert len(by_id.compared.joined.pairs) == 3
    assert by_id.compared.flipped == 0
    assert "repeats: 1 → 2" in [axis.text for axis in by_id.axes]
    assert by_id.results(by_id.entries[0])[0] == run.result(by_id.entries[0].a.ordinal)  # type: ignore[union-attr]
    with pytest.raises(NotFound):
        pc.compare("00000000-0000-0000-0000-000000000000", alone, workspace=workspace)
