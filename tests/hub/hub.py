"""A real JupyterHub with its proxy, on the example configuration of deploy/hub."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import psutil

from tests.support import environment, wait_for

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy/hub/jupyterhub_config.py"
START_TIMEOUT_S = 90

_CONFIG = """
load_subconfig({example!r})
c.JupyterHub.bind_url = {url!r}
c.JupyterHub.hub_port = {hub_port}
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.cookie_secret = bytes.fromhex({secret!r})
c.JupyterHub.services[0]["environment"]["PATH"] = {path!r}
c.JupyterHub.services += [{{"name": "tests", "api_token": {token!r}}}]
c.JupyterHub.load_roles += [
    {{"name": "tests", "services": ["tests"], "scopes": [
        "admin:users", "admin:servers", "admin:server_state", "admin:groups", "tokens", "access:services"]}},
]
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r} + "/{{username}}"
c.Spawner.cmd = [{singleuser!r}]
c.Spawner.args = ["--allow-root"]
c.Spawner.environment["JUPYTERHUB_SINGLEUSER_APP"] = "jupyter_server.serverapp.ServerApp"
"""


# What the Hub says counts for a second here, and for a minute elsewhere.
_SERVICE_CONFIG = """
c.HubOAuth.cache_max_age = 1
c.PromptCards.hub_groups_every_s = 1
c.PromptCards.start_worker = False
c.PromptCards.hub_role_map = {"staff-of-*": "admin"}
"""


class Answer(NamedTuple):
    """What was answered."""

    status: int
    headers: Any
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


def ask(method: str, url: str, token: str = "", body: Any = None, **headers: str) -> Answer:
    """Make a request; nothing is raised for a status, and no redirect is followed."""
    given = {"Authorization": f"token {token}"} if token else {}
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {**given, "Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=60) as response:
            return Answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return Answer(refusal.code, refusal.headers, refusal.read())


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        return None


def free_ports(count: int) -> list[int]:
    """Return as many different ports that nobody listens on."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]


class Hub:
    """A Hub that lives as long as the context.

    Args:
        home: The home of the service.
        folder: Where the Hub works; it is made.
    """

    def __init__(self, home: Path, folder: Path) -> None:
        self.folder, self.log = folder, folder / "hub.log"
        port, service_port, hub_port, api_port = free_ports(4)
        self.url = f"http://127.0.0.1:{port}"
        self.service_url = f"http://127.0.0.1:{service_port}"
        self.api, self.service = f"{self.url}/hub/api", f"{self.url}/services/promptcards/"
        self.token = secrets.token_hex(16)
        programs = Path(sysconfig.get_path("scripts"))
        folder.mkdir()
        (folder / "jupyterhub_config.py").write_text(
            _CONFIG.format(
                example=str(EXAMPLE),
                url=self.url,
                hub_port=hub_port,
                api_port=api_port,
                secret=secrets.token_hex(32),
                token=self.token,
                path=os.pathsep.join((str(programs), os.environ["PATH"])),
                proxy=str(programs / "configurable-http-proxy"),
                homes=str(folder / "homes"),
                singleuser=str(programs / "jupyterhub-singleuser"),
            )
        )
        config = folder / "config"
        config.mkdir()
        (config / "jupyter_promptcards_config.py").write_text(_SERVICE_CONFIG)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", "jupyterhub_config.py"],
                cwd=folder,
                env=environment(
                    home,
                    PROMPTCARDS_SERVICE_URL=self.service_url,
                    JUPYTER_CONFIG_DIR=str(config),
                    PATH=os.pathsep.join((str(programs), os.environ["PATH"])),
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def wait_ready(self) -> None:
        """Wait until Hub, proxy and service answer."""
        wait_for(lambda: self.process.poll() is not None or self._answers(f"{self.api}/"), START_TIMEOUT_S)
        assert self.process.poll() is None, self.output
        wait_for(lambda: self._answers(f"{self.service}promptcards/api/v1/health", 401), START_TIMEOUT_S)

    def _answers(self, url: str, status: int = 200) -> bool:
        with suppress(OSError):
            return ask("GET", url).status == status
        return False

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask the Hub's interface, as an administrator."""
        return ask(method, f"{self.api}/{path}", self.token, body)

    def tell(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the Hub's interface for what must succeed."""
        answer = self.ask(method, path, body)
        assert answer.status < 300, (path, answer)
        return answer.json if answer.raw else None

    def join(self, user: str, group: str) -> None:
        """Put a user into a group, which is made if there is none."""
        self.ask("POST", f"groups/{group}")
        self.tell("POST", f"groups/{group}/users", {"users": [user]})

    def leave(self, user: str, group: str) -> None:
        """Take a user out of a group."""
        self.tell("DELETE", f"groups/{group}/users", {"users": [user]})

    def token_of(self, user: str, *scopes: str) -> str:
        """Return a token that the user may have made for a program of theirs."""
        return str(self.tell("POST", f"users/{user}/tokens", {"scopes": scopes})["token"])

    def server_of(self, user: str) -> psutil.Process:
        """Return the process of a user's server, which is started if there is none."""
        self.ask("POST", f"users/{user}/server")
        server = wait_for(lambda: self._ready_server(user), START_TIMEOUT_S)
        return psutil.Process(server["state"]["pid"])

    def _ready_server(self, user: str) -> Any:
        server = self.tell("GET", f"users/{user}")["servers"].get("")
        return server if server and server["ready"] else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        family: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            family = [parent, *parent.children(recursive=True)]
        with suppress(OSError, ValueError, psutil.NoSuchProcess):  # a Hub that has died leaves its proxy behind
            family.append(psutil.Process(int((self.folder / "jupyterhub-proxy.pid").read_text())))
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=10)
        if kind is not None:
            print(f"--- jupyterhub ---\n{self.output}")
        shutil.rmtree(self.folder, ignore_errors=True)
