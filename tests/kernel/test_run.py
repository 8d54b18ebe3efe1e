import subprocess
import sys
from pathlib import Path

import pytest

import promptcard_ext as pc
from promptcard_ext.core.assertions import python
from promptcard_ext.core.errors import CardError, UnknownModel
from promptcard_ext.core.ports import Request
from promptcard_ext.kernel.resume import setup_in
from promptcard_ext.local.run_folder import RunFolder

CARD = pc.Card("greet", "Say hello to {{ who }}.")


def test_a_run_in_plain_python_needs_nothing_but_a_card_and_cases() -> None:
    run = pc.run(CARD, [{"who": "Ada"}, {"who": "Alan"}], "simulated:echo").wait(30)
    assert run.status == "completed"
    assert list(run.to_frame()["output"]) == ["Say hello to Ada.", "Say hello to Alan."]
    assert run.name == CARD.label
    assert run.summary()[0].counts.unscored == 2


def test_cases_may_be_a_data_frame() -> None:
    import pandas as pd

    run = pc.run(CARD, pd.DataFrame({"who": ["Ada"]}), "simulated:echo").wait(30)
    assert list(run.to_frame()["output"]) == ["Say hello to Ada."]


def test_mistakes_are_raised_before_anything_runs() -> None:
    with pytest.raises(CardError):
        pc.run(CARD, [{"whom": "Ada"}], "simulated:echo")
    with pytest.raises(UnknownModel):
        pc.run(CARD, [{"who": "Ada"}], "nobody:x")
    with pytest.raises(CardError, match="is a path"):
        pc.run(CARD, "cases.csv", "simulated:echo")


def test_cancel_stops_it_and_keeps_what_there_is() -> None:
    run = pc.run(CARD, [{"who": str(i)} for i in range(50)], "simulated:steady?latency_ms=60000", concurrency=2)
    run.cancel()
    run.wait(30)
    assert run.status == "cancelled"
    assert run.counts.done < 50


def test_a_provider_that_breaks_is_an_error_of_the_item(monkeypatch: pytest.MonkeyPatch) -> None:
    from promptcard_ext.providers.simulated.provider import Simulated

    async def broken(_: Simulated, __: Request) -> None:
        raise ValueError("boom")

    monkeypatch.setattr(Simulated, "generate", broken)
    run = pc.run(CARD, [{"who": "Ada"}], "simulated:echo").wait(30)
    assert (run.status, run.counts.errored) == ("completed", 1)


def test_an_engine_that_breaks_fails_the_run_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from promptcard_ext.kernel import run as run_module

    def broken(*_: object, **__: object) -> None:
        raise ValueError("boom")

    monkeypatch.setattr(run_module, "execute", broken)
    run = pc.run(CARD, [{"who": "Ada"}], "simulated:echo")
    with pytest.raises(pc.PromptCardError, match="The run broke: ValueError: boom"):
        run.wait(30)
    assert run.status == "failed"


def test_python_of_others_stays_distrusted_in_the_process_that_goes_on_with_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTCARDS_HOME", str(tmp_path / "home"))
    mark = tmp_path / "ran"
    source = f"__import__('pathlib').Path({str(mark)!r}).touch() or True"
    cases = [pc.Case({"who": "Ada"}, [pc.Assertion("python", source)])]
    python.distrust(cases[0].assertions)
    try:
        kept = pc.run(CARD, cases, "simulated:echo", keep=True).wait().kept_as
        assert kept is not None
        program = (
            "import promptcard_ext as pc; from promptcard_ext.local.run_folder import RunFolder; "
            f"folder = RunFolder.open({kept!r}, write=False); again = pc.regrade(folder, cases=folder.cases); "
            "print([one.reason for one in again.run.wait().results()])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    finally:
        python.trust(cases[0].assertions)
    assert done.stdout.strip() == "['python_not_trusted']", done.stderr
    assert not mark.exists()


def test_a_run_that_goes_on_keeps_to_the_limits_by_the_minute_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTCARDS_HOME", str(tmp_path / "home"))
    limits = {"requests_per_minute": 900, "tokens_per_minute": 80_000.0}
    kept = pc.run(CARD, [{"who": "Ada"}], "simulated:echo", keep=True, **limits).wait().kept_as  # type: ignore[arg-type]
    assert kept is not None
    assert setup_in(RunFolder.open(kept, write=False)).options.per_minute == (900, 80_000)
