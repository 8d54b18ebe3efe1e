"""The OpenAI chat protocol, at OpenAI or at any server that speaks it."""

from __future__ import annotations

import os
import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.core.results import Tokens
from promptcard_ext.providers.http import MAX_BODY_BYTES, Http, decode, token_count, without_credentials

OPENAI_URL = "https://api.openai.com/v1"


class OpenAICompatible:
    """Chat completions over HTTP.

    Args:
        base_url: Address up to and with ``/v1``; default ``OPENAI_BASE_URL``, else OpenAI.
        api_key: Default ``OPENAI_API_KEY``; servers on your own machine need none.
    """

    name = "openai"

    def __init__(self, base_url: str | None = None, api_key: str | None = None) -> None:
        self._url = (base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).rstrip("/")
        self.endpoint = without_credentials(self._url)
        # A key that was read from a file tends to end with a line break, which no header may have.
        key = (api_key if api_key is not None else os.environ.get("OPENAI_API_KEY", "")).strip()
        # Another server's model may carry an OpenAI name; OpenAI's prices say nothing about it.
        self.price_key = "openai" if urlsplit(self.endpoint).hostname == "api.openai.com" else ""
        self._has_key = bool(key)
        self._key = key
        self._http = Http("OpenAI API", self._url, {"Authorization": f"Bearer {key}"} if key else {})

    async def generate(self, request: Request) -> Reply:
        """Make one call; see `core.ports.Provider`."""
        self._need_key()
        started = time.perf_counter()
        body = _body(request)
        async with self._http.post("/chat/completions", body) as response:
            if request.settings.stream:
                return await self._read_stream(response, started)
            value = await self._http.read_json(response)
        return self._reply(value, (time.perf_counter() - started) * 1000)

    def _need_key(self) -> None:
        if not self._has_key and self.price_key == "openai":
            raise ProviderError(
                "There is no key for the OpenAI API.",
                code="provider_auth",
                sent=False,
                hint="Set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own.",
            )

    def _reply(self, value: dict[str, Any], latency_ms: float) -> Reply:
        try:
            choice = value["choices"][0]
            message = choice["message"]
            output, calls = message.get("content"), message.get("tool_calls")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise self._http.broken("the reply has no choices") from None
        return Reply(
            output=output if isinstance(output, str) else None,
            latency_ms=latency_ms,
            tokens=_tokens(value.get("usage")),
            finish_reason=_text(choice.get("finish_reason")),
            model_reported=_text(value.get("model")),
            fingerprint=_text(value.get("system_fingerprint")),
            tool_calls=calls or None,
        )

    async def _read_stream(self, response: aiohttp.ClientResponse, started: float) -> Reply:
        parts: list[str] = []
        first: float | None = None
        last: dict[str, Any] = {}
        usage = finish = None
        ended = False
        async for chunk in self._chunks(response):
            if chunk is None:
                ended = True
                break
            last = chunk
            usage = chunk.get("usage") or usage
            delta, why = _delta(chunk)
            finish = why or finish
            if delta:
                first = first or time.perf_counter()
            if delta is not None:
                parts.append(delta)
        if not ended and finish is None:
            raise self._http.broken("the stream broke off")
        return Reply(
            output="".join(parts) if parts else None,
            latency_ms=(time.perf_counter() - started) * 1000,
            tokens=_tokens(usage),
            finish_reason=_text(finish),
            ttft_ms=(first - started) * 1000 if first else None,
            model_reported=_text(last.get("model")),
            fingerprint=_text(last.get("system_fingerprint")),
        )

    async def _chunks(self, response: aiohttp.ClientResponse) -> Any:
        """Yield each event of the stream as a mapping, then None for ``[DONE]``."""
        size = 0
        buffer = b""
        async for data in response.content.iter_any():
            size += len(data)
            if size > MAX_BODY_BYTES:
                raise ProviderError("The stream of the OpenAI API is too long.", code="reply_too_long")
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                if not line.startswith(b"data:"):
                    continue
                payload = line[5:].strip()
                if payload == b"[DONE]":
                    yield None
                    return
                yield self._event(payload)

    def _event(self, payload: bytes) -> dict[str, Any]:
        try:
            value = decode(payload)
        except (ValueError, RecursionError):
            raise self._http.broken("an event of the stream is not JSON") from None
        if not isinstance(value, dict) or value.get("error"):
            raise self._http.broken("the stream reports an error")
        return value

    async def list_models(self) -> list[str]:
        """Return the models that the endpoint offers; see `core.ports.Provider`."""
        self._need_key()
        # The official client is the better reader of what is not the hot path, and slow to import.
        import openai

        # Its own HTTP client would take proxies from the environment and follow redirects with the key.
        http = openai.DefaultAsyncHttpxClient(trust_env=False, follow_redirects=False, timeout=5)
        client = openai.AsyncOpenAI(
            base_url=self._url, api_key=self._key or "none", max_retries=0, timeout=5, http_client=http
        )
        try:
            return sorted([entry.id async for entry in client.models.list()])
        except openai.APIStatusError as error:
            raise self._http.refusal(error.status_code, error.response.content, error.response.headers) from None
        except openai.OpenAIError as error:
            raise self._http.unreachable(error) from None
        except (TypeError, AttributeError, ValueError):
            raise self._http.broken("the list of models is not as it should be") from None
        finally:
            await client.close()

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()


def _body(request: Request) -> dict[str, Any]:
    settings = request.settings
    body: dict[str, Any] = {"model": request.model, "messages": _messages(request.messages)}
    body |= _sampling(settings)
    if settings.stop:
        body["stop"] = settings.stop
    if settings.response_format is not None:
        body["response_format"] = settings.response_format
    if settings.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def _messages(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _sampling(settings: ModelSettings) -> dict[str, Any]:
    names = ("temperature", "top_p", "max_tokens", "seed")
    return {name: value for name in names if (value := getattr(settings, name)) is not None}


def _tokens(usage: Any) -> Tokens:
    if not isinstance(usage, dict):
        return Tokens()
    prompt, completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    given = token_count(usage.get("prompt_tokens"))
    cached = token_count(prompt.get("cached_tokens")) if isinstance(prompt, dict) else None
    return Tokens(
        input=given,
        output=token_count(usage.get("completion_tokens")),
        # More from the cache than there was would make the price negative.
        cached=cached if cached is not None and given is not None and cached <= given else None,
        reasoning=token_count(completion.get("reasoning_tokens")) if isinstance(completion, dict) else None,
    )


def _text(value: Any) -> str | None:
    return value[:200] if isinstance(value, str) and value.isprintable() else None


def _delta(chunk: dict[str, Any]) -> tuple[str | None, str | None]:
    try:
        choice = chunk["choices"][0]
        content, why = (choice.get("delta") or {}).get("content"), choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        return None, None
    return content if isinstance(content, str) else None, why if isinstance(why, str) else None
