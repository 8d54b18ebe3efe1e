"""Finding the server, and keeping its token to oneself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from promptcard_ext.client.discovery import Address, find_server
from promptcard_ext.client.session import Session
from promptcard_ext.core.errors import Unavailable

TOKEN = "s3cret-t0ken"


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the records of Jupyter servers."""
    for name in list(os.environ):
        if name.startswith(("PROMPTCARDS_", "JPY_", "JUPYTERHUB_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def dead_pid() -> int:
    """The process id of a process that has ended."""
    return int(
        subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True).stdout
    )


def write_record(folder: Path, number: int, *, pid: int | None = None, age_s: float = 0, **more: Any) -> None:
    path = folder / f"jpserver-{number}.json"
    values = {"pid": pid or os.getpid(), "url": f"http://localhost:{number}/", "token": TOKEN, **more}
    path.write_text(json.dumps(values))
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age_s))


def test_the_environment_goes_first(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(runtime, 8888)
    monkeypatch.setenv("PROMPTCARDS_URL", "https://hub.example/services/promptcards")
    monkeypatch.setenv("PROMPTCARDS_TOKEN", TOKEN)
    assert tuple(find_server()) == ("https://hub.example/services/promptcards/", TOKEN)


def test_the_server_that_started_the_kernel_goes_before_a_younger_one(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(runtime, 8888, age_s=100)
    write_record(runtime, 8889)
    assert find_server().url == "http://localhost:8889/"
    monkeypatch.setenv("JPY_PARENT_PID", "8888")
    assert find_server().url == "http://localhost:8888/"


HUB = {"JUPYTERHUB_API_TOKEN": TOKEN, "JUPYTERHUB_BASE_URL": "/base/"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"JUPYTERHUB_PUBLIC_HUB_URL": "https://hub.example/base/hub/"},
            "https://hub.example/base/services/promptcards/",
        ),
        ({"PROMPTCARDS_URL": "http://box:1/base/services/cards"}, "http://box:1/base/services/cards/"),
    ],
)
def test_on_a_hub_its_service_is_used_with_the_hubs_token(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    write_record(runtime, 8888)
    for name, value in {**HUB, **variables}.items():
        monkeypatch.setenv(name, value)
    assert tuple(find_server()) == (expected, TOKEN)


@pytest.mark.parametrize(
    "url", ["http://box:1", "http://box:1/services/cards", "http://box:1/x/base/services/", "http://[::1"]
)
def test_the_hubs_token_is_for_its_services_only(runtime: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name, value in {**HUB, "PROMPTCARDS_URL": url}.items():
        monkeypatch.setenv(name, value)
    assert find_server().token == ""
    monkeypatch.setenv("PROMPTCARDS_TOKEN", "given")
    assert find_server().token == "given"


def test_a_hub_that_does_not_know_its_address_is_no_server(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**HUB, "JUPYTERHUB_PUBLIC_HUB_URL": ""}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unavailable):
        find_server()


def test_records_of_dead_servers_are_skipped(runtime: Path, monkeypatch: pytest.MonkeyPatch, dead_pid: int) -> None:
    write_record(runtime, 8888, age_s=100)
    write_record(runtime, 8889, pid=dead_pid)
    monkeypatch.setenv("JPY_PARENT_PID", "8889")
    assert find_server().url == "http://localhost:8888/"


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "{}", '{"pid": "x", "url": "http://a/"}', "\udcff"])
def test_records_that_are_none_are_skipped(runtime: Path, text: str) -> None:
    (runtime / "jpserver-1.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(Unavailable) as missing:
        find_server()
    assert missing.value.code == "server_not_found"
    assert "jupyter promptcards lab" in missing.value.hint


def test_without_a_runtime_folder_there_is_no_server(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(runtime / "nowhere"))
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    with pytest.raises(Unavailable):
        find_server()


def test_an_address_does_not_show_its_token() -> None:
    address = Address("http://localhost:8888/", TOKEN)
    for shown in (
        repr(address),
        str(address),
        f"{address}",
        repr([address]),
        repr(Session(address).__dict__["address"]),
    ):
        assert TOKEN not in shown


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://localhost/?token={TOKEN}",
        f"localhost:8888/?token={TOKEN}",
        f"http://ada:{TOKEN}@:x/",
        f"http://localhost:port/?token={TOKEN}",
        "",
        "http://[::1",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(Unavailable) as refusal:
        Session(Address(url, TOKEN))
    assert refusal.value.code == "url_invalid"
    assert TOKEN not in str(refusal.value)


def test_what_a_browser_has_in_its_address_bar_can_be_given_and_is_not_shown() -> None:
    session = Session(Address(f"http://ada:{TOKEN}@[::1]:8888/base/?token={TOKEN}", f" {TOKEN}\n"))
    assert session.address.url == "http://[::1]:8888/base/"
    assert session.url("workspaces", "a b/c") == "/base/promptcards/api/v1/workspaces/a%20b%2Fc"
    assert session.headers == {"Authorization": f"token {TOKEN}"}
