"""Reading from a service that is started, killed and started again."""

from __future__ import annotations

import asyncio
import json
import time

from promptcard_ext.core.errors import PromptCardError
from server_ext.api.hub_reader import HubReader
from server_ext.embedded import Services
from server_ext.settings import Settings
from tests.support import Program, free_port

TOKEN = "0123456789abcdef"


async def answer_of(reader: HubReader, wanted: str, timeout_s: float = 60.0) -> str:
    """Ask until the answer is the wanted one: the slug of the oldest workspace, or the code of an error."""
    give_up = time.monotonic() + timeout_s
    answer = ""
    while answer != wanted and time.monotonic() < give_up:
        try:
            (first,) = json.loads(await reader.read("workspaces", "limit=1"))["items"]
            answer = first["slug"]
        except PromptCardError as error:
            answer = error.code if TOKEN not in str(error) else "token shown"
            await asyncio.sleep(0.05)
    return answer


def test_a_service_that_comes_back_is_found_again(settings: Settings, services: Services) -> None:
    # As on Binder: no service of a Hub, but a server of its own that lets in by the token of Jupyter.
    asyncio.run(goes_and_comes(settings, str(free_port())))


async def goes_and_comes(settings: Settings, port: str) -> None:
    reader = HubReader(f"http://127.0.0.1:{port}/", TOKEN)
    try:
        assert await answer_of(reader, "server_unreachable") == "server_unreachable"
        for _ in range(2):
            with Program(settings.home, "serve", "--no-worker", "--port", port, JUPYTER_TOKEN=TOKEN):
                assert await answer_of(reader, "personal") == "personal"
            assert await answer_of(reader, "server_unreachable") == "server_unreachable"
    finally:
        await reader.close()
