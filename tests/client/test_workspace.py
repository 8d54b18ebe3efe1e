"""A workspace of a real server, as notebooks use it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import psutil
import pytest

from promptcard_ext.client.discovery import Address
from promptcard_ext.client.session import Session
from promptcard_ext.client.stream import StreamEvent, follow
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError, NotFound, RunError, Unauthenticated, UnknownModel
from promptcard_ext.interchange.starters import starter_cards
from promptcard_ext.kernel.run import run
from promptcard_ext.kernel.workspace import Workspace, connect
from server_ext.services import tasks
from tests.client.conftest import Serve
from tests.conftest import StartWorker
from tests.services.test_leases import task_of
from tests.support import ECHO, GREET, SLOW, Tenant, free_port, greetings, wait_for


def test_a_card_file_that_is_saved_twice_makes_no_new_versions(workspace: Workspace) -> None:
    file = starter_cards()["support-triage"]
    first = workspace.save(file)
    second = workspace.save(file)

    assert first == second
    assert [saved.content_hash for saved in workspace.api.versions.list(file.name)] == [
        card.content_hash for card in file.versions
    ]
    assert [case.uid for case in workspace.cases(file.name)] == [case.uid for case in file.cases]
    assert workspace.cases(file.name) == list(file.cases)
    assert workspace.cards() == [file.name]
    assert workspace.card(file.name, 1).template == file.versions[0].template
    assert workspace.card(file.name).version == len(file.versions)


def test_cases_come_back_whole_and_their_python_is_not_run(workspace: Workspace) -> None:
    written = [Assertion("python", "output != ''")]
    cases = [Case({"who": "Ada"}, written, threshold=0.5, metadata={"area": "greeting"})]
    workspace.save(GREET, cases)
    read = workspace.cases(GREET.name)
    assert read == cases
    assert [result.reason for result in run(GREET, read, ECHO).wait().results()] == ["python_not_trusted"]
    trusted = workspace.cases(GREET.name, trust=True)
    assert [result.outcome for result in run(GREET, trusted, ECHO).wait().results()] == ["pass"]


def test_a_run_is_waited_for_and_has_what_the_server_has(workspace: Workspace, start_worker: StartWorker) -> None:
    start_worker()
    saved = workspace.save(GREET, greetings(7))
    run = workspace.run(saved, ECHO, repeats=3, name="Echoes").wait(60)

    assert (run.status, run.counts.done, run.counts.passed, run.name) == ("completed", 21, 21, "Echoes")
    assert run.results() == list(workspace.api.runs.items(str(run.id)))
    snapshot, results = workspace.run_snapshot(str(run.id))
    assert (snapshot["status"], results) == ("completed", run.results())
    again = workspace.open_run(str(run.id)).wait(60)
    assert again.results() == run.results()
    assert [str(listed.id) for listed in workspace.runs()] == [run.id]


def test_a_run_is_cancelled_from_the_handle(workspace: Workspace, start_worker: StartWorker) -> None:
    start_worker()
    workspace.save(GREET, greetings(40))
    run = workspace.run("greet", SLOW, concurrency=2)
    wait_for(lambda: run.counts.done >= 2)
    run.cancel()
    run.wait(10)
    assert run.status == "cancelled"
    assert run.results() == list(workspace.api.runs.items(str(run.id)))
    assert 2 <= run.counts.done < 40


def test_a_run_that_fails_as_a_whole_raises_its_reason(workspace: Workspace, tenant: Tenant) -> None:
    workspace.save(GREET, greetings(2))
    run = workspace.run("greet", ECHO)
    lease = tasks.claim(tenant.database, tenant.id, task_of(tenant, str(run.id)), "test", 60)
    assert lease is not None
    tasks.finish(tenant.database, lease, "failed", {"code": "some_code", "message": "m"})
    with pytest.raises(RunError, match="2 of 2 items have no result") as problem:
        run.wait(30)
    assert problem.value.code == "run_incomplete"


def test_mistakes_are_errors_of_the_same_kind_as_in_this_process(workspace: Workspace) -> None:
    workspace.save(GREET, greetings(1))
    for start, kind, code in (
        (lambda: workspace.run("nosuch", ECHO), NotFound, "not_found"),
        (lambda: workspace.run("greet", "simulated:nosuch"), UnknownModel, "unknown_model"),
        (lambda: workspace.run("greet", ECHO, repeats=0), CardError, "request_invalid"),
        (lambda: workspace.card("greet", 9), NotFound, "not_found"),
        (lambda: workspace.open_run("nosuch"), NotFound, "not_found"),
    ):
        with pytest.raises(kind) as problem:  # type: ignore[call-overload]
            start()
        assert problem.value.code == code


def test_a_wrong_token_is_said_to_be_wrong(address: Address) -> None:
    with pytest.raises(Unauthenticated) as problem:
        connect(address.url, "wrong")
    assert problem.value.code == "unauthenticated"
    assert "wrong" not in str(problem.value)
    with pytest.raises(NotFound):
        connect(address.url, address.token, workspace="nosuch")


def test_a_stream_goes_on_after_the_server_was_killed_and_started_again(
    tenant: Tenant, start_server: Callable[..., Serve], start_worker: StartWorker
) -> None:
    port = free_port()
    first = start_server(port, "--no-worker")
    session = Session(first.wait_ready())
    run_id = tenant.start([SLOW], count=40, concurrency=2)
    seen: list[StreamEvent] = []

    async def collect() -> None:
        async for event in follow(session, tenant.slug, run_id):
            seen.append(event)  # noqa: PERF401  others look at the list meanwhile

    async def scenario() -> None:
        following = asyncio.create_task(collect())
        async with asyncio.timeout(120):
            start_worker()
            while sum(len(event.items) for event in seen) < 4:
                await asyncio.sleep(0.02)
            first.kill_all()
            assert tenant.recorded(run_id) < 40
            await asyncio.to_thread(start_server(port, "--no-worker").wait_ready)
            await following

    asyncio.run(scenario())
    session.close()
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert sorted(item.ordinal for event in seen for item in event.items) == list(range(40))
    assert seen[-1].payload == {"status": "completed"}


def test_following_what_may_not_be_seen_is_an_error_and_no_endless_attempt(
    address: Address, tenant: Tenant, stranger: Tenant
) -> None:
    run_id = stranger.start()

    async def all_of(session: Session) -> list[StreamEvent]:
        return [event async for event in follow(session, tenant.slug, run_id)]

    with pytest.raises(NotFound):
        asyncio.run(all_of(Session(address)))
    with pytest.raises(Unauthenticated):
        asyncio.run(all_of(Session(Address(address.url, "wrong"))))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_server_that_is_stopped_leaves_nothing_running(
    start_server: Callable[..., Serve], tenant: Tenant, number: signal.Signals
) -> None:
    server = start_server(free_port())
    workspace = connect(*server.wait_ready(), tenant.slug)
    workspace.save(GREET, greetings(40))
    run = workspace.run("greet", SLOW, concurrency=2)
    wait_for(lambda: run.counts.done >= 2)  # a job is at work in the middle of this
    family = server.family()
    assert len(family) >= 3

    assert server.stop(number) < 15
    assert server.process.returncode == 0, server.output
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert "Traceback" not in server.output
    workspace.api.session.close()


def test_a_server_that_is_killed_leaves_no_worker_behind(start_server: Callable[..., Serve], tenant: Tenant) -> None:
    server = start_server(free_port())
    connect(*server.wait_ready(), tenant.slug).api.session.close()
    children = wait_for(lambda: server.family()[1:])
    server.kill()
    assert psutil.wait_procs(children, timeout=20)[1] == []


def test_what_the_last_version_is_called_can_be_changed_without_a_new_version(workspace: Workspace) -> None:
    workspace.save(Card("greet", "Hi {{ who }}", title="Old"))
    workspace.save(Card("greet", "Hi {{ who }}", title="New", tags=("a",)))
    head = workspace.api.cards.get("greet").value
    assert (head.title, head.tags, head.latest_version) == ("New", ["a"], 1)
