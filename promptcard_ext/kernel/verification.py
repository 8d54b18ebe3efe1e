"""Saved outputs held against the store: do they still say what is true?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from promptcard_ext.client.api import WorkspaceApi
from promptcard_ext.core.card import NAME
from promptcard_ext.core.contract.runs import RunOut
from promptcard_ext.core.errors import FileError, NotFound
from promptcard_ext.interchange.yaml_document import read_text
from promptcard_ext.kernel import manifests
from promptcard_ext.kernel import workspace as workspaces
from promptcard_ext.kernel.html_table import cut, esc, framed, name_of, table
from promptcard_ext.kernel.provenance import notebook_path
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.kernel.workspace import Workspace, connect

MAX_BYTES = 200_000_000
# A notebook may come from anybody: nothing but this becomes part of an address.
_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_PROBLEMS = {
    "edited": "what it shows was changed after it was made",
    "numbers": "the store says something else",
    "gone": "what it shows is not in the store",
    "moved": "the card has a newer version than this notebook shows",
}


class Flag(NamedTuple):
    """Something wrong with an output.

    Attributes:
        cell: Number of the cell in the notebook, from 1.
        cell_id: Its id; empty when it has none.
        kind: ``edited``, ``numbers``, ``gone`` or ``moved``.
        message: What is wrong.
    """

    cell: int
    cell_id: str
    kind: str
    message: str


class Verification:
    """What came of holding a notebook against the store; a notebook shows it as a table.

    Attributes:
        path: The notebook.
        outputs: How many outputs of ours it has.
        unchecked: How many of them are of runs that were never on a server: they were held against themselves only.
        flags: What is wrong.
    """

    def __init__(self, path: Path, outputs: int, unchecked: int, flags: list[Flag]) -> None:
        self.path, self.outputs, self.unchecked, self.flags = path, outputs, unchecked, flags

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.flags

    @property
    def text(self) -> str:
        """The result in one line."""
        number = f"{self.outputs} output{'s' if self.outputs != 1 else ''}"
        wrong = len({flag.cell for flag in self.flags})
        said = "as in the store" if self.ok else f"{wrong} cell{'s' if wrong != 1 else ''} not as in the store"
        alone = f", {self.unchecked} of runs without a server" if self.unchecked else ""
        return harmless(
            f"{self.path.name}: {number}{alone}; {said}" if self.outputs else f"{self.path.name}: no output"
        )

    def __repr__(self) -> str:
        lines = [f"  cell {flag.cell} [{flag.kind}]: {flag.message}" for flag in self.flags]
        return harmless("\n".join([f"<Verification {self.text}>", *lines]))

    def _repr_html_(self) -> str:
        rows = [[str(one.cell), name_of(one.cell_id), esc(one.kind), cut(one.message)] for one in self.flags]
        flags = table(["cell", "id", "problem", "what"], rows, len(rows), small=True) if rows else ""
        return framed(f"<h4>{'✓' if self.ok else '✗'} {esc(self.text)}</h4>{flags}")


def verify_notebook(path: str | Path | None = None, *, workspace: Workspace | None = None) -> Verification:
    """Hold the outputs of a saved notebook against the store.

    Flagged are outputs that were changed after they were made, whose numbers are not those of the store, whose run or
    card version is gone, and those of a card that has a newer version than any that the notebook shows.

    Args:
        path: The notebook; default the one of this kernel, as it was saved last.
        workspace: Whose server to ask; default that of the last `pc.connect`, else as `pc.connect` finds it.

    Raises:
        FileError: It is no notebook (``notebook_invalid``), cannot be read, or this kernel's notebook is not known
            (``notebook_unknown``).
        Unavailable: There is no server, or it does not answer.
    """
    found = Path(path) if path is not None else notebook_path()
    if found is None:
        raise FileError(
            "It is not known which notebook this kernel belongs to.",
            hint="Give its path: pc.verify_notebook('report.ipynb').",
            code="notebook_unknown",
        )
    outputs = [*_outputs(found)]
    if workspace is None and any(output.workspace for output in outputs):
        workspace = workspaces.latest or connect()
    return _Verifier(found, outputs, workspace).verification()


class _Output(NamedTuple):
    cell: int
    cell_id: str
    data: dict[str, Any]
    manifest: dict[str, Any]

    @property
    def workspace(self) -> str | None:
        """Id of the workspace; None for what was never on a server, and for what is no id."""
        given = self.manifest.get("workspace")
        return given if isinstance(given, str) and _is_id(given) else None

    @property
    def versions(self) -> Iterator[tuple[str, str, int]]:
        """Id, card and number of the versions that are shown."""
        given = self.manifest.get("versions")
        for version_id, label in given.items() if isinstance(given, dict) else ():
            name, _, number = label.rpartition("@") if isinstance(label, str) else ("", "", "")
            if NAME.fullmatch(name) and _NUMBER.fullmatch(number):
                yield version_id, name, int(number)


def _outputs(path: Path) -> Iterator[_Output]:
    """Yield the outputs of ours in a notebook file, which may have been written by anybody."""
    try:
        cells = json.loads(read_text(path, MAX_BYTES))["cells"]
        for number, cell in enumerate(cells, 1):
            for output in cell.get("outputs", ()):
                manifest = output.get("metadata", {}).get(manifests.KEY)
                if isinstance(manifest, dict):
                    yield _Output(number, str(cell.get("id", ""))[:100], dict(output.get("data", {})), manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise FileError(f"{path} is not a notebook.", code="notebook_invalid") from None


class _Verifier:
    """Holds the outputs of one notebook against the store; asks for each thing once."""

    def __init__(self, path: Path, outputs: list[_Output], workspace: Workspace | None) -> None:
        self._path, self._outputs, self._workspace = path, outputs, workspace
        self._flags: list[Flag] = []
        self._runs: dict[tuple[str, str], RunOut | None] = {}
        self._latest: dict[tuple[str, str], int] = {}

    def verification(self) -> Verification:
        """Return what came of it."""
        unchecked = 0
        for output in self._outputs:
            if output.manifest.get("shown") != manifests.shown_hash(output.data):
                self._flag(output, "edited")
            place, run_id = output.workspace, output.manifest.get("run")
            if place is None:
                unchecked += 1
            elif run_id is not None:
                self._check_run(output, place, str(run_id))
            else:
                self._check_versions(output, place)
        self._check_newest()
        flags = sorted(self._flags, key=lambda flag: flag.cell)
        return Verification(self._path, len(self._outputs), unchecked, flags)

    def _flag(self, output: _Output, kind: str, detail: str = "") -> None:
        message = _PROBLEMS[kind] + (f": {detail}" if detail else "")
        self._flags.append(Flag(output.cell, output.cell_id, kind, harmless(message)))

    def _api(self, place: str) -> WorkspaceApi:
        assert self._workspace is not None
        own = self._workspace
        return own.api if place == own.id else WorkspaceApi(own.api.session, place)

    def _check_run(self, output: _Output, place: str, run_id: str) -> None:
        key = (place, run_id)
        if key not in self._runs:
            self._runs[key] = self._run(place, run_id)
        run = self._runs[key]
        if run is None:
            self._flag(output, "gone", f"run {run_id:.60}")
            return
        now, shown = manifests.numbers(run.status, run.counts), output.manifest.get("numbers")
        before = shown if isinstance(shown, dict) else {}
        differing = [
            f"{name} {before.get(name)!s:.40}, now {value}" for name, value in now.items() if before.get(name) != value
        ]
        if differing:
            self._flag(output, "numbers", "; ".join(differing))

    def _run(self, place: str, run_id: str) -> RunOut | None:
        try:
            return self._api(place).runs.get(run_id) if _is_id(run_id) else None
        except NotFound:
            return None

    def _check_versions(self, output: _Output, place: str) -> None:
        for version_id, name, number in output.versions:
            try:
                found = str(self._api(place).versions.get(name, number).value.id)
            except NotFound:
                found = ""
            if found != version_id:
                self._flag(output, "gone", f"card version {name}@{number}")

    def _check_newest(self) -> None:
        """Flag what shows the newest version in this notebook of a card that has a newer one in the store."""
        newest: dict[tuple[str, str], int] = {}
        shown: list[tuple[_Output, tuple[str, str], int]] = []
        for output in self._outputs:
            for _, name, number in output.versions if output.workspace else ():
                key = (str(output.workspace), name)
                newest[key] = max(newest.get(key, 0), number)
                shown.append((output, key, number))
        for output, key, version in shown:
            latest = self._latest_of(key)
            if version == newest[key] and latest > version:
                self._flag(output, "moved", f"{key[1]}@{version}, now {latest}")

    def _latest_of(self, key: tuple[str, str]) -> int:
        if key not in self._latest:
            place, name = key
            try:
                self._latest[key] = self._api(place).cards.get(name).value.latest_version
            except NotFound:  # out of use, or gone with its run, which is flagged by itself
                self._latest[key] = 0
        return self._latest[key]


def _is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None
