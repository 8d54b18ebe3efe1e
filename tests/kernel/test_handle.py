import asyncio
import threading
from decimal import Decimal

import pytest

from promptcard_ext.core.errors import PromptCardError, RunError
from promptcard_ext.kernel import display
from promptcard_ext.kernel import handle as handle_module
from promptcard_ext.kernel.handle import RunHandle
from tests.widgets.fakes import handle, result

HOSTILE = "<script>alert(1)</script>\x1b[31m\n\x00\ud800"


def test_results_are_counted_and_given_in_the_order_of_the_plan_or_of_arrival() -> None:
    run = handle(total=4)
    run.feed([result(2, cost="0.1"), result(0, "fail")])
    run.feed([result(1, "error", None)])
    assert [r.ordinal for r in run.results()] == [0, 1, 2]
    assert [r.ordinal for r in run.window(0, 10)] == [2, 0, 1]
    assert [r.ordinal for r in run.window(1, 2)] == [0]
    assert run.window(-5, -1) == []
    counts = run.counts
    assert (counts.total, counts.done, counts.passed, counts.failed, counts.errored, counts.priced) == (
        4,
        3,
        1,
        1,
        1,
        1,
    )
    assert counts.cost_usd == Decimal("0.1")
    assert run.result(1) == run.results()[1]
    assert run.result(3) is None


def test_a_result_that_comes_twice_counts_once() -> None:
    run = handle()
    run.feed([result(0), result(0, "fail")])
    run.feed([result(0, "fail")])
    assert (run.counts.done, run.counts.passed) == (1, 1)
    assert len(run.window(0, 10)) == 1


def test_counts_are_a_copy() -> None:
    run = handle()
    run.counts.done = 99
    assert run.counts.done == 0


def test_wait_returns_the_handle_at_the_end() -> None:
    run = handle()
    threading.Timer(0.02, lambda: run.feed([result(0)], status="completed")).start()
    assert run.wait(10) is run
    assert run.finished


def test_wait_gives_up_after_the_timeout_and_the_run_goes_on() -> None:
    cancelled: list[bool] = []
    run = handle(cancel=lambda: cancelled.append(True))
    run.feed(status="running")
    with pytest.raises(TimeoutError, match=r"still runs after 0\.01 s"):
        run.wait(0.01)
    with pytest.raises(TimeoutError):
        run.wait(0)
    assert (run.status, cancelled) == ("running", [])


def test_wait_without_a_timeout_outlasts_many_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handle_module, "_PATIENCE_S", 0.001)
    run = handle()
    threading.Timer(0.05, lambda: run.feed(status="completed")).start()
    assert run.wait().status == "completed"


def test_interrupting_wait_cancels_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[bool] = []
    run = handle(cancel=lambda: cancelled.append(True))

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run._changed, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    assert cancelled == [True]
    assert run.status == "cancelling"


def test_await_returns_the_handle_at_the_end() -> None:
    async def main() -> RunHandle:
        run = handle()
        threading.Timer(0.02, lambda: run.feed(status="completed")).start()
        return await asyncio.wait_for(run, 10)

    assert asyncio.run(main()).status == "completed"


def test_awaiting_a_run_that_has_ended_returns_at_once() -> None:
    async def main() -> None:
        run = handle()
        run.feed(status="completed")
        assert await run is run

    asyncio.run(main())


def test_cancelling_the_task_that_awaits_cancels_the_run() -> None:
    cancelled: list[bool] = []

    async def main() -> None:
        run = handle(cancel=lambda: cancelled.append(True))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run, 0.01)
        assert run._listeners == []

    asyncio.run(main())
    assert cancelled == [True]


def test_a_run_that_failed_raises_its_error_for_whoever_waits() -> None:
    run = handle()
    run.feed(status="failed", error=RunError("No."))
    with pytest.raises(RunError, match="No"):
        run.wait()

    async def main() -> None:
        with pytest.raises(PromptCardError):
            await run

    asyncio.run(main())


def test_cancel_is_asked_for_once_and_never_after_the_end() -> None:
    cancelled: list[bool] = []
    run = handle(cancel=lambda: cancelled.append(True))
    run.feed(status="running")
    run.cancel()
    run.feed(status="cancelled")
    run.cancel()
    assert cancelled == [True]
    assert run.status == "cancelled"


def test_the_final_status_and_cancelling_are_not_taken_back_by_old_news() -> None:
    run = handle()
    run.cancel()
    run.feed([result(0)], status="running")
    assert run.status == "cancelling"
    run.feed(status="cancelled")
    run.feed(status="running")
    run.feed(status="failed", error=RunError("late"))
    assert (run.status, run.error) == ("cancelled", None)


def test_time_is_taken_from_the_first_sign_of_life_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr(handle_module.time, "monotonic", lambda: now[0])
    run = handle()
    assert run.elapsed_s is None
    run.feed(status="running")
    now[0] += 3
    assert run.elapsed_s == 3
    run.feed(status="completed")
    now[0] += 100
    assert run.elapsed_s == 3


def test_listeners_hear_of_every_change_until_they_end() -> None:
    heard: list[str] = []
    run = handle()
    end = run.on_change(lambda: heard.append(run.status))
    run.feed(status="running")
    end()
    end()
    run.feed(status="completed")
    assert heard == ["running"]


def test_a_listener_that_fails_breaks_neither_the_run_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[bool] = []
    run = handle()
    run.on_change(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    run.on_change(lambda: heard.append(True))
    run.feed(status="running")
    assert heard == [True]
    assert "ZeroDivisionError" in caplog.text


def test_views_are_frozen_once_and_only_when_somebody_has_waited() -> None:
    frozen: list[bool] = []
    run = handle()
    run.on_freeze(lambda: frozen.append(True))
    run.feed(status="completed")
    assert frozen == []
    run.wait()
    run.wait()
    assert frozen == [True]


def test_many_threads_may_feed_read_and_listen() -> None:
    run = handle(total=4000)

    def feed(part: int) -> None:
        for i in range(1000):
            run.feed([result(i * 4 + part), result(i)], status="running")

    threads = [threading.Thread(target=feed, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        done = run.counts.done
        assert len(run.window(0, done)) == done
        end = run.on_change(lambda: None)
        run.results()
        end()
    assert run.counts.done == run.counts.passed == 4000
    assert [r.ordinal for r in run.results()] == list(range(4000))


def test_its_text_says_how_far_it_is_and_holds_no_control_characters() -> None:
    run = handle(total=3, name=HOSTILE)
    assert "0 of 3" in repr(run)
    run.feed([result(0), result(1, "fail", cost="0.25")], status="running")
    assert repr(run).endswith("running: 2 of 3, pass 50% [9–91] of 2, $0.2500 (1 of 2 priced)>")
    assert all(char.isprintable() for char in repr(run))
    assert repr(handle(name="triage")) == "<Run 'triage' queued: 0 of 10>"


def test_its_html_holds_hostile_text_as_text() -> None:
    run = handle(total=3, name=HOSTILE)
    run.feed([result(0, "fail", HOSTILE, message=HOSTILE, label=HOSTILE, model=HOSTILE, case=HOSTILE)])
    run.feed(status="failed", error=RunError(HOSTILE))
    page = run._repr_html_()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6
    assert "\x00" not in page
    page.encode()


def test_browsing_in_plain_python_prints_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "_in_ipython", lambda: False)
    handle(name="triage").browse()
    assert capsys.readouterr().out == "<Run 'triage' queued: 0 of 10>\n"
