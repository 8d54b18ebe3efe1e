"""Schemathesis against a server of its own: the document in, cases and failures out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server_ext.api import examples
from server_ext.api.openapi import document
from tests.security.serving import Server
from tests.security.wire_client import PREFIX
from tests.support import environment, run_command

PASSWORD = "correct horse battery"
PEERS = ("ada", "bob")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
    "object_level_authorization",
)
# What asks somebody else's server, and what stays open: those have tests of their own.
LEFT_OUT = ("test_credential", "follow_run", "follow_changes")
# Whoever guesses passwords is made to wait, at the next good one too; so these come last.
GUESSES = ("log_in", "change_password")


@dataclass(frozen=True)
class Fuzzed:
    """What came of it.

    Attributes:
        cases: Requests that were made up.
        phases: What became of each phase.
        failures: What went wrong, as Schemathesis says it.
        output: All that it printed.
    """

    cases: int
    phases: Mapping[str, str]
    failures: list[Any]
    output: str


class Contract:
    """Two people who know nothing of each other, each with a workspace in which something is, and who fuzzes.

    Args:
        home: Of the server.
    """

    def __init__(self, server: Server, home: Path) -> None:
        self._server, self._home = server, home
        self._workspaces = [self._settle(name) for name in PEERS]
        run_command(home, "worker", "--burst")

    def fuzz(self, folder: Path, seconds: int, seed: int) -> Fuzzed:
        """Send requests of all phases for some time, and have every answer checked."""
        (folder / "openapi.json").write_text(json.dumps(document()))
        (folder / "auth.json").write_text(json.dumps({"auth": [_login(name) for name in PEERS]}))
        (folder / "schemathesis.toml").write_text(self._settings(folder / "auth.json"))
        most = self._run(folder, seconds - seconds // 8, seed, "exclude", "examples,coverage,fuzzing,stateful")
        rest = self._run(folder, seconds // 8, seed, "include", "coverage,fuzzing")
        return Fuzzed(
            most.cases + rest.cases, most.phases, most.failures + rest.failures, most.output + "\n" + rest.output
        )

    def _run(self, folder: Path, seconds: int, seed: int, guesses: str, phases: str) -> Fuzzed:
        report = folder / f"report-{guesses}.json"
        # One worker: two of them meet in a cache of Hypothesis that is not made for threads.
        chosen = [text for name in GUESSES for text in (f"--{guesses}-operation-id", name)]
        done = subprocess.run(
            [
                sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
                "--config-file", str(folder / "schemathesis.toml"), "run", str(folder / "openapi.json"), *chosen,
                "--checks", ",".join(CHECKS), "--phases", phases, "--max-time", str(seconds), "--seed", str(seed),
                "--workers", "1", "--continue-on-failure", "--generation-database", "none", "--no-color",
                "--report-json-path", str(report),
            ],
            env=environment(self._home),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=seconds + 120,
            check=False,
        )  # fmt: skip
        assert report.exists(), done.stdout
        told = json.loads(report.read_text("utf-8"))
        became = {name: phase["status"] for name, phase in told["phases"].items()}
        return Fuzzed(told["test_cases"]["generated"], became, told["failures"] + told["errors"], done.stdout)

    def _settle(self, name: str) -> str:
        """Make an account, a workspace with a card, a case and a run in it; return the workspace's id."""
        created = subprocess.run(
            [sys.executable, "-m", "promptcard_ext.cli", "user", "create", f"{name}@example.com", "--name", name],
            env=environment(self._home),
            cwd=self._home.parent,
            input=f"{PASSWORD}\n",
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert created.returncode == 0, created.stderr
        login = {"email": f"{name}@example.com", "password": PASSWORD}
        token = self._post("auth/login", login, {})["access_token"]
        headers = {"X-PromptCards-Token": token}
        workspace = self._post("workspaces", {"name": name}, headers)["id"]
        for path, body in (
            ("cards", "save_card"),
            ("cards/greet/cases", "add_case"),
            ("runs", "create_run"),
            ("tokens", "create_token"),
            ("price-overrides", "create_price_override"),
            ("credentials", "create_credential"),
        ):
            made = self._post(f"workspaces/{workspace}/{path}", examples.BODIES[body], headers)
            if path == "runs":
                self._post(f"workspaces/{workspace}/runs/{made['id']}/reports", {}, headers)
        return str(workspace)

    def _post(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> Any:
        with self._server.connection() as connection:
            reply = connection.ask("POST", path, headers, json.dumps(body).encode())
        assert reply.status in (200, 201, 202), (path, reply.status, reply.body)
        return reply.json

    def _settings(self, auth: Path) -> str:
        left_out = "".join(f'[[operations]]\ninclude-operation-id = "{name}"\nenabled = false\n' for name in LEFT_OUT)
        return f"""
base-url = "http://127.0.0.1:{self._server.port}{PREFIX.rstrip("/")}"
[parameters]
"path.workspace" = "{self._workspaces[0]}"
[checks.missing_required_header]
expected-statuses = [428, 400, 401, 403, 404, 422]
[auth.wfc]
path = "{auth}"
peers = {json.dumps(PEERS)}
{left_out}"""


def _login(name: str) -> dict[str, Any]:
    """Return how Schemathesis logs somebody in, again whenever a session has ended."""
    token = {"extractFrom": "body", "extractSelector": "/access_token", "sendIn": "header"}
    return {
        "name": name,
        "loginEndpointAuth": {
            "endpoint": f"{PREFIX}auth/login",
            "verb": "POST",
            "contentType": "application/json",
            "payloadRaw": json.dumps({"email": f"{name}@example.com", "password": PASSWORD}),
            "token": {**token, "sendName": "X-PromptCards-Token"},
        },
    }
