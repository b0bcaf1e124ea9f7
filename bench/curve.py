"""The client's side of CURVE in ZMTP 3.1, as bytes (ZeroMQ RFC 26): for load processes with thousands of
connections, to which one descriptor each has to be enough."""

from __future__ import annotations

import os
import struct

from nacl import bindings as nacl

from bench import zmtp

_KEY = 32
_MAC = 16
_COOKIE = 96
_HELLO = b"\x05HELLO\x01\x00" + bytes(72)
_MESSAGE = b"\x07MESSAGE"


class CurveError(Exception):
    """The other side is no CURVE server with this key, or it refused."""


def key_pair() -> tuple[bytes, bytes]:
    """Public and secret, 32 bytes each."""
    public, secret = nacl.crypto_box_keypair()
    return bytes(public), bytes(secret)


class CurveClient:
    """One connection. Send what `begin` gives, hand what comes to `receive`, send what that gives."""

    def __init__(self, server_key: bytes, public: bytes, secret: bytes, kind: bytes) -> None:
        self._server_key, self._public, self._secret, self._kind = server_key, public, secret, kind
        self._transient, self._transient_secret = key_pair()
        self._nonce = 0
        self._rest = b""
        self._awaited = b"greeting"
        self._key = b""
        self.is_ready = False

    def begin(self) -> bytes:
        return zmtp.greeting(b"CURVE")

    def receive(self, data: bytes) -> tuple[bytes, list[bytes]]:
        """What is to be sent now, and the messages that have come. Raises CurveError."""
        self._rest += data
        out = b""
        if self._awaited == b"greeting":
            if len(self._rest) < zmtp.GREETING_BYTES:
                return b"", []
            self._rest = self._rest[zmtp.GREETING_BYTES :]
            out, self._awaited = self._hello(), b"WELCOME"
        frames, self._rest = zmtp.split(self._rest)
        messages: list[bytes] = []
        for _, body in frames:
            if self.is_ready:
                messages.append(self._open(body))
            else:
                out += self._answer(body)
        return out, messages

    def message(self, payload: bytes) -> bytes:
        """A message of one frame."""
        nonce = self._next_nonce()
        box = nacl.crypto_box_afternm(b"\0" + payload, b"CurveZMQMESSAGEC" + nonce, self._key)
        return zmtp.frame(_MESSAGE + nonce + box)

    def _next_nonce(self) -> bytes:
        self._nonce += 1
        return struct.pack(">Q", self._nonce)

    def _hello(self) -> bytes:
        nonce = self._next_nonce()
        box = nacl.crypto_box(
            bytes(64), b"CurveZMQHELLO---" + nonce, self._server_key, self._transient_secret
        )
        return zmtp.frame(_HELLO + self._transient + nonce + box, command=True)

    def _answer(self, body: bytes) -> bytes:
        name = body[1 : 1 + body[0]]
        if name != self._awaited:
            raise CurveError(f"expected {self._awaited!r}, got {body[:40]!r}")
        content = body[1 + body[0] :]
        if name == b"WELCOME":
            self._awaited = b"READY"
            return self._initiate(content)
        nacl.crypto_box_open_afternm(content[8:], b"CurveZMQREADY---" + content[:8], self._key)
        self.is_ready = True
        return b""

    def _initiate(self, welcome: bytes) -> bytes:
        opened = nacl.crypto_box_open(
            welcome[16:], b"WELCOME-" + welcome[:16], self._server_key, self._transient_secret
        )
        server_transient, cookie = opened[:_KEY], opened[_KEY : _KEY + _COOKIE]
        self._key = nacl.crypto_box_beforenm(server_transient, self._transient_secret)
        vouch_nonce, nonce = os.urandom(16), self._next_nonce()
        vouch = nacl.crypto_box(
            self._transient + self._server_key, b"VOUCH---" + vouch_nonce, server_transient, self._secret
        )
        plain = self._public + vouch_nonce + vouch + zmtp.metadata(Socket_Type=self._kind, Identity=b"")
        box = nacl.crypto_box_afternm(plain, b"CurveZMQINITIATE" + nonce, self._key)
        return zmtp.frame(b"\x08INITIATE" + cookie + nonce + box, command=True)

    def _open(self, body: bytes) -> bytes:
        at = len(_MESSAGE)
        if not body.startswith(_MESSAGE):
            raise CurveError(f"expected a message, got {body[:40]!r}")
        plain = nacl.crypto_box_open_afternm(
            body[at + 8 :], b"CurveZMQMESSAGES" + body[at : at + 8], self._key
        )
        return b"" if plain[0] & 2 else bytes(plain[1:])
