"""How a broker makes itself known on a local network: DNS-SD, over multicast DNS (SPEC.md, 3.4).

Anybody on the network can announce anything. So an announcement is a hint: its name is made safe to
show, what makes no sense is no announcement, and whoever connects holds the broker to the key in it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chat_protocol.address import Address, decode_key, encode_key, fingerprint
from chat_protocol.errors import BadAddress

SERVICE_TYPE = "_simple-chat._tcp.local."
VERSION = "1"
LABEL_BYTES_MAX = 63  # of a name, by the rules of DNS
HOSTS_MAX = 8  # of one announcement; the others are not looked at


@dataclass(frozen=True)
class Announcement:
    """A broker as it was announced: safe to show, not to be trusted. `hosts`: addresses, the best first."""

    name: str
    hosts: tuple[str, ...]
    port: int
    key: bytes
    is_open: bool

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key)

    def address(self, host: str | None = None) -> Address:
        """Where to connect: at `host`, or at the first of its hosts."""
        return Address(host or self.hosts[0], self.port, self.key)


def announced_properties(key: bytes, *, is_open: bool) -> dict[str, str]:
    """The TXT record of a broker's announcement. There is never an invite in it: everybody reads it."""
    return {
        "v": VERSION,
        "key": encode_key(key),
        "fp": fingerprint(key),
        "door": "open" if is_open else "invite",
    }


def read_announcement(
    instance: str, hosts: Iterable[str], port: int | None, properties: Mapping[bytes, bytes | None]
) -> Announcement | None:
    """What was announced as the service `instance`; None if that is no announcement of a broker."""
    name = shown_name(instance)
    reachable = _reachable(hosts)
    txt = {word: (value or b"").decode("ascii", "replace") for word, value in properties.items()}
    try:
        key = decode_key(txt.get(b"key", ""))
    except BadAddress:
        return None
    if txt.get(b"v") != VERSION or txt.get(b"fp") != fingerprint(key):
        return None
    if not name or not reachable or port is None or not 0 < port < 65_536:
        return None
    return Announcement(name, reachable, port, key, txt.get(b"door") == "open")


def shown_name(instance: str) -> str:
    """What a person is shown of a service's name: one short row of printable characters."""
    label = instance.removesuffix(f".{SERVICE_TYPE}")
    printable = "".join(sign if sign.isprintable() else " " for sign in label)
    return " ".join(printable.split())[:LABEL_BYTES_MAX]


def _reachable(hosts: Iterable[str]) -> tuple[str, ...]:
    """The addresses that can be another machine's, IPv4 first; link-local IPv6 would need a zone."""
    found: list[tuple[int, str]] = []
    for host in hosts:
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            continue
        local_only = ip.is_loopback or ip.is_unspecified or ip.is_multicast
        if not local_only and not (ip.version == 6 and ip.is_link_local):
            found.append((ip.version, str(ip)))
    return tuple(host for _, host in sorted(dict.fromkeys(found), key=lambda one: one[0]))[:HOSTS_MAX]
