"""A run on disk: what was asked, and every result, so that it can go on after anything.

A run is a folder with ``run.json`` (what is run, and how far it is), ``cases.jsonl`` and ``results.jsonl``. It needs
none of the files it was started from.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import Conflict, NotFound, PromptCardError
from promptcard_ext.core.results import Counts
from promptcard_ext.core.shown import html_of
from promptcard_ext.local import records
from promptcard_ext.local.case_spool import CaseSpool
from promptcard_ext.local.folders import explained, make_private, replace_file, runs_folder
from promptcard_ext.local.results_log import ResultsLog
from promptcard_ext.local.run_head import FORMAT, RunHead, find_run, invalid, new_id, read_head, run_paths
from promptcard_ext.local.run_lock import RunLock


class RunFolder:
    """One run on disk, made by `create`, `open` or `latest`.

    Attributes:
        path: The folder.
        head: What ``run.json`` says.
        cases: The cases, read when they are needed.
        results: The results; appended to by whoever holds the run.
    """

    def __init__(self, path: Path, head: RunHead, cases: CaseSpool, results: ResultsLog, lock: RunLock | None) -> None:
        self.path, self.head, self.cases, self.results = path, head, cases, results
        self._lock = lock

    @property
    def id(self) -> str:
        """Name of the folder, such as ``20261125-014233-triage-3f2a``; later runs come later in the alphabet."""
        return self.head.id

    @classmethod
    def create(
        cls,
        name: str,
        *,
        cards: Sequence[Card],
        models: Sequence[str],
        cases: Iterable[Case | Mapping[str, Any]],
        repeats: int = 1,
        options: Mapping[str, Any] | None = None,
        base: Path | None = None,
        now: datetime | None = None,
    ) -> RunFolder:
        """Make the folder of a new run, and hold it.

        Args:
            name: What to call it; part of the id.
            options: Anything that is JSON and needed to go on.
            base: Where runs are kept, by default `folders.runs_folder`.
            now: When it begins; by default now.

        Raises:
            CardError: As `CaseSpool.write` says.
            FileError: Nothing can be written there (``run_unusable``, ``cases_unusable``, ``results_unusable``).
        """
        started = now or datetime.now(UTC)
        path = (base or runs_folder()) / new_id(name, started)
        with explained(path, code="run_unusable"):
            make_private(path.parent)
            path.mkdir(mode=0o700)
        try:
            lock = RunLock.take(path)
            spool = CaseSpool.write(cases, path / "cases.jsonl")
            head = RunHead(
                FORMAT, path.name, name or path.name, tuple(cards), tuple(models), spool.sha256, repeats,
                dict(options or {}), started, "running", None,
            )  # fmt: skip
            folder = cls(path, head, spool, ResultsLog(path / "results.jsonl"), lock)
            folder._save()
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return folder

    @classmethod
    def open(cls, run_id: str, *, base: Path | None = None, write: bool = True) -> RunFolder:
        """Open a run, to go on with it or to read it.

        Args:
            run_id: Its id; the beginning is enough when no other begins so.
            base: Where runs are kept, by default `folders.runs_folder`.
            write: Whether to go on with it, and hold it against other processes.

        Raises:
            NotFound: There is no such run (``run_not_found``).
            Conflict: Another process holds it (``run_busy``).
            FileError: What is in the folder does not belong together or cannot be read (``run_invalid``,
                ``cases_invalid``, ``results_invalid``), or is of a newer version (``run_newer``).
        """
        return cls._open(find_run(run_id, base or runs_folder()), write)

    @classmethod
    def latest(
        cls, *, card: str | None = None, unfinished: bool = False, base: Path | None = None, write: bool = True
    ) -> RunFolder:
        """Open the run that was started last.

        Args:
            card: Only a run of this card.
            unfinished: Only a run that did not complete; one that another process works on is passed over.
            base, write: As for `open`.

        Raises:
            NotFound: There is none (``run_not_found``).
            Conflict, FileError: As `open` says.
        """
        base, busy = base or runs_folder(), None
        for head in cls.list(base):
            wanted = card is None or any(one.name == card for one in head.cards)
            if wanted and not (unfinished and head.status == "completed"):
                try:
                    return cls._open(base / head.id, write)
                except Conflict as error:
                    busy = busy or error
                    if not unfinished:
                        break
        raise busy or NotFound(
            "There is no run" + f" of card '{card}'" * (card is not None) + " that did not complete" * unfinished + ".",
            hint="'jupyter promptcards runs' lists those there are.",
            code="run_not_found",
        )

    @classmethod
    def _open(cls, path: Path, write: bool) -> RunFolder:
        lock = RunLock.take(path) if write else None
        try:
            head = read_head(path)
            cases = CaseSpool.open(path / "cases.jsonl")
            if cases.sha256 != head.cases_sha256:
                raise invalid(path, "its cases were changed")
            return cls(path, head, cases, ResultsLog(path / "results.jsonl", write=write), lock)
        except BaseException:
            if lock is not None:
                lock.release()
            raise

    def finish(self, status: str, counts: Counts) -> None:
        """Write how the run ended; whatever dies meanwhile, ``run.json`` is whole.

        Raises:
            FileError: It cannot be written (``run_unusable``, ``results_unusable``).
        """
        self.results.flush()
        self.head = msgspec.structs.replace(self.head, status=status, counts=copy(counts))
        self._save()

    def _save(self) -> None:
        with explained(self.path / "run.json", code="run_unusable"):
            replace_file(self.path / "run.json", records.encode(self.head) + b"\n")

    def release(self) -> None:
        """Write what is left and let others go on with the run; its results can still be read."""
        try:
            self.results.flush()
        finally:
            if self._lock is not None:
                self._lock.release()

    def close(self) -> None:
        """Write what is left, close the files and let others go on with the run."""
        try:
            self.results.close()
        finally:
            self.cases.close()
            if self._lock is not None:
                self._lock.release()

    def _repr_html_(self) -> str | None:
        return html_of(self)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def remove(run_id: str, *, base: Path | None = None) -> None:
        """Remove a run and all its results.

        Raises:
            NotFound: There is no such run (``run_not_found``).
            Conflict: A process works on it (``run_busy``).
            FileError: The system refuses (``run_unusable``).
        """
        path = find_run(run_id, base or runs_folder())
        lock = RunLock.take(path)
        try:
            with explained(path, code="run_unusable"):
                shutil.rmtree(path)
        finally:
            lock.release()

    @staticmethod
    def list(base: Path | None = None) -> list[RunHead]:
        """Return the runs there are, latest first; folders that are none, or cannot be read, are passed over."""
        found = []
        for path in run_paths(base or runs_folder()):
            # One broken folder must not hide the others; `open` says what is wrong with it.
            with suppress(PromptCardError):
                found.append(read_head(path))
        return found
