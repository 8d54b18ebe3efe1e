"""OpenAI's Batch API: many calls in a file, answered within a day, at another price.

The protocol is that of https://developers.openai.com/api/docs/guides/batch: a file of lines with a ``custom_id`` each
is uploaded, a batch made of it, and its results are lines in two other files, in any order. A file holds requests for
one model only, at most 50,000 of them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from promptcard_ext.core.card import ModelSettings
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.providers.body import Bodies
from promptcard_ext.providers.http import Http, Received
from promptcard_ext.providers.json_text import decode, to_json
from promptcard_ext.providers.reading import as_object
from promptcard_ext.providers.refusal import Refusal, error_text

ENDPOINT = "/v1/chat/completions"
MAX_FILE_BYTES = 200_000_000
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_PAGE = 100
_MOST_PAGES = 50


class Batch(Struct, frozen=True):
    """A batch, as the provider describes it.

    Attributes:
        status: ``validating``, ``in_progress``, ``finalizing``, ``cancelling``, or how it ended.
        output_file, error_file: Ids of the files with its results, once there are any.
        problem: Why it failed as a whole; empty when it did not.
        metadata: What we gave it to know it again.
        took_ms: From its creation to its end; 0 before that.
    """

    id: str
    status: str
    output_file: str | None = None
    error_file: str | None = None
    problem: str = ""
    metadata: dict[str, str] = {}
    created_at: int = 0
    took_ms: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in ENDED


class OpenAIBatches:
    """The batches of one endpoint. Every method raises `ProviderError` as `Http` says.

    Args:
        bodies: Makes the bodies of single calls.
    """

    def __init__(self, http: Http, bodies: Bodies) -> None:
        self._http, self._bodies = http, bodies
        self._settings: dict[int, tuple[ModelSettings, ModelSettings]] = {}

    def lines(self, requests: Mapping[str, Request]) -> bytes:
        """Return the content of a file with a line for each request, by its id."""
        return b"".join(
            b'{"custom_id":%b,"method":"POST","url":"%b","body":%b}\n'
            % (to_json(custom_id), ENDPOINT.encode(), self._body(request))
            for custom_id, request in requests.items()
        )

    def _body(self, request: Request) -> bytes:
        settings = request.settings
        if settings.stream:
            # A batch has nobody to stream to. By object, as bodies are kept by the identity of settings.
            known = self._settings.get(id(settings))
            if known is None or known[0] is not settings:
                known = self._settings[id(settings)] = settings, replace(settings, stream=False)
            settings = known[1]
        return self._bodies.of(request.model, settings, request.messages)

    async def upload(self, content: bytes) -> str:
        """Upload a file of lines and return its id."""
        boundary = f"promptcards-{secrets.token_hex(16)}"
        mark = boundary.encode()
        parts = (
            b'--%b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n' % mark,
            b'--%b\r\nContent-Disposition: form-data; name="file"; filename="promptcards.jsonl"\r\n' % mark,
            b"Content-Type: application/jsonl\r\n\r\n",
            content,
            b"\r\n--%b--\r\n" % mark,
        )
        kind = f"multipart/form-data; boundary={boundary}"
        value = self._object(await self._http.upload("/files", b"".join(parts), kind))
        return self._text(value, "id")

    async def create(self, file_id: str, metadata: Mapping[str, str]) -> Batch:
        """Make a batch of an uploaded file. When the answer is lost there may be one all the same: see `find`."""
        body = {
            "input_file_id": file_id,
            "endpoint": ENDPOINT,
            "completion_window": "24h",
            "metadata": dict(metadata),
        }
        return self._batch(self._object(await self._http.fetch("/batches", to_json(body))))

    async def get(self, batch_id: str) -> Batch:
        """Return a batch as it is now."""
        return self._batch(self._object(await self._http.get(f"/batches/{batch_id}")))

    async def cancel(self, batch_id: str) -> Batch:
        """Have a batch stop; what is answered by then is paid for."""
        return self._batch(self._object(await self._http.fetch(f"/batches/{batch_id}/cancel", b"{}")))

    async def find(self, metadata: Mapping[str, str], not_before: int) -> Batch | None:
        """Return the batch that was made with some metadata, or None.

        Args:
            not_before: Seconds since 1970; older batches are not looked at.
        """
        after = ""
        for _ in range(_MOST_PAGES):
            value = self._object(await self._http.get(f"/batches?limit={_PAGE}{after}"))
            found = [self._batch(one) for one in value.get("data") or () if isinstance(one, dict)]
            for batch in found:
                if metadata.items() <= batch.metadata.items():
                    return batch
            if not value.get("has_more") or not found or found[-1].created_at < not_before:
                return None
            after = f"&after={found[-1].id}"
        return None

    async def results(self, batch: Batch) -> dict[str, Reply | ProviderError]:
        """Return what came of each request that a batch has a result for, by its id."""
        found: dict[str, Reply | ProviderError] = {}
        for file_id in filter(None, (batch.error_file, batch.output_file)):
            raw = await self._http.download(f"/files/{file_id}/content", MAX_FILE_BYTES)
            found.update(_read_lines(raw.splitlines(), batch, self._http.refusal))
        return found

    def _object(self, received: Received) -> dict[str, Any]:
        return as_object(received, self._http.refusal)[0] if received.raw else {}

    def _text(self, value: dict[str, Any], name: str) -> str:
        found = value.get(name)
        if not isinstance(found, str) or not found or not found.isprintable() or "/" in found:
            raise self._http.refusal.broken(f"the reply has no '{name}'", to_json(value))
        return found

    def _batch(self, value: dict[str, Any]) -> Batch:
        metadata = value.get("metadata")
        created, ended = (
            _moment(value.get("created_at")),
            max(_moment(value.get(f"{name}_at")) for name in ("completed", "failed", "expired", "cancelled")),
        )
        return Batch(
            id=self._text(value, "id"),
            status=self._text(value, "status"),
            output_file=self._text(value, "output_file_id") if value.get("output_file_id") else None,
            error_file=self._text(value, "error_file_id") if value.get("error_file_id") else None,
            problem=_problem(value.get("errors")),
            metadata={str(k): str(v) for k, v in metadata.items()} if isinstance(metadata, dict) else {},
            created_at=created,
            took_ms=max(0, ended - created) * 1000.0,
        )


def _moment(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _problem(errors: Any) -> str:
    data = errors.get("data") if isinstance(errors, dict) else None
    if not isinstance(data, list):
        return ""
    return " ".join(error_text({"error": one}) for one in data[:3] if isinstance(one, dict))[:300]


def _read_lines(lines: Iterable[bytes], batch: Batch, refusal: Refusal) -> Iterator[tuple[str, Reply | ProviderError]]:
    for line in lines:
        try:
            value = decode(line)
        except (ValueError, RecursionError):
            continue  # its request is one without a result
        if isinstance(value, dict) and isinstance(custom_id := value.get("custom_id"), str):
            yield custom_id, _result(value, batch, refusal)


def _result(value: dict[str, Any], batch: Batch, refusal: Refusal) -> Reply | ProviderError:
    # The module of single replies knows the provider, which knows this one.
    from promptcard_ext.providers.openai_compatible.reply import reply

    error, response = value.get("error"), value.get("response")
    if isinstance(error, dict) and error.get("code") == "batch_expired":
        return expired(refusal)
    if not isinstance(response, dict):
        return refusal.in_reply({"error": error or "no response"}, to_json(value))
    raw = to_json(response.get("body"))
    status = response.get("status_code")
    if not isinstance(status, int) or not 200 <= status < 300:
        return refusal.of_status(status if isinstance(status, int) else 500, raw, {})
    try:
        return reply(Received(raw, {}), batch.took_ms, refusal)
    except ProviderError as problem:
        return problem


def expired(refusal: Refusal) -> ProviderError:
    """Return the error of a request that was not answered within the day."""
    return ProviderError(
        f"{refusal.where} did not answer within the day that a batch has.",
        code="batch_expired",
        retryable=True,
        sent=False,
    )
