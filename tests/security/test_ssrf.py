"""Addresses by which somebody would make us call our own network: all refused, and no connection is ever made.

The listener takes connections to every address of this machine, and its port counts as open to all, so that a form is
refused for its address and for nothing else.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from promptcard_ext.core.errors import ProviderError
from promptcard_ext.providers import outbound
from promptcard_ext.providers.ollama import Ollama
from promptcard_ext.providers.openai_compatible import OpenAICompatible
from promptcard_ext.providers.outbound import Guard
from tests.providers.asking import KEY, request
from tests.run_async import run_async
from tests.stub_server import Behaviour, Stub
from tests.support import wait_for

ODD_IPV4 = (
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f.1", "0x7f000001", "0x7f.0.0.1", "0x7f.0x0.0x0.0x1", "0X7F.1",
    "0177.0.0.1", "0177.1", "017700000001", "127.0.0.01", "127.00.0.1", "127.255.255.254", "0", "0.0.0.0", "0x0", "00",
    "①②⑦.⓪.⓪.①", "１２７.０.０.１", "127。0。0。1", "127．0．0．1", "127.0.0.1.", "127.0.0.1..", "127.1.",
    "2130706433.",
    "127%2e0%2e0%2e1", "%31%32%37.0.0.1", "127.0.0.1%00", "api.openai.com.0x7f000001", "1.2.3.4.127.1", "6425673729",
)  # fmt: skip
IPV6 = (
    "[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "[::FFFF:127.0.0.1]", "[::ffff:0:127.0.0.1]", "[::127.0.0.1]", "[::7f00:1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[64:ff9b:1:7f00:1::]", "[2002:7f00:1::]",
    "[2002:7f00:1::1]", "[2001:0:7f00:1::]", "[2001::1]", "[fe80::1]", "[fe80::1%25lo]", "[fe80::1%lo]", "[fec0::1]",
    "[fc00::1]", "[fd00::1]", "[fd00:ec2::254]", "[fd20:ce::254]", "[ff02::1]", "[100::1]", "[2001:db8::1]",
    "[2001:2::1]", "[3fff::1]", "[5f00::1]", "[::ffff:169.254.169.254]", "[::1].", "[::1]x", "[v1.127.0.0.1]", "::1",
    "[127.0.0.1]", "[::ffff:127.1]",
)  # fmt: skip
INNER = (
    "169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.169.254.", "192.0.0.192",
    "100.100.100.200", "168.63.129.16", "100.64.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "198.18.0.1", "203.0.113.1", "192.0.2.1", "198.51.100.1", "192.88.99.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "localhost", "LocalHost", "localhost.", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "any.localhost", "redis", "db.internal",
    "metadata.google.internal", "printer.local", "router.home.arpa",
)  # fmt: skip
WHOLE = (
    "https://api.openai.com@127.0.0.1:{port}/v1",
    "https://user:word@127.0.0.1:{port}/v1",
    "https://api.openai.com:443@127.0.0.1:{port}/v1",
    "https://@127.0.0.1:{port}/v1",
    "https://127.0.0.1:{port}#@api.openai.com/v1",
    "https://127.0.0.1:{port}?@api.openai.com/v1",
    "https://127.0.0.1:{port}/v1?key=",
    "https://127.0.0.1:{port}/v1#",
    "https://api.openai.com\\@127.0.0.1:{port}/v1",
    "https://127.0.0.1:{port}\\@api.openai.com/v1",
    "https://api.openai.com%40127.0.0.1:{port}/v1",
    "https://[::1]@api.openai.com:{port}/v1",
    "https://127.0.0.1:{port}:443/v1",
    "https://127.0.0.1:{port}@/v1",
    "https:/127.0.0.1:{port}/v1",
    "https:127.0.0.1:{port}/v1",
    "https:///127.0.0.1:{port}/v1",
    "//127.0.0.1:{port}/v1",
    "127.0.0.1:{port}/v1",
    " https://127.0.0.1:{port}/v1",
    "https://127.0.0.1:{port}/v1\n",
    "https://127.0.0.1\t:{port}/v1",
    "https://127.0.0.1\r\nHost: x:{port}/v1",
    "https://127.0.0.1\0.openai.com:{port}/v1",
    "https://127.0.0.1 .openai.com:{port}/v1",
    "http://127.0.0.1:{port}/v1",
    "http://api.openai.com:{port}/v1",
    "ftp://127.0.0.1:{port}/v1",
    "gopher://127.0.0.1:{port}/_v1",
    "file:///etc/passwd",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/v1",
    "data:text/plain,x",
    "ws://127.0.0.1:{port}/v1",
    "https://api.openai.com:0/v1",
    "https://api.openai.com:65536/v1",
    "https://api.openai.com:6379/v1",
    "https://api.openai.com:5432/v1",
    "https://api.openai.com:8888/v1",
    "https://api.openai.com:/v1",
    "https://api.openai.com/../v1",
    "https://api.openai.com/%2e%2e/v1",
    "https://-api.openai.com/v1",
    "https://api..openai.com/v1",
    "https://",
    "https://{long}.com/v1",
)
FORMS = [f"https://{host}:{{port}}/v1" for host in (*ODD_IPV4, *IPV6, *INNER)] + list(WHOLE)
BEHIND_A_NAME = (
    ("127.0.0.1",), ("::1",), ("10.1.2.3",), ("169.254.169.254",), ("192.168.1.1",), ("100.64.0.1",), ("0.0.0.0",),
    ("::ffff:127.0.0.1",), ("64:ff9b::7f00:1",), ("2002:7f00:1::",), ("2001:0:1::",), ("::7f00:1",), ("fd00::1",),
    ("fe80::1%eth0",), ("192.0.0.192",), ("198.18.0.1",), ("not an address",),
    ("8.8.8.8", "127.0.0.1"), ("127.0.0.1", "8.8.8.8"), ("2606:4700::1111", "::1"),
)  # fmt: skip


class Listener:
    """Takes connections to any address of this machine and counts them."""

    def __init__(self) -> None:
        self.seen = 0
        first = socket.create_server(("0.0.0.0", 0))
        self.port = int(first.getsockname()[1])
        self._sockets = [first, socket.create_server(("::", self.port), family=socket.AF_INET6, dualstack_ipv6=False)]
        for one in self._sockets:
            threading.Thread(target=self._accept, args=(one,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                taken, _ = listening.accept()
            except OSError:
                return
            self.seen += 1
            taken.close()

    def close(self) -> None:
        for one in self._sockets:
            one.shutdown(socket.SHUT_RDWR)
            one.close()


class Names(AbstractResolver):
    """A name server of the test's own: for each name its answers, one after the other, the last one for ever."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._answers = {name: list(one) for name, one in answers.items()}
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        left = self._answers[host]
        found = left.pop(0) if len(left) > 1 else left[0]
        return [
            ResolveResult(
                hostname=host, host=one, port=port, proto=0, flags=0,
                family=socket.AF_INET6 if ":" in one else socket.AF_INET,
            )
            for one in found
        ]  # fmt: skip

    async def close(self) -> None:
        pass


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    listener = Listener()
    monkeypatch.setattr(outbound, "_PORTS", (80, 443, listener.port))
    yield listener
    listener.close()


def refusal(url: str, guard: Guard | None, kind: type[OpenAICompatible | Ollama] = OpenAICompatible) -> ProviderError:
    """Return what a call and a list of models end with; the two agree."""

    async def main() -> ProviderError:
        provider = kind(url, KEY, guard=guard) if kind is Ollama else OpenAICompatible(url, KEY, guard=guard)
        try:
            async with asyncio.timeout(20):
                with pytest.raises(ProviderError) as listed:
                    await provider.list_models()
                with pytest.raises(ProviderError) as asked:
                    await provider.generate(request())
        finally:
            await provider.close()
        assert listed.value.code == asked.value.code
        assert not asked.value.retryable or asked.value.code != "address_refused"
        return asked.value

    return run_async(main())


def test_the_listener_sees_a_connection_that_nobody_refuses(listener: Listener) -> None:
    for host in ("127.0.0.1", "localhost", "[::1]"):
        before = listener.seen
        refusal(f"https://{host}:{listener.port}/v1", None)
        wait_for(lambda before=before: listener.seen > before)


def test_there_are_enough_forms() -> None:
    assert len(set(FORMS)) == len(FORMS) >= 80


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_refused_before_any_connection(listener: Listener, form: str) -> None:
    url = form.format(port=listener.port, long="a" * 2000)
    error = refusal(url, Guard())
    assert error.code == "address_refused"
    assert not error.sent
    assert listener.seen == 0


@pytest.mark.parametrize("form", [form for form in FORMS if form.startswith("https://")])
def test_a_form_is_refused_for_ollama_in_whose_notation_addresses_are_shorter(listener: Listener, form: str) -> None:
    url = form.format(port=listener.port, long="a" * 2000)
    assert refusal(url, Guard(), Ollama).code == "address_refused"
    assert listener.seen == 0


@pytest.mark.parametrize("addresses", BEHIND_A_NAME, ids="+".join)
def test_a_name_is_refused_for_any_of_its_addresses(listener: Listener, addresses: tuple[str, ...]) -> None:
    guard = Guard(resolver=Names({"llm.example.com": [addresses]}))
    error = refusal(f"https://llm.example.com:{listener.port}/v1", guard)
    assert error.code == "address_refused"
    assert "llm.example.com" in error.message
    assert not any(address in str(error) for address in addresses)
    assert listener.seen == 0


def test_a_name_that_is_public_when_saved_and_private_when_called_is_refused(listener: Listener) -> None:
    names = Names({"rebind.example.com": [["8.8.8.8"], ["127.0.0.1"]]})
    guard = Guard(resolver=names)
    place = guard.check(f"https://rebind.example.com:{listener.port}/v1")

    async def look_up() -> list[str]:
        connector = guard.connector(place, 1.0)
        try:
            return [one["host"] for one in await connector._resolver.resolve(place.host, place.port)]
        finally:
            await connector.close()

    assert run_async(look_up()) == ["8.8.8.8"]
    assert refusal(place.url, guard).code == "address_refused"
    assert names.asked == 3  # for each connection anew: there is no answer that is checked and not used
    assert listener.seen == 0


def test_an_address_that_passed_every_other_check_is_looked_at_before_the_connection(listener: Listener) -> None:
    guard = Guard(resolver=Names({"llm.example.com": [["127.0.0.1"]]}))
    guard.check_addresses = lambda place, found: None  # type: ignore[method-assign]
    assert refusal(f"https://llm.example.com:{listener.port}/v1", guard).code == "provider_unreachable"
    assert listener.seen == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(listener: Listener, status: int) -> None:
    with Stub() as stub:
        where = {"Location": f"http://127.0.0.1:{listener.port}/v1/models"}
        stub.next(Behaviour(status=status, headers=where), Behaviour(status=status, headers=where))
        error = refusal(f"{stub.url}/v1", Guard({("127.0.0.1", stub.port), ("127.0.0.1", listener.port)}))
    assert error.code == "provider_refused"
    assert listener.seen == 0


def test_proxies_of_the_environment_are_not_used(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
    assert refusal(f"https://127.0.0.1:{listener.port}/v1", Guard()).code == "address_refused"
    with Stub() as stub:
        run_async(_listed(f"{stub.url}/v1", Guard({("127.0.0.1", stub.port)})))
    assert listener.seen == 0


async def _listed(url: str, guard: Guard) -> list[str]:
    provider = OpenAICompatible(url, KEY, guard=guard)
    try:
        return await provider.list_models()
    finally:
        await provider.close()
