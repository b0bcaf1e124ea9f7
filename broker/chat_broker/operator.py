"""The operator's questions to a running broker, over the same ROUTER as everybody's."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import zmq

from chat_broker.accounts import OPERATOR
from chat_broker.folder import DataFolder
from chat_broker.sockets import Context, Socket, connect_operator
from chat_protocol.codec import decode_reply, encode
from chat_protocol.errors import Refused, Unreachable
from chat_protocol.messages import (
    Bye,
    Hello,
    Refusal,
    Reply,
    RoomInfo,
    RoomList,
    Rooms,
    SessionRequest,
    Users,
    Welcome,
    Who,
)

R = TypeVar("R", bound=Reply)


class Operator:
    """A session of the operator; use it in a `with`. Raises Unreachable, Refused, SetupError."""

    def __init__(self, folder: DataFolder, timeout_s: float = 5.0) -> None:
        self.address, self.public_address = folder.whereabouts()
        self.feed_port = 0
        self._timeout_s = timeout_s
        self._context: Context
        self._socket: Socket
        self._context, self._socket = connect_operator(self.address, folder.operator_keys())
        self._request = 0
        self._token = b""

    def __enter__(self) -> Operator:
        try:
            self._request += 1
            welcome = self._ask(Hello(self._request, OPERATOR, None, "chat-broker"), Welcome)
            self._token, self.feed_port = welcome.token, welcome.feed_port
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._request += 1
        self._socket.send(encode(Bye(self._request, self._token)))
        self._socket.linger = 500
        self._close()

    def ask(self, make: Callable[[int, bytes], SessionRequest], kind: type[R], timeout_s: float = 0.0) -> R:
        """The answer to the request that `make(request id, token)` gives, waiting up to `timeout_s`."""
        self._request += 1
        return self._ask(make(self._request, self._token), kind, timeout_s)

    def users(self) -> Iterator[str]:
        """The names of everyone connected, in order."""
        after, more = "", True
        while more:
            page = self.ask(functools.partial(Who, room="", after=after), Users)
            yield from page.names
            more, after = page.more and bool(page.names), page.names[-1] if page.names else ""

    def rooms(self) -> Iterator[RoomInfo]:
        """Public and private rooms, in order."""
        after, more = "", True
        while more:
            page = self.ask(functools.partial(Rooms, after=after), RoomList)
            yield from page.rooms
            more, after = page.more and bool(page.rooms), page.rooms[-1].room if page.rooms else ""

    def _ask(self, message: Hello | SessionRequest, kind: type[R], timeout_s: float = 0.0) -> R:
        self._socket.send(encode(message))
        until = time.monotonic() + (timeout_s or self._timeout_s)
        while (left := until - time.monotonic()) > 0 and self._socket.poll(int(left * 1000) + 1, zmq.POLLIN):
            reply = decode_reply(self._socket.recv())
            if reply.request != message.request:
                continue
            if isinstance(reply, Refusal):
                raise Refused(reply.code, reply.text)
            if isinstance(reply, kind):
                return reply
        raise Unreachable(f"the broker at {self.address.place} does not answer; is it still running?")

    def _close(self) -> None:
        self._socket.close()
        self._context.term()
