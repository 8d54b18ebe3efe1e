import asyncio
import threading

from promptcard_ext.kernel import loop


async def where() -> str:
    return threading.current_thread().name


def test_work_runs_in_one_thread_of_its_own() -> None:
    assert {loop.submit(where()).result(5) for _ in range(3)} == {"promptcards-loop"}
    assert next(t for t in threading.enumerate() if t.name == "promptcards-loop").daemon


def test_it_runs_also_while_another_loop_does() -> None:
    async def main() -> str:
        return await asyncio.wrap_future(loop.submit(where()))

    assert asyncio.run(main()) == "promptcards-loop"


def test_threads_that_start_it_together_get_one_loop() -> None:
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(loop._running_loop())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


def test_work_for_later_is_done_on_its_thread() -> None:
    done = threading.Event()
    names: list[str] = []
    loop.call_later(0.001, lambda: (names.append(threading.current_thread().name), done.set()))
    assert done.wait(5)
    assert names == ["promptcards-loop"]
