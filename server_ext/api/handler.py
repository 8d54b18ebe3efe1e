"""The handlers of all operations: one class, told by the route which operations it stands for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from tornado.iostream import StreamClosedError

from server_ext.api.base import PromptCardsHandler
from server_ext.api.dispatch import Dispatch, Incoming, download_headers
from server_ext.api.operation import Download, MethodNotAllowed, Operation
from server_ext.runtime import Runtime
from server_ext.services.idempotency import Kept

CHUNK_BYTES = 256 * 1024
# A reader who takes longer for a piece, or for the whole file, is cut off: each holds one of few connections.
PIECE_S = 30.0
WHOLE_S = 3600.0


class TooSlow(Exception):
    """A file is read so slowly that others would wait for it."""


class OperationHandler(PromptCardsHandler):
    """A path of the interface."""

    def initialize(self, operations: dict[str, Operation]) -> None:
        """Take note of the operations of this path, by method."""
        self.operations = operations

    @property
    def public(self) -> bool:
        """Whether the operation is for anybody; a method that does not exist here is not."""
        operation = self.operations.get(self.request.method or "")
        return operation is not None and operation.public

    # We do this ourselves, in `prepare`: Jupyter's way knows nothing of our credentials.
    @allow_unauthenticated
    async def get(self, **path: str) -> None:
        """Carry out the operation of this method."""
        operation = self.operations.get(self.request.method or "")
        if operation is None:
            self._always = {"Allow": ", ".join(sorted(self.operations))}
            raise MethodNotAllowed(f"There is no {self.request.method} at this path.")
        runtime = await self.runtime()
        dispatch = Dispatch(runtime, operation, self._incoming(path))
        self._always = dispatch.headers
        if operation.streamed:
            await self._stream(runtime, dispatch)
        elif (answer := dispatch.at_once()) is not None or (answer := await dispatch.on_loop()) is not None:
            self._reply(answer)
        else:
            pool = runtime.watch_pool if operation.apart else None
            self._reply(await self.call(dispatch.answer, pool=pool))

    post = put = patch = delete = head = get

    def write_error(self, status_code: int, **details: Any) -> None:
        """Answer as everywhere; also to methods that tornado refuses by itself with the ones that there are."""
        if status_code == 405:
            self._always = {"Allow": ", ".join(sorted(self.operations))}
        super().write_error(status_code, **details)

    def _incoming(self, path: dict[str, str]) -> Incoming:
        request = self.request
        return Incoming(
            path=path,
            query=request.query_arguments,
            headers=request.headers,
            raw=request.body,
            address=request.remote_ip or "",
            identify=self.identify,
            at_hand=self.at_hand,
            anonymous=self.anonymous,
            password_login=self.app.password_login,
        )

    def _reply(self, answer: Kept) -> None:
        self.set_status(answer.status)
        for name, value in {**(self._always or {}), **answer.headers}.items():
            self.set_header(name, value)
        if answer.status == 204:
            self.clear_header("Content-Type")
            self.finish()
        elif self.request.method == "GET" and self.check_etag_header():
            # tornado looks at If-None-Match by itself only where it has made the tag by itself.
            self.clear_header("Content-Type")
            self.set_status(304)
            self.finish()
        else:
            self.finish(answer.body)

    async def _stream(self, runtime: Runtime, dispatch: Dispatch) -> None:
        """Send a file while it is made; the next piece is made when the last one has left."""
        pool = runtime.export_pool
        call, right = await self.call(dispatch.admit, pool=pool)
        try:
            async with self.app.export_slots.taken(), self._transaction(pool) as stack:
                made = await self.call(dispatch.download, stack, call, right, pool=pool)
                for name, value in {**download_headers(made), **call.headers, **dispatch.headers}.items():
                    self.set_header(name, value)
                await self._send(made, pool)
        except StreamClosedError:
            self.log.info("The reader of an export went away.")
        except Exception as error:
            if not self._headers_written:
                raise
            # Ended in good order it would look whole; cut off, every client sees that it is not.
            self.log.warning("An export broke off (request %s): %s", self.request_id, error, exc_info=error)
            self.detach().close()
        else:
            self.finish()

    async def _send(self, made: Download, pool: Executor) -> None:
        """Send a file whose reader keeps up.

        Raises:
            Unavailable: The database went away.
            TooSlow: A piece did not leave in half a minute, or the whole not in an hour.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + WHOLE_S
        while piece := await self.call(_next_piece, made.chunks, pool=pool):
            self.write(piece)
            try:
                async with asyncio.timeout(PIECE_S):
                    await self.flush()
            except TimeoutError:
                raise TooSlow("Its reader takes nothing.") from None
            if loop.time() > until:
                raise TooSlow("It takes too long.")

    @asynccontextmanager
    async def _transaction(self, pool: Executor) -> AsyncIterator[ExitStack]:
        """Yield a stack for what is open while a file is sent; it is left, like entered, in a thread."""
        stack = ExitStack()
        try:
            yield stack
        except BaseException as error:
            # With the error, so that the transaction is undone and the driver's errors become ours.
            await self.call(stack.__exit__, type(error), error, error.__traceback__, pool=pool)
            raise
        await self.call(stack.close, pool=pool)


def _next_piece(chunks: Iterator[bytes]) -> bytes:
    """Return the next quarter of a megabyte or so; nothing at the end."""
    pieces: list[bytes] = []
    size = 0
    for chunk in chunks:
        pieces.append(chunk)
        size += len(chunk)
        if size >= CHUNK_BYTES:
            break
    return b"".join(pieces)
