"""Results as JUnit XML, which build servers show."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import IO
from xml.sax.saxutils import escape, quoteattr

from promptcard_ext.core.results import ItemResult, Outcome, Verdict

MAX_OUTPUT_CHARS = 10_000
# XML 1.0, section 2.2: what is no character there may not even be written as a reference.
_NO_CHARACTER = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAG = {Outcome.FAIL: "failure", Outcome.ERROR: "error", Outcome.UNSCORED: "skipped"}


def write_junit(path: Path, results: Iterable[ItemResult]) -> None:
    """Write one test suite per card version and model, and one test case per item.

    A fail is a ``failure``, an error an ``error``, an item that nobody judged is ``skipped``: none of them looks like a
    pass. The answer and what each assertion said are in ``system-out``.
    """
    suites: dict[tuple[str, str], _Suite] = {}
    try:
        for result in results:
            key = (result.label, result.model)
            if key not in suites:
                suites[key] = _Suite(f"{result.label} × {result.model}")
            suites[key].add(result)
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
            totals = [sum(suite.counts[outcome] for suite in suites.values()) for outcome in Outcome]
            seconds = sum((suite.seconds for suite in suites.values()), Decimal(0))
            file.write(f'<testsuites name="promptcards"{_attributes(totals, seconds)}>\n')
            for suite in suites.values():
                suite.write(file)
            file.write("</testsuites>\n")
    finally:
        for suite in suites.values():
            suite.close()


class _Suite:
    """One test suite; its cases wait in a temporary file, because their number stands before them."""

    def __init__(self, name: str) -> None:
        self.name, self.seconds = name, Decimal(0)
        self.counts = dict.fromkeys(Outcome, 0)
        self._cases: IO[str] = tempfile.SpooledTemporaryFile(  # noqa: SIM115  closed in `close`
            2_000_000, mode="w+", encoding="utf-8", newline="\n"
        )

    def add(self, result: ItemResult) -> None:
        """Add one item."""
        self.counts[result.outcome] += 1
        milliseconds = result.generation.latency_ms if result.generation else 0.0
        seconds = Decimal(f"{milliseconds / 1000:.3f}")
        self.seconds += seconds
        name = result.case + (f" (repeat {result.repeat + 1})" if result.repeat else "")
        head = f"<testcase name={_attribute(name)} classname={_attribute(self.name)} time={_attribute(str(seconds))}>"
        self._cases.write(f"{head}\n{_verdict(result)}{_system_out(result)}</testcase>\n")

    def write(self, file: IO[str]) -> None:
        """Write the suite."""
        totals = _attributes(list(self.counts.values()), self.seconds)
        file.write(f"<testsuite name={_attribute(self.name)}{totals}>\n")
        self._cases.seek(0)
        while piece := self._cases.read(1_000_000):
            file.write(piece)
        file.write("</testsuite>\n")

    def close(self) -> None:
        """Remove the temporary file."""
        self._cases.close()


def _attributes(totals: list[int], seconds: Decimal) -> str:
    passed, failed, errors, unscored = totals
    tests = passed + failed + errors + unscored
    return f' tests="{tests}" failures="{failed}" errors="{errors}" skipped="{unscored}" time="{seconds}"'


def _verdict(result: ItemResult) -> str:
    tag = _TAG.get(result.outcome)
    if tag is None:
        return ""
    kind = "" if tag == "skipped" else f" type={_attribute(result.reason or str(result.outcome))}"
    # `skipped` has no type, so the reason goes with the message.
    message = f"{result.reason}: {result.message}" if tag == "skipped" else result.message
    return f"<{tag}{kind} message={_attribute(message[:2_000])}/>\n"


def _system_out(result: ItemResult) -> str:
    lines = [_line(verdict, 0) for verdict in result.verdicts]
    output = result.generation.output if result.generation else None
    if output is not None:
        cut = f"\n… ({len(output):,} characters)" if len(output) > MAX_OUTPUT_CHARS else ""
        lines += ["", "answer:", output[:MAX_OUTPUT_CHARS] + cut]
    text = "\n".join(lines)
    return f"<system-out>{escape(_valid(text))}</system-out>\n" if text else ""


def _line(verdict: Verdict, level: int) -> str:
    reason = f" [{verdict.reason}]" if verdict.reason else ""
    own = "  " * level + f"{verdict.outcome} {verdict.type}{reason} {verdict.message[:2_000]}".rstrip()
    return "\n".join([own, *(_line(part, level + 1) for part in verdict.parts)])


def _attribute(text: str) -> str:
    return quoteattr(_valid(text), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def _valid(text: str) -> str:
    return _NO_CHARACTER.sub("\ufffd", text)
