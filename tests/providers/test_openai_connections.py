"""The OpenAI protocol against a server of our own: addresses, keys, connections, the list of models."""

import base64
import socket

import pytest

from promptcard_ext.core.errors import ProviderError
from promptcard_ext.providers import http
from promptcard_ext.providers.openai_compatible import OpenAICompatible
from tests.providers.asking import KEY, ask, failure, request
from tests.run_async import run_async
from tests.stub_server import Behaviour, Stub


def test_a_redirect_is_not_followed(stub: Stub) -> None:
    with Stub() as elsewhere:
        target = f"{elsewhere.url}/v1/chat/completions"
        error = failure(stub, Behaviour(status=307, headers={"Location": target}))
        assert error.code == "provider_refused"
        assert elsewhere.calls == []


def test_proxies_of_the_environment_are_not_used(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    with Stub() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        ask(stub.url)
        models(stub.url)
        assert proxy.calls == []
    assert len(stub.calls) == 2


def test_silence_lasts_until_the_caller_gives_up(stub: Stub) -> None:
    stub.next(Behaviour(silent=True))
    with pytest.raises(TimeoutError):
        ask(stub.url, timeout_s=0.2)


def test_a_closed_port_is_unreachable_and_nothing_was_sent() -> None:
    with Stub() as gone:
        url = gone.url
    with pytest.raises(ProviderError) as caught:
        ask(url)
    assert (caught.value.code, caught.value.retryable, caught.value.sent) == ("provider_unreachable", True, False)


def test_a_host_that_takes_no_connection_in_time_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    # A listener that never accepts, its queue full, leaves the next connection hanging.
    monkeypatch.setattr(http, "CONNECT_TIMEOUT_S", 0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        queue = []
        for _ in range(8):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
            queue.append(waiting)
        with pytest.raises(ProviderError) as caught:
            ask(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=10)
        for waiting in queue:
            waiting.close()
    assert (caught.value.code, caught.value.sent) == ("provider_unreachable", False)


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://host", "http://", "not an address"])
def test_an_address_that_is_none_is_said_at_once(address: str) -> None:
    with pytest.raises(ProviderError) as caught:
        ask(address)
    assert not caught.value.retryable


def test_a_password_in_the_address_is_shown_nowhere(stub: Stub) -> None:
    async def main() -> str:
        provider = OpenAICompatible(stub.url.replace("//", "//me:hunter2@") + "/v1")
        assert "hunter2" not in provider.endpoint
        try:
            with pytest.raises(ProviderError) as caught:
                await provider.generate(request())
        finally:
            await provider.close()
        return str(caught.value)

    stub.next(Behaviour(status=400))
    assert "hunter2" not in run_async(main())
    assert stub.calls[0].headers["authorization"].startswith("Basic ")


def test_a_key_that_ends_with_a_line_break_works(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1\n")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{stub.url}/v1/")

    async def main() -> None:
        provider = OpenAICompatible()
        await provider.generate(request())
        await provider.close()

    run_async(main())
    assert stub.calls[0].headers["authorization"] == "Bearer sk-1"


@pytest.mark.parametrize("key", ["sk-\u2019quoted\u2019", "sk-two\nlines", "sk-\x00nul", "sk-tab\tbed"])
def test_a_key_that_no_header_can_have_is_said_to_be_wrong_and_not_shown(stub: Stub, key: str) -> None:
    provider = OpenAICompatible(f"{stub.url}/v1", key)
    with pytest.raises(ProviderError) as caught:
        run_async(provider.generate(request()))
    assert (caught.value.code, caught.value.sent) == ("provider_auth", False)
    assert key not in f"{caught.value}{provider!r}{provider.limit_key}{vars(caught.value)}"
    assert stub.calls == []


def test_a_name_and_password_in_the_address_are_preferred_to_a_key_of_the_environment(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    url = stub.url.replace("//", "//me:p%40ss@") + "/v1"

    async def main(key: str | None) -> None:
        provider = OpenAICompatible(url, key)
        await provider.generate(request())
        await provider.close()

    run_async(main(None))
    run_async(main("sk-given"))
    sent = [call.headers["authorization"] for call in stub.calls]
    assert sent == [f"Basic {base64.b64encode(b'me:p@ss').decode()}", "Bearer sk-given"]


def test_without_a_key_openai_is_not_called() -> None:
    async def main() -> ProviderError:
        provider = OpenAICompatible()
        with pytest.raises(ProviderError) as caught:
            await provider.generate(request())
        await provider.close()
        return caught.value

    error = run_async(main())
    assert (error.code, error.sent) == ("provider_auth", False)
    assert "OPENAI_API_KEY" in error.hint


@pytest.mark.parametrize(
    ("url", "key"), [(None, "openai"), ("https://api.openai.com/v1", "openai"), ("http://127.0.0.1:1/v1", "")]
)
def test_only_openai_itself_has_openai_prices(url: str | None, key: str) -> None:
    assert OpenAICompatible(url, "k").price_key == key


def test_connections_are_used_again(stub: Stub) -> None:
    async def main() -> None:
        provider = OpenAICompatible(f"{stub.url}/v1", KEY)
        for stream in (False, True, False):
            await provider.generate(request(stream=stream))
        await provider.close()
        await provider.close()

    run_async(main())
    assert (len(stub.calls), stub.connections) == (3, 1)


def models(url: str) -> list[str]:
    async def main() -> list[str]:
        provider = OpenAICompatible(f"{url}/v1", KEY)
        try:
            return await provider.list_models()
        finally:
            await provider.close()

    return run_async(main())


def test_models_are_listed_in_order(stub: Stub) -> None:
    assert models(stub.url) == ["stub-a", "stub-b"]
    assert stub.calls[0].path == "/v1/models"


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (Behaviour(status=401), "provider_auth"),
        (Behaviour(status=500), "provider_5xx"),
        (Behaviour(status=302, headers={"Location": "http://127.0.0.1:1/"}), "provider_refused"),
        (Behaviour(body=b"<html>hello</html>", headers={"Content-Type": "text/html"}), "broken_reply"),
        (Behaviour(body=b"[]"), "broken_reply"),
        (Behaviour(body=b"not json"), "broken_reply"),
        (Behaviour(cut_at=5), "provider_unreachable"),
    ],
    ids=["401", "500", "redirect", "html", "list", "not-json", "cut"],
)
def test_a_list_of_models_that_does_not_come_is_an_error_of_ours(stub: Stub, behaviour: Behaviour, code: str) -> None:
    stub.next(behaviour)
    with pytest.raises(ProviderError) as caught:
        models(stub.url)
    assert caught.value.code == code
    assert len(stub.calls) == 1
