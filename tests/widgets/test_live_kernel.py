"""The live view in a real kernel; the test speaks the protocol of a front end."""

import json
import time
from collections.abc import Callable, Iterator
from queue import Empty
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

START = """
import time
import promptcard_ext as pc
card = pc.Card("greet", "Say hello to {{ who }}.")
run = pc.run(card, [{"who": str(i)} for i in range(400)], "simulated:steady?latency_ms=%d", concurrency=8)
display(run)
"""
BUSY = """
began = time.monotonic()
while not run.finished and time.monotonic() - began < 30:
    sum(range(1000))
print(run.status, run.counts.done < run.counts.total, time.monotonic() - began < 25)
"""


class FrontEnd:
    """Sends what JupyterLab sends, and keeps what comes back."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client
        self.seen: list[dict[str, Any]] = []
        self.request = ""

    def execute(self, code: str) -> None:
        # An error is not to take the next cell with it: it may be on its way before the kernel is done with the first.
        self.request = self.client.execute(code, store_history=False, stop_on_error=False)

    def of_cell(self, kind: str) -> dict[str, Any]:
        """Return the content of the first message of a kind that the last cell has caused."""

        def caused(message: dict[str, Any]) -> dict[str, Any] | None:
            mine = message["parent_header"].get("msg_id") == self.request
            return message["content"] if mine and message["msg_type"] == kind else None

        found: dict[str, Any] = self.until(caused)
        return found

    def until(self, found: Callable[[dict[str, Any]], Any], seconds: float = 30) -> Any:
        """Return what ``found`` makes of the first message, old or new, of which it makes something."""
        for message in self.seen:
            if answer := found(message):
                return answer
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            try:
                message = self.client.get_iopub_msg(timeout=0.2)
            except Empty:
                continue
            self.seen.append(message)
            if answer := found(message):
                return answer
        raise AssertionError(f"Not seen: {[m['msg_type'] for m in self.seen]}")

    def model(self, key: str) -> tuple[str, dict[str, Any]]:
        """Return the id and the state of the first model that has ``key``."""

        def opened(message: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
            if message["msg_type"] != "comm_open" or message["parent_header"].get("msg_id") != self.request:
                return None
            state = message["content"]["data"]["state"]
            return (message["content"]["comm_id"], state) if key in state else None

        found: tuple[str, dict[str, Any]] = self.until(opened)
        return found

    def subshell(self) -> str:
        """Make a subshell, as JupyterLab does for widgets."""
        request = self.client.session.msg("create_subshell_request")
        self.client.control_channel.send(request)
        reply = self.client.get_control_msg(timeout=20)
        return str(reply["content"]["subshell_id"])

    def ask(self, comm: str, content: dict[str, Any], subshell: str | None) -> None:
        data = {"method": "custom", "content": content}
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)

    def answer(self, rid: str) -> dict[str, Any]:
        def is_it(message: dict[str, Any]) -> dict[str, Any] | None:
            content = message["content"].get("data", {}).get("content", {}) if message["msg_type"] == "comm_msg" else {}
            return message if content.get("rid") == rid else None

        found: dict[str, Any] = self.until(is_it)
        return found

    def printed(self) -> str:
        """Return the first line that the last cell has printed; it may come in pieces."""

        def line(_: dict[str, Any]) -> str | None:
            mine = (m for m in self.seen if m["parent_header"].get("msg_id") == self.request)
            text = "".join(m["content"]["text"] for m in mine if m["msg_type"] == "stream")
            return text.partition("\n")[0] if "\n" in text else None

        return str(self.until(line))


@pytest.fixture(scope="module")
def kernel() -> Iterator[BlockingKernelClient]:
    manager, client = start_new_kernel(startup_timeout=60)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture
def front_end(kernel: BlockingKernelClient) -> FrontEnd:
    return FrontEnd(kernel)


def test_rows_and_stop_work_while_the_cell_that_shows_the_run_is_busy(front_end: FrontEnd) -> None:
    subshell = front_end.subshell()
    front_end.execute(START % 400 + BUSY)
    stream, state = front_end.model("channel")
    front_end.ask(state["channel"], {"kind": "ready", "rid": "a"}, subshell)
    snapshot = front_end.answer("a")["content"]["data"]["content"]["state"]
    assert (snapshot["status"], snapshot["total"]) == ("running", 400)

    # Until there are some: the totals of the stream say when.
    front_end.until(lambda m: _state_of(m, stream).get("done", 0) >= 5)
    front_end.ask(state["channel"], {"kind": "rows", "rid": "b", "from": 0, "to": 3, "outcome": ""}, subshell)
    rows = json.loads(bytes(front_end.answer("b")["buffers"][0]))
    assert len(rows) == 3
    assert all(row[1] == "unscored" for row in rows)

    front_end.ask(state["channel"], {"kind": "cancel", "rid": "c"}, subshell)
    assert front_end.printed().split() == ["cancelled", "True", "True"]
    last = front_end.until(lambda m: _state_of(m, stream) if _state_of(m, stream).get("frozen") else None)
    assert last["status"] == "cancelled"


def test_front_ends_without_subshells_are_answered_between_cells(front_end: FrontEnd) -> None:
    front_end.execute(START % 200)
    _, state = front_end.model("channel")
    front_end.ask(state["channel"], {"kind": "ready", "rid": "d"}, None)
    assert front_end.answer("d")["content"]["data"]["content"]["kind"] == "snapshot"
    front_end.ask(state["channel"], {"kind": "cancel", "rid": "e"}, None)
    front_end.answer("e")
    front_end.execute("run.wait(); print(run.status)")
    assert front_end.printed().strip() == "cancelled"


def test_interrupting_the_kernel_cancels_the_run_that_is_waited_for(front_end: FrontEnd) -> None:
    front_end.execute(START % 5000 + "print('now', flush=True); run.wait()")
    assert front_end.printed() == "now"
    time.sleep(0.3)  # the cell goes from printing to waiting, and nothing tells of that
    front_end.client.control_channel.send(front_end.client.session.msg("interrupt_request"))
    assert front_end.of_cell("error")["ename"] == "KeyboardInterrupt"
    front_end.execute("run.wait(30); print(run.status)")
    assert front_end.printed().strip() == "cancelled"


def test_after_waiting_the_output_is_replaced_and_the_models_are_closed(front_end: FrontEnd) -> None:
    front_end.execute(START % 1 + "await run")
    stream, state = front_end.model("channel")
    shown = front_end.of_cell("display_data")
    update = front_end.of_cell("update_display_data")
    assert set(update["data"]) == {"text/plain", "text/html"}
    assert update["transient"] == shown["transient"]
    for comm in (stream, state["channel"]):
        front_end.until(lambda m, comm=comm: m["msg_type"] == "comm_close" and m["content"]["comm_id"] == comm)


def _state_of(message: dict[str, Any], comm: str) -> dict[str, Any]:
    if message["msg_type"] != "comm_msg" or message["content"]["comm_id"] != comm:
        return {}
    found: dict[str, Any] = message["content"]["data"].get("state", {}).get("state", {})
    return found
