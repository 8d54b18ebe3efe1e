"""The handlers of all operations: one class, told by the route which operations it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from jupyter_server.auth.decorator import allow_unauthenticated
from tornado.iostream import StreamClosedError

from server_ext.api.base import PromptCardsHandler
from server_ext.api.dispatch import Dispatch, Incoming, download_headers
from server_ext.api.operation import MethodNotAllowed, Operation
from server_ext.runtime import Runtime
from server_ext.services.idempotency import Kept

CHUNK_BYTES = 256 * 1024


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
        elif (answer := dispatch.at_once()) is not None:
            self._reply(answer)
        else:
            pool = runtime.watch_pool if operation.apart else None
            self._reply(await self.call(dispatch.answer, pool=pool))

    post = put = patch = delete = head = get

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
        else:
            self.finish(answer.body)

    async def _stream(self, runtime: Runtime, dispatch: Dispatch) -> None:
        """Send a file while it is made; the next piece is made when the last one has left."""
        pool = runtime.export_pool
        stack = ExitStack()
        try:
            call, made = await self.call(dispatch.download, stack, pool=pool)
            for name, value in {**download_headers(made), **call.headers, **dispatch.headers}.items():
                self.set_header(name, value)
            while piece := await self.call(partial(_next_piece, made.chunks), pool=pool):
                self.write(piece)
                await self.flush()
            self.finish()
        except StreamClosedError:
            self.log.info("The reader of an export went away.")
        except Exception:
            if not self._headers_written:
                raise
            # Ended in good order it would look whole; cut off, every client sees that it is not.
            self.log.exception("An export broke off.")
            self.detach().close()
        finally:
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
