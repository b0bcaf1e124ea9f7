"""One TCP connection of a load process, plain or TLS, with the little that handshakes need."""

from __future__ import annotations

import select
import socket
import ssl

CONNECT_S = 20.0
RECEIVE_BYTES = 1 << 18


class Wire:
    """A connection to a server on this machine. Blocking, with a time limit, until `go` is called."""

    def __init__(self, port: int, ca: str | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", port), CONNECT_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tls: ssl.SSLSocket | None = None
        if ca is not None:
            context = ssl.create_default_context(cafile=ca)
            self._tls = context.wrap_socket(plain, server_hostname="localhost")
            self.raw = socket.socket(fileno=self._tls.fileno())
            self.raw.settimeout(CONNECT_S)
        else:
            self.raw = plain
        self._ahead = b""

    def fileno(self) -> int:
        return self.raw.fileno()

    def go(self) -> None:
        """From now on nothing blocks."""
        self.raw.setblocking(False)
        if self._tls is not None:
            self._tls.setblocking(False)

    def close(self) -> None:
        if self._tls is not None:
            self.raw.detach()
            self._tls.close()
        else:
            self.raw.close()

    # ------------------------------------------------------------------ while it blocks

    def send(self, data: bytes) -> None:
        (self._tls or self.raw).sendall(data)

    def expect(self, mark: bytes) -> bytes:
        """Read up to and including `mark`. Raises ConnectionError if the server hangs up before."""
        while mark not in self._ahead:
            self._ahead += self._more()
        end = self._ahead.index(mark) + len(mark)
        got, self._ahead = self._ahead[:end], self._ahead[end:]
        return got

    def exactly(self, size: int) -> bytes:
        while len(self._ahead) < size:
            self._ahead += self._more()
        got, self._ahead = self._ahead[:size], self._ahead[size:]
        return got

    def some(self) -> bytes:
        """What comes next, at least a byte."""
        ahead, self._ahead = self._ahead, b""
        return ahead or self._more()

    def _more(self) -> bytes:
        got = (self._tls or self.raw).recv(65_536)
        if not got:
            raise ConnectionError(f"the server hung up; before that it said {self._ahead[-300:]!r}")
        return got

    # ------------------------------------------------------------------ once it does not

    def send_some(self, data: memoryview) -> int:
        """Send what fits; how many bytes that was."""
        try:
            return (self._tls or self.raw).send(data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0

    def receive(self) -> bytes:
        """What has come; nothing if nothing has."""
        ahead, self._ahead = self._ahead, b""
        parts = [ahead] if ahead else []
        try:
            while True:
                got = (self._tls or self.raw).recv(RECEIVE_BYTES)
                if not got:
                    raise ConnectionError("the server hung up")
                parts.append(got)
                if self._tls is None:
                    break
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        return b"".join(parts)

    def poll(self, wait_s: float) -> None:
        """Sleep until something has come."""
        select.select([self.raw], [], [], wait_s)

    def discard(self, into: bytearray) -> int:
        """Throw away what has come, on TLS without opening it; how many bytes that was."""
        try:
            return self.raw.recv_into(into, 0, socket.MSG_TRUNC)
        except BlockingIOError:
            return 0
