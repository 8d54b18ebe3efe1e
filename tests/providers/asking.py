"""Short ways to one call of the OpenAI protocol."""

import asyncio
from typing import Any

import pytest

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.providers.openai_compatible import OpenAICompatible
from tests.run_async import run_async
from tests.stub_server import Behaviour, Stub

KEY = "sk-secret-of-the-test"


def request(**settings: Any) -> Request:
    return Request("m-1", (Message("system", "Be brief."), Message("user", "Hi")), ModelSettings(**settings))


def ask(url: str, wanted: Request | None = None, timeout_s: float = 20) -> Reply:
    async def main() -> Reply:
        provider = OpenAICompatible(f"{url}/v1", KEY)
        try:
            async with asyncio.timeout(timeout_s):
                return await provider.generate(wanted or request())
        finally:
            await provider.close()

    return run_async(main())


def failure(stub: Stub, behaviour: Behaviour, **settings: Any) -> ProviderError:
    stub.next(behaviour)
    with pytest.raises(ProviderError) as caught:
        ask(stub.url, request(**settings))
    assert KEY not in str(caught.value)
    assert len(stub.calls) == 1, "a provider makes one call; repeating is for the engine"
    return caught.value
