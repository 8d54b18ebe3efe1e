"""Ollama's chat protocol."""

from __future__ import annotations

import os
import time
from typing import Any

import aiohttp

from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.core.results import Tokens
from promptcard_ext.providers.http import MAX_BODY_BYTES, Http, decode, token_count, without_credentials

OLLAMA_URL = "http://127.0.0.1:11434"


class Ollama:
    """Chat with a local Ollama.

    Args:
        base_url: Address; default ``OLLAMA_HOST``, else port 11434 on this machine.
    """

    name = "ollama"
    price_key = "ollama"

    def __init__(self, base_url: str | None = None) -> None:
        self._url = _address(base_url or os.environ.get("OLLAMA_HOST") or OLLAMA_URL)
        self.endpoint = without_credentials(self._url)
        self._http = Http("Ollama", self._url, {})

    async def generate(self, request: Request) -> Reply:
        """Make one call; see `core.ports.Provider`."""
        started = time.perf_counter()
        async with self._http.post("/api/chat", _body(request)) as response:
            if request.settings.stream:
                return await self._read_stream(response, started)
            value = await self._http.read_json(response)
        return self._reply(value, _content(value), started, None)

    def _reply(self, final: dict[str, Any], output: str | None, started: float, first: float | None) -> Reply:
        if output is None or not final.get("done"):
            raise self._http.broken("the reply has no finished message")
        message = final.get("message")
        return Reply(
            output=output,
            latency_ms=(time.perf_counter() - started) * 1000,
            tokens=Tokens(
                input=token_count(final.get("prompt_eval_count")), output=token_count(final.get("eval_count"))
            ),
            finish_reason=final.get("done_reason") if isinstance(final.get("done_reason"), str) else None,
            ttft_ms=(first - started) * 1000 if first else None,
            model_reported=final.get("model") if isinstance(final.get("model"), str) else None,
            tool_calls=message.get("tool_calls") if isinstance(message, dict) else None,
        )

    async def _read_stream(self, response: aiohttp.ClientResponse, started: float) -> Reply:
        parts: list[str] = []
        first: float | None = None
        size, buffer = 0, b""
        async for data in response.content.iter_any():
            size += len(data)
            if size > MAX_BODY_BYTES:
                raise ProviderError("The stream of Ollama is too long.", code="reply_too_long")
            *lines, buffer = (buffer + data).split(b"\n")
            for line in filter(None, lines):
                event = self._event(line)
                text = _content(event)
                if text:
                    first = first or time.perf_counter()
                    parts.append(text)
                if event.get("done"):
                    return self._reply(event, "".join(parts), started, first)
        raise self._http.broken("the stream broke off")

    def _event(self, line: bytes) -> dict[str, Any]:
        try:
            value = decode(line)
        except (ValueError, RecursionError):
            raise self._http.broken("an event of the stream is not JSON") from None
        if not isinstance(value, dict) or value.get("error"):
            raise self._http.broken("the stream reports an error")
        return value

    async def list_models(self) -> list[str]:
        """Return the models that are pulled; see `core.ports.Provider`."""
        import ollama

        client = ollama.AsyncClient(host=self._url, timeout=5, trust_env=False, follow_redirects=False)
        try:
            listing = await client.list()
        except ollama.ResponseError as error:
            raise self._http.refusal(error.status_code, b"", {}) from None
        except (ValueError, TypeError):
            raise self._http.broken("the list of models is not as it should be") from None
        except Exception as error:  # noqa: BLE001
            # Its HTTP library is not part of its interface, so what that raises cannot be named here.
            raise self._http.unreachable(error) from None
        finally:
            await client.close()  # type: ignore[no-untyped-call]
        return sorted(entry.model for entry in listing.models if entry.model)

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()


def _address(host: str) -> str:
    # OLLAMA_HOST is also what the server listens on: a bare host, host:port or :port, or an address for "everywhere".
    bare = "://" not in host
    scheme, _, rest = (f"http://{host}" if bare else host).partition("://")
    netloc, slash, path = rest.rstrip("/").partition("/")
    user, at, place = netloc.rpartition("@")
    has_port = place.rpartition(":")[2].isdigit() and not place.endswith("]")
    name, port = (place.rpartition(":")[0], place.rpartition(":")[2]) if has_port else (place, "11434" if bare else "")
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(name, name)  # noqa: S104
    return f"{scheme}://{user}{at}{name}{':' if port else ''}{port}{slash}{path}"


def _body(request: Request) -> dict[str, Any]:
    settings = request.settings
    names = {"temperature": "temperature", "top_p": "top_p", "max_tokens": "num_predict", "seed": "seed"}
    options = {sent: value for name, sent in names.items() if (value := getattr(settings, name)) is not None}
    if settings.stop:
        options["stop"] = list(settings.stop)
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "stream": settings.stream,
        "options": options,
    }
    wanted = settings.response_format or {}
    if wanted.get("type") in ("json_object", "json_schema"):
        schema = wanted.get("json_schema")
        body["format"] = (schema.get("schema") if isinstance(schema, dict) else None) or "json"
    return body


def _content(value: dict[str, Any]) -> str | None:
    message = value.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else None
