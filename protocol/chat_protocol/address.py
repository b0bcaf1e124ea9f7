"""`chat://HOST:PORT?key=…&invite=…`: where a broker is, who it is, and a way in.

Keys are 32 raw bytes in unpadded base64url (a Z85 key does not survive a URL query). `key` is the
broker's public key; `invite` is the secret key of an invite and is needed once.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qs, urlencode, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from chat_protocol.errors import BadAddress

DEFAULT_PORT = 5555


class Address(Struct, frozen=True):
    """A parsed chat:// URL. `key` is None when the URL carries none (then it must be known already)."""

    host: str
    port: int = DEFAULT_PORT
    key: bytes | None = None
    invite: bytes | None = None

    @property
    def place(self) -> str:
        """HOST:PORT, with brackets around IPv6."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def endpoint(self) -> str:
        return f"tcp://{self.place}"

    def without_invite(self) -> Address:
        return replace(self, invite=None)

    def __str__(self) -> str:
        query = {
            word: encode_key(value) for word, value in (("key", self.key), ("invite", self.invite)) if value
        }
        return f"chat://{self.place}" + (f"?{urlencode(query)}" if query else "")


def parse_address(url: str) -> Address:
    """The address in a chat:// URL. Raises BadAddress with a sentence that says what is wrong."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise BadAddress(f"{url!r} is not an address: {error}") from error
    if parts.scheme != "chat" or not parts.hostname:
        raise BadAddress(f"{url!r} is not an address; one looks like chat://HOST:PORT?key=…")
    if port == 0:
        raise BadAddress(f"{url!r} names port 0; a port is 1 to 65535")
    query = parse_qs(parts.query)
    return Address(
        host=parts.hostname,
        port=port or DEFAULT_PORT,
        key=_query_key(query, "key"),
        invite=_query_key(query, "invite"),
    )


def encode_key(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).rstrip(b"=").decode("ascii")


def decode_key(text: str) -> bytes:
    """32 bytes from unpadded base64url. Raises BadAddress."""
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadAddress(f"{text!r} is not a key: {error}") from error
    if len(key) != 32:
        raise BadAddress(f"a key has 43 characters, this one {len(text)}; was the address cut short?")
    return key


def fingerprint(key: bytes) -> str:
    """A short form of a key for people to compare: the first 8 bytes of its SHA-256, in fours."""
    import hashlib

    digest = hashlib.sha256(key).hexdigest()[:16]
    return "-".join(digest[i : i + 4] for i in range(0, 16, 4))


def _query_key(query: dict[str, list[str]], word: str) -> bytes | None:
    values = query.get(word)
    return decode_key(values[0]) if values else None
