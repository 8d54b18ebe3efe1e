"""What a workspace may call, and in which form an address is kept."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from promptcard_ext.core.errors import ProviderError
from promptcard_ext.providers.address_ranges import Reach, reach_of
from promptcard_ext.providers.ollama import Ollama
from promptcard_ext.providers.outbound import Guard
from promptcard_ext.providers.place import host_of, place_of
from tests.providers.asking import request
from tests.run_async import run_async
from tests.security.test_ssrf import Names
from tests.stub_server import Stub


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("HTTPS://API.OpenAI.com:443/v1/", "https://api.openai.com/v1"),
        ("https://api.openai.com", "https://api.openai.com"),
        ("https://api.openai.com:80/v1", "https://api.openai.com:80/v1"),
        ("https://my-gateway.example.com/proj/a.b~c/%20x", "https://my-gateway.example.com/proj/a.b~c/%20x"),
        ("https://8.8.8.8/v1", "https://8.8.8.8/v1"),
        ("https://[2606:4700:0:0::1111]/v1", "https://[2606:4700::1111]/v1"),
        ("https://xn--bcher-kva.example/v1", "https://xn--bcher-kva.example/v1"),
    ],
)
def test_a_public_address_may_be_called_and_is_kept_in_one_form(url: str, kept: str) -> None:
    place = Guard().check(url)
    assert place.url == kept
    assert place_of(place.url) == place


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("8.8.8.8", Reach.PUBLIC),
        ("100.63.255.255", Reach.PUBLIC),
        ("172.32.0.1", Reach.PUBLIC),
        ("2606:4700::1111", Reach.PUBLIC),
        ("2a00::1", Reach.PUBLIC),
        ("::ffff:8.8.8.8", Reach.PUBLIC),
        ("127.0.0.1", Reach.PRIVATE),
        ("100.127.255.255", Reach.PRIVATE),
        ("::ffff:10.0.0.1", Reach.PRIVATE),
        ("fdff::1", Reach.PRIVATE),
        ("100.100.100.200", Reach.FORBIDDEN),
        ("fd00:ec2::254", Reach.FORBIDDEN),
        ("169.254.169.254", Reach.FORBIDDEN),
        ("::", Reach.FORBIDDEN),
        ("64:ff9b::8.8.8.8", Reach.FORBIDDEN),
        ("", Reach.FORBIDDEN),
    ],
)
def test_where_an_address_leads(address: str, reach: Reach) -> None:
    assert reach_of(address) is reach


@given(
    st.one_of(
        st.text(alphabet="htps:/@[]#?%\\.0123456789abcdefx-_ \t\n①。", max_size=40).map("https://".__add__),
        st.from_regex(r"https?://[a-z0-9.@:\[\]%_-]{1,20}(:[0-9]{1,5})?(/[a-z0-9.@%/-]{0,10})?", fullmatch=True),
    )
)
def test_whoever_reads_an_address_that_we_take_reads_the_same(url: str) -> None:
    try:
        place = place_of(url)
    except ProviderError:
        return
    for text in (url, place.url):
        yarl, split = URL(text), urlsplit(text)
        for scheme, host, port in ((yarl.scheme, yarl.host, yarl.port), (split.scheme, split.hostname, split.port)):
            assert scheme == place.scheme
            assert (port or {"http": 80, "https": 443}[place.scheme]) == place.port
            assert host is not None
            assert host_of(host) == place.host
        assert yarl.user is split.username is None
        assert yarl.query_string == split.query == yarl.fragment == split.fragment == ""


@given(st.ip_addresses())
def test_what_python_knows_to_be_private_is_never_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    # Python takes parts of a few blocks for global that the registry gives to protocols; we refuse those as well.
    mapped = getattr(address, "ipv4_mapped", None) or address
    if not mapped.is_global or mapped.is_multicast or mapped.is_reserved:
        assert reach_of(str(address)) is not Reach.PUBLIC


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "fd00::1", "::1", "gpu.local", "ollama", "8.8.8.8"])
def test_an_owner_allows_a_host_with_a_port(host: str) -> None:
    guard = Guard({(host_of(host), 11434)})
    shown = f"[{host}]" if ":" in host else host
    assert guard.check(f"https://{shown}:11434").port == 11434
    for other in (f"https://{shown}:11435", f"http://{shown}:80", "http://127.0.0.2:11434"):
        with pytest.raises(ProviderError, match="must not be called"):
            guard.check(other)


@pytest.mark.parametrize("host", ["169.254.169.254", "192.0.0.192", "100.100.100.200", "fe80::1", "fd00:ec2::254"])
def test_no_owner_can_allow_what_gives_out_the_machine_itself(host: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    for scheme in ("http", "https"):
        with pytest.raises(ProviderError) as caught:
            Guard({(host, 80)}).check(f"{scheme}://{shown}:80")
        assert caught.value.code == "address_refused"


def test_plain_text_does_not_go_to_the_internet_even_where_an_owner_allows_the_host() -> None:
    with pytest.raises(ProviderError, match="plain text"):
        Guard({("8.8.8.8", 8080)}).check("http://8.8.8.8:8080")

    async def main(guard: Guard) -> None:
        provider = Ollama("http://gpu.example.com:11434", guard=guard)
        try:
            await provider.list_models()
        finally:
            await provider.close()

    names = Names({"gpu.example.com": [["8.8.8.8"]]})
    with pytest.raises(ProviderError, match="plain text"):
        run_async(main(Guard({("gpu.example.com", 11434)}, names)))


@pytest.mark.parametrize("host", ["127.0.0.1", "gpu.local"])
def test_an_allowed_ollama_answers(host: str) -> None:
    async def main(stub: Stub) -> tuple[list[str], str]:
        guard = Guard({(host, stub.port)}, Names({"gpu.local": [["127.0.0.1"]]}))
        provider = Ollama(f"http://{host}:{stub.port}", guard=guard)
        try:
            return await provider.list_models(), (await provider.generate(request())).output
        finally:
            await provider.close()

    with Stub() as stub:
        assert run_async(main(stub)) == (["stub-a:1b", "stub-b:1b"], "Hello from the stub.")
        assert stub.connections == 1


def test_a_refusal_says_how_to_allow_the_host_where_it_can_be_allowed() -> None:
    with pytest.raises(ProviderError) as caught:
        Guard().check("https://10.0.0.5/v1")
    assert "10.0.0.5, port 443" in caught.value.hint
    with pytest.raises(ProviderError) as never:
        Guard().check("https://169.254.169.254/v1")
    assert "169.254" not in never.value.hint
