from collections.abc import Iterator
from typing import Any

import IPython.display
import pytest

from promptcard_ext.kernel import display


class Shown:
    """One output of a notebook: what was displayed first, and what it was replaced with."""

    def __init__(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        self.versions = [data]
        self.metadata = [metadata]

    def update(self, data: dict[str, Any], *, metadata: dict[str, Any], raw: bool) -> None:
        assert raw
        self.versions.append(data)
        self.metadata.append(metadata)


class View:
    """Stands in for a live view."""

    def __init__(self, run: object) -> None:
        self.run, self.displays, self.closed = run, 0, False
        self.idle = [0.0]

    def mimebundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        if self.closed:
            return {}, {}
        return {WIDGET: {"model_id": "m"}}, {WIDGET: {"colab": 1}}

    def retain(self) -> None:
        self.displays += 1

    def idle_in_s(self) -> float:
        return self.idle.pop(0)

    def release(self) -> None:
        self.displays -= 1
        self.closed = self.displays == 0


WIDGET = "application/vnd.jupyter.widget-view+json"


class Notebook:
    """What a notebook has shown, and what is to happen later."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self.later: list[tuple[float, Any]] = []
        self.views: list[View] = []

    def display(self, data: dict[str, Any], *, metadata: dict[str, Any], raw: bool, display_id: bool) -> Shown:
        assert raw
        assert display_id
        self.shown.append(Shown(data, metadata))
        return self.shown[-1]

    def view_of(self, run: object) -> View:
        for view in self.views:
            if view.run is run:
                return view
        self.views.append(View(run))
        return self.views[-1]

    def settle(self) -> None:
        while self.later:
            self.later.pop()[1]()


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    """Pretend to be in a notebook with a front end."""
    found = Notebook()
    monkeypatch.setattr(IPython.display, "display", found.display)
    monkeypatch.setattr(display, "_in_ipython", lambda: True)
    monkeypatch.setattr(display, "render_mode", lambda: "widget")
    monkeypatch.setattr(display, "live_view", found.view_of)
    monkeypatch.setattr(display.loop, "call_later", lambda delay, work: found.later.append((delay, work)))
    return found
