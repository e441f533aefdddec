"""One client's connection: requests one after another, each answered before the next is looked at."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Protocol

from sampan.api.wire.answer import Answer, Hijack, Reply, Stream
from sampan.api.wire.body import CUT_OFF, Body
from sampan.api.wire.chunked import ChunkedReader
from sampan.api.wire.loan import Loan
from sampan.api.wire.request import BadRequest, HeadReader, Request
from sampan.api.wire.sender import Sender
from sampan.api.wire.tunnel import Tunnel

log = logging.getLogger(__name__)

HEAD_TIMEOUT = 60.0  # seconds from a head's first byte to its last
AHEAD = 256 * 1024  # bytes that a client may send ahead of its turn
PASS_OVER = 2.0  # seconds in which the rest of a body that nobody wants may come before the answer
DISCARD_TIMEOUT = 5.0  # seconds in which the rest of a body that nobody wants may still come


class Application(Protocol):
    """Answers requests. ``headers`` go with every answer, each line ended by CR LF. ``answer`` never raises; what it
    can answer without waiting it answers at once."""

    headers: bytes

    def answer(self, request: Request) -> Answer | Awaitable[Answer]: ...

    def failure(self, error: Exception) -> Reply: ...

    def refuse(self, status: int, message: str) -> Reply: ...


class Connection(asyncio.Protocol):
    """``live`` is the set of open connections, in which this one enters and leaves itself."""

    def __init__(self, app: Application, live: set[Connection]) -> None:
        self._app = app
        self._live = live
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._sender: Sender
        self.closed = self._loop.create_future()
        self._head = HeadReader()
        self._head_timer: asyncio.TimerHandle | None = None
        self._request: Request | None = None
        self._left = 0  # bytes of the body still to come, when its length was announced
        self._chunks: ChunkedReader | None = None
        self._ahead = b""
        self._held_back = False
        self._lent = False
        self._task: asyncio.Task[None] | None = None
        self._streaming = False
        self._tunnel: Tunnel | None = None
        self._client_ended = False
        self._closing = False  # no request after the one being answered

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._sender = Sender(transport, self._app.headers)
        self._live.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._live.discard(self)
        self.closed.set_result(None)
        self._stop_head_timer()
        if self._tunnel:
            self._tunnel.client_lost()
        self._body_cut_off()
        if self._task:
            self._task.cancel()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._tunnel:
            self._tunnel.client_sent(data)
            return
        try:
            self._advance(data)
        except BadRequest as error:
            self._refuse(error)

    def eof_received(self) -> bool:
        """Whether the connection stays open for what is still to be sent."""
        self._client_ended = self._closing = True
        if self._tunnel:
            return self._tunnel.client_ended()
        self._body_cut_off()
        if self._task is None:
            return False
        if self._streaming:
            self._task.cancel()
        return True

    def pause_writing(self) -> None:
        self._sender.pause()
        if self._tunnel:
            self._tunnel.client_is_slow()

    def resume_writing(self) -> None:
        self._sender.resume()
        if self._tunnel:
            self._tunnel.client_caught_up()

    # the server's wishes

    @property
    def idle(self) -> bool:
        return self._task is None and self._tunnel is None

    def finish(self) -> None:
        """Answer what is being answered, then close; what may go on for ever ends now."""
        self._closing = True
        if self.idle or self._tunnel:
            self._transport.close()
        elif self._streaming and self._task:
            self._task.cancel()

    def abort(self) -> None:
        self._transport.abort()

    # requests

    def _advance(self, data: bytes) -> None:
        while data:
            if self._request is None:
                if self._closing:
                    return
                request, data = self._head.feed(data)
                if request is None:
                    self._start_head_timer()
                    return
                self._stop_head_timer()
                self._begin(request)
            elif self._request.body and not self._request.body.ended:
                data = self._feed_body(self._request.body, data)
            else:
                self._ahead += data
                if len(self._ahead) > AHEAD:
                    self._hold_back()
                return

    def _begin(self, request: Request) -> None:
        self._request = request
        request.transport = self._transport
        if request.has_body:
            wanted = self._send_continue if request.expects_continue else None
            request.body = Body(self._loop, self._hold_back, self._let_go, wanted, self._lend, self._returned)
            self._left = request.length or 0
            self._chunks = ChunkedReader() if request.chunked else None
        answer = self._app.answer(request)
        if isinstance(answer, Reply) and request.body is None:
            self._reply(answer)
            self._complete()
        else:
            self._task = self._loop.create_task(self._serve(answer))

    def _feed_body(self, body: Body, data: bytes) -> bytes:
        if self._chunks:
            pieces, data = self._chunks.feed(data)
            body.feed(*pieces)
            if self._chunks.done:
                body.finish()
            return data
        piece, data = data[: self._left], data[self._left :]
        self._left -= len(piece)
        body.feed(piece)
        if not self._left:
            body.finish()
        return data

    def _body_cut_off(self) -> None:
        if self._request and self._request.body:
            self._request.body.finish(CUT_OFF)

    def _send_continue(self) -> None:
        if self._request and self._request.expects_continue:
            self._request.headers["expect"] = ""
            self._sender.proceed()

    def _refuse(self, error: BadRequest) -> None:
        """After bytes that make no sense, nothing that follows does."""
        self._closing = True
        if self._request and self._request.body:
            self._request.body.finish(error.message)
            return
        self._request = None
        self._reply(self._app.refuse(error.status, error.message))
        self._close_when_read()

    # answers

    async def _serve(self, answer: Answer | Awaitable[Answer]) -> None:
        try:
            if not isinstance(answer, Reply | Stream | Hijack):
                answer = await answer
            if isinstance(answer, Reply):
                await self._let_it_end()
                self._reply(answer)
            elif isinstance(answer, Stream):
                await self._stream(answer)
            else:
                self._hand_over(answer)
        except (asyncio.CancelledError, ConnectionError):
            self._transport.close()
        except Exception:
            log.exception("an answer could not be sent")
            self._transport.abort()
        finally:
            self._task = None
            self._streaming = False
        if not self._tunnel and not self._transport.is_closing():
            self._resume()

    async def _let_it_end(self) -> None:
        """A client that is still sending when it is answered takes that for a fault of the connection: little that is
        left of a body is read first, as Go's server does."""
        request = self._request
        if request and request.body and not request.body.ended and not request.expects_continue:
            await request.body.pass_over(AHEAD, PASS_OVER)

    def _resume(self) -> None:
        """The next request may already be here."""
        try:
            self._complete()
            ahead, self._ahead = self._ahead, b""
            if not self._closing:
                self._let_go()
                self._advance(ahead)
        except BadRequest as error:
            self._refuse(error)

    def _complete(self) -> None:
        request, self._request = self._request, None
        self._head = HeadReader()
        if request and request.body and not request.body.ended:
            self._request = request
            self._closing = True
            request.body.discard()
            self._close_when_read()
        elif self._closing or not (request and request.keep_alive):
            self._closing = True
            self._transport.close()

    def _close_when_read(self) -> None:
        """Closing at once would reset the connection under a client that still sends and has not read the answer."""
        if self._client_ended or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._let_go()
        self._loop.call_later(DISCARD_TIMEOUT, self._transport.abort)

    def _reply(self, reply: Reply) -> None:
        self._sender.reply(reply, self._request, keep=self._stays_open())

    def _stays_open(self) -> bool:
        request = self._request
        if request is None or self._closing or not request.keep_alive:
            return False
        return request.body is None or request.body.ended

    async def _stream(self, stream: Stream) -> None:
        request = self._request
        assert request is not None
        self._streaming = stream.live or stream.guarded
        try:
            if self._streaming and self._client_ended:
                return
            try:
                first = b"" if stream.live else await anext(stream.chunks, b"")
            except Exception as error:
                self._reply(self._app.failure(error))
                return
            self._closing = self._closing or request.version == "1.0"
            await self._sender.stream(stream, first, request, keep=self._stays_open())
        finally:
            await stream.chunks.aclose()

    def _hand_over(self, hijack: Hijack) -> None:
        assert self._request is not None
        if self._transport.is_closing():
            hijack.peer.close()
            return
        upgrade = "upgrade" in self._request.headers  # dockerd asks for no more, and Go's clients need the 101
        self._sender.hand_over(hijack.content_type, upgrade=upgrade, websocket=hijack.websocket)
        tunnel = self._tunnel = self._dig(hijack)
        if self._sender.is_full:
            tunnel.client_is_slow()
        self._let_go()
        tunnel.client_sent(self._ahead)
        self._ahead = b""
        if self._client_ended and not tunnel.client_ended():
            self._transport.close()

    def _dig(self, hijack: Hijack) -> Tunnel:
        if not hijack.websocket:
            return Tunnel(self._transport, hijack.peer, hijack.leave, hijack.left, hijack.of)
        from sampan.api.wire.websocket import FramedTunnel

        return FramedTunnel(self._transport, hijack.peer, hijack.leave, hijack.left, hijack.of, text=hijack.text)

    # flow

    def _hold_back(self) -> None:
        self._held_back = True
        self._transport.pause_reading()

    def _let_go(self) -> None:
        if self._held_back:
            self._held_back = False
            if not self._lent:
                self._transport.resume_reading()

    def _lend(self) -> Loan | None:
        """Only what is as it comes: nothing encrypted."""
        plain = self._transport.get_extra_info("socket")
        if plain is None or self._transport.is_closing() or self._transport.get_extra_info("sslcontext"):
            return None
        self._lent = True
        self._transport.pause_reading()
        return Loan(plain, self._chunks, self._left)

    def _returned(self, loan: Loan) -> None:
        self._lent = False
        self._left = loan.left
        if loan.close() or (self._request and self._request.body and self._request.body.broken):
            self._closing = True
        if not self._held_back and not self._transport.is_closing():
            self._transport.resume_reading()
        if loan.rest:
            self.data_received(loan.rest)

    def _start_head_timer(self) -> None:
        if self._head_timer is None and self._head.started:
            late = BadRequest(408, f"the request's headers did not arrive within {HEAD_TIMEOUT:.0f} seconds")
            self._head_timer = self._loop.call_later(HEAD_TIMEOUT, self._refuse, late)

    def _stop_head_timer(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None
