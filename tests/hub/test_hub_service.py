"""``serve`` with the variables of a service, and no Hub behind them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server_ext.embedded import Services
from server_ext.settings import Settings
from tests.hub.hub import ask
from tests.support import Program, free_port, run_command, wait_for

PREFIX = "/base/services/cards/"


def variables(port: int) -> dict[str, str]:
    return {
        "JUPYTERHUB_SERVICE_NAME": "cards",
        "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}",
        "JUPYTERHUB_API_URL": f"http://127.0.0.1:{free_port()}/hub/api",
        "JUPYTERHUB_API_TOKEN": "t0ken",
        "JUPYTERHUB_CLIENT_ID": "service-cards",
    }


@pytest.fixture(scope="module")
def url(settings: Settings, services: Services) -> Iterator[str]:
    """A service that somebody has started by hand, whose Hub is away; the port that was asked for does not count."""
    port = free_port()
    with Program(settings.home, "serve", "--no-worker", "--port", "0", **variables(port)) as program:
        url = f"http://127.0.0.1:{port}{PREFIX}promptcards/api/v1/"

        def answers() -> bool:
            assert program.process.poll() is None
            try:
                return ask("GET", f"{url}workspaces").status == 401
            except OSError:
                return False

        wait_for(answers, 60)
        yield url


def test_without_the_hub_nobody_can_be_told_apart(url: str) -> None:
    answer = ask("GET", f"{url}workspaces", "t0ken")
    assert (answer.status, answer.json["code"]) == (503, "hub_unreachable")
    assert answer.headers["Retry-After"]


def test_a_token_of_jupyter_counts_for_nothing(url: str) -> None:
    assert ask("GET", f"{url}workspaces?token=t0ken").status == 401


def test_half_a_service_does_not_come_up_as_a_server_of_its_own(settings: Settings, services: Services) -> None:
    half = {**variables(free_port()), "JUPYTERHUB_API_TOKEN": ""}
    ended = run_command(settings.home, "serve", **half)
    assert ended.returncode == 1
    assert "hub_service_incomplete" in ended.stderr
    assert "Traceback" not in ended.stderr
