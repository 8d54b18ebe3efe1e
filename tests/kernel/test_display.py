import math

import pytest

from promptcard_ext.kernel import display, manifests
from tests.kernel.conftest import WIDGET, Notebook
from tests.widgets.fakes import handle, result


def test_a_running_run_is_shown_live_with_a_static_form_beside_it(notebook: Notebook) -> None:
    run = handle()
    run.feed(status="running")
    run._ipython_display_()
    (shown,) = notebook.shown
    assert set(shown.versions[0]) == {WIDGET, "text/html", "text/plain"}
    assert shown.versions[0]["text/plain"] == repr(run)
    manifest = manifests.run_manifest(run, shown.versions[0])
    assert shown.metadata[0] == {WIDGET: {"colab": 1}, manifests.KEY: manifest}


def test_when_somebody_has_waited_the_output_is_static_and_the_view_closed(notebook: Notebook) -> None:
    run = handle(total=1)
    display.show_run(run)
    run.feed([result(0)], status="completed")
    run.wait()
    notebook.settle()
    (shown,) = notebook.shown
    assert set(shown.versions[-1]) == {"text/html", "text/plain"}
    assert "completed · 1 of 1" in shown.versions[-1]["text/html"]
    assert all(set(version) == {"text/html", "text/plain"} for version in shown.versions[1:])
    assert notebook.views[0].closed


def test_at_the_end_the_output_becomes_static_though_nobody_waited(notebook: Notebook) -> None:
    run = handle(total=1)
    display.show_run(run)
    display.show_run(run, lasting=True)
    run.feed([result(0)], status="running")
    assert notebook.later == []
    assert WIDGET in notebook.shown[0].versions[0]
    run.feed(status="completed")
    assert {delay for delay, _ in notebook.later} == {display.SETTLE_S}
    notebook.settle()
    frozen, lasting = notebook.shown
    assert set(frozen.versions[-1]) == {"text/html", "text/plain"}
    assert "completed · 1 of 1" in frozen.versions[-1]["text/html"]
    assert "To look through it: <code>run.browse()</code>" in frozen.versions[-1]["text/html"]
    assert WIDGET in lasting.versions[-1]
    assert "completed · 1 of 1" in lasting.versions[-1]["text/html"]
    assert notebook.views[0].displays == 1
    assert run._listeners == []


def test_while_somebody_looks_through_it_the_view_stays_and_has_a_static_form_beside_it(notebook: Notebook) -> None:
    run = handle(total=1)
    display.show_run(run)
    view = notebook.views[0]
    view.idle = [600.0, 70.0, 0.0]
    run.feed([result(0)], status="completed")
    for delay in (display.SETTLE_S, 600.0, 70.0):
        ((waits, settle),) = notebook.later
        assert waits == delay
        assert not view.closed
        notebook.later.clear()
        settle()
    assert [WIDGET in version for version in notebook.shown[0].versions] == [True, True, True, False]
    assert "completed · 1 of 1" in notebook.shown[0].versions[1]["text/html"]
    assert view.closed


def test_where_nothing_can_take_its_place_a_view_stays_for_good(notebook: Notebook) -> None:
    run = handle(total=1)
    display.show_run(run)
    notebook.views[0].idle = [math.inf]
    run.feed([result(0)], status="completed")
    notebook.settle()
    assert WIDGET in notebook.shown[0].versions[-1]
    assert "completed · 1 of 1" in notebook.shown[0].versions[-1]["text/html"]
    assert notebook.later == []


def test_a_view_that_was_closed_meanwhile_leaves_the_static_form(notebook: Notebook) -> None:
    run = handle(total=1)
    display.show_run(run)
    notebook.views[0].closed = True
    run.feed(status="completed")
    notebook.settle()
    assert set(notebook.shown[0].versions[-1]) == {"text/html", "text/plain"}


def test_several_displays_of_a_run_share_a_view_and_all_become_static(notebook: Notebook) -> None:
    run = handle(total=1)
    display.show_run(run)
    display.show_run(run)
    assert len(notebook.views) == 1
    run.feed([result(0)], status="completed")
    run.wait()
    assert [WIDGET in shown.versions[-1] for shown in notebook.shown] == [False, False]
    assert notebook.views[0].closed


def test_a_run_that_has_ended_is_static_unless_somebody_wants_to_browse_it(notebook: Notebook) -> None:
    run = handle(total=1)
    run.feed([result(0)], status="completed")
    display.show_run(run)
    run.browse()
    run.wait()
    assert [WIDGET in shown.versions[-1] for shown in notebook.shown] == [False, True]
    assert not notebook.views[0].closed


def test_browsing_outlasts_the_freezing_of_other_displays(notebook: Notebook) -> None:
    run = handle(total=1)
    display.show_run(run)
    run.browse()
    run.feed([result(0)], status="completed")
    run.wait()
    notebook.settle()
    assert [WIDGET in shown.versions[-1] for shown in notebook.shown] == [False, True]
    assert "completed · 1 of 1" in notebook.shown[1].versions[-1]["text/html"]
    assert not notebook.views[0].closed


def test_in_static_mode_there_is_no_view_and_the_output_follows_the_end(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "render_mode", lambda: "static")
    run = handle(total=1)
    display.show_run(run)
    run.feed([result(0)], status="completed")
    run.wait()
    (shown,) = notebook.shown
    assert notebook.views == []
    assert ["completed" in version["text/html"] for version in shown.versions] == [False, True]


@pytest.mark.parametrize("mode", ["static", "widget"])
def test_the_environment_can_say_what_to_show(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setenv("PROMPTCARDS_RENDER", mode)
    assert display.render_mode() == mode


def test_outside_of_a_kernel_everything_is_static(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMPTCARDS_RENDER", raising=False)
    assert display.render_mode() == "static"
