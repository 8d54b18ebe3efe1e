"""What a terminal shows of a run."""

from __future__ import annotations

import io

from msgspec.structs import replace
from rich.console import Console

from promptcard_ext.core.results import ItemResult, Outcome, Verdict
from promptcard_ext.kernel.terminal import print_flips, print_invariance, print_summary
from promptcard_ext.stats.flips import flips
from promptcard_ext.stats.summary import summarise
from tests.widgets.fakes import result


def console() -> Console:
    return Console(file=io.StringIO(), width=160)


def shown(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return " ".join(on.file.getvalue().split())


def changed(ordinal: int, outcome: str) -> ItemResult:
    part = Verdict("t", "metamorphic:typo", Outcome(outcome))
    return replace(result(ordinal, outcome), verdicts=(Verdict("m", "metamorphic", Outcome(outcome), parts=(part,)),))


def test_rates_of_answers_that_held_read_like_pass_rates() -> None:
    on = console()
    print_invariance([changed(0, "fail"), changed(1, "fail"), changed(2, "unscored")], on)
    assert "typo" in shown(on)
    assert "0% [0–66] of 2, 1 without verdict" in shown(on)


def test_no_name_reaches_a_terminal_as_a_command() -> None:
    bad = result(0, "fail", label="[bold]card \x1b[31m", model="m\x00\u202e", case="c\x1b[2J")
    for show in (
        lambda on: print_summary(summarise([bad]), "letters", on),
        lambda on: print_flips(flips([bad], [replace(bad, outcome=Outcome.PASS)]), on),
    ):
        on = console()
        show(on)
        assert "[bold]card" in shown(on)
        assert not any(char in shown(on) for char in "\x00\x1b\u202e")
