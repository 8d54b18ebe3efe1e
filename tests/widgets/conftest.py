import weakref
from collections.abc import Callable, Iterator

import comm
import pytest

from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.widgets.base import Throttle
from promptcard_ext.widgets.run_view import RunView
from tests.widgets.fakes import FakeComm, Hands


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> list[FakeComm]:
    """All comms that are opened during the test."""
    opened: list[FakeComm] = []

    def create(**arguments: object) -> FakeComm:
        opened.append(FakeComm(**arguments))  # type: ignore[arg-type]
        return opened[-1]

    monkeypatch.setattr(comm, "create_comm", create)
    return opened


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def view_of(comms: list[FakeComm], hands: Hands) -> Iterator[Callable[[RunHandle], tuple[RunView, FakeComm, FakeComm]]]:
    """Makes a view whose time is in the test's hands, and gives its two comms: the stream and the channel."""
    made: list[weakref.ref[RunView]] = []

    def make(run: RunHandle) -> tuple[RunView, FakeComm, FakeComm]:
        view = RunView(run, throttle=lambda action: Throttle(action, later=hands.later, clock=hands.clock))
        made.append(weakref.ref(view))
        found = {one.comm_id: one for one in comms}
        return view, found[view.model_id], found[view.channel]

    yield make
    # One that is still counting would go on beside the next test.
    for one in made:
        if view := one():
            view.close()
