"""Code in a kernel of somebody's server, over the server's own interface and through the Hub's proxy."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from websockets.sync.client import connect

from tests.hub.hub import ask


def run_in_kernel(server_url: str, token: str, code: str) -> str:
    """Start a kernel, run ``code`` in it, end it; return what it has printed, or the error."""
    made = ask("POST", f"{server_url}api/kernels", token, {"name": "python3"})
    assert made.status == 201, made
    kernel = f"api/kernels/{made.json['id']}"
    socket_url = f"ws{server_url.removeprefix('http')}{kernel}/channels"
    try:
        with connect(
            socket_url, additional_headers={"Authorization": f"token {token}"}, proxy=None, open_timeout=30
        ) as socket:
            request = _execute(code)
            socket.send(json.dumps(request))
            return _printed(socket, request["header"]["msg_id"])
    finally:
        ask("DELETE", f"{server_url}{kernel}", token)


def _execute(code: str) -> dict[str, Any]:
    header = {"msg_id": uuid4().hex, "msg_type": "execute_request", "username": "", "session": "s", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "user_expressions": {}}
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
        "buffers": [],
    }


def _printed(socket: Any, request_id: str) -> str:
    printed = ""
    while True:
        message = json.loads(socket.recv(timeout=60))
        if message["parent_header"].get("msg_id") != request_id:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            printed += content["text"]
        elif kind == "error":
            printed += f"{content['ename']}: {content['evalue']}"
        elif kind == "status" and content["execution_state"] == "idle":
            return printed
