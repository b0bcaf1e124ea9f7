"""The process that announces a broker (`announcer` starts it): `python -m chat_broker.announcing`.

Reads one JSON object from stdin, announces what it says until stdin ends, then takes that back. Looks at
the machine's addresses from time to time: laptops move, and networks come up after the broker.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import resource
import sys
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from chat_protocol.address import decode_key, fingerprint
from chat_protocol.announcement import HOSTS_MAX, SERVICE_TYPE, announced_properties

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncZeroconf

LOOK_S = 5.0  # between two looks at the addresses
MEMORY_BYTES_MAX = 512 << 20  # whatever others announce
NICENESS = 10


class Announced(Struct):
    """What the child is told: a name to announce, where the broker listens (no hosts: on every address),
    its public key in base64url, and whether it is open to anybody."""

    name: str
    hosts: list[str]
    ipv6: bool
    port: int
    key: str
    is_open: bool


class Told(Struct):
    """What the child tells, one JSON object a line."""

    event: str
    reason: str | None = None
    name: str | None = None
    addresses: list[str] | None = None
    fingerprint: str | None = None


def main() -> None:
    what = msgspec.json.decode(sys.stdin.buffer.readline(), type=Announced)
    logging.getLogger("zeroconf").disabled = True  # of others' packets there is no end
    _be_small()
    try:
        asyncio.run(_announce(what))
    except Exception as error:  # whatever it is, the broker's operator is to read it, and the broker goes on
        reason = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
        _tell(Told("not_announced", reason=f"{reason}; clients elsewhere need the chat:// URL"))


def _be_small() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    os.nice(NICENESS)


async def _announce(what: Announced) -> None:
    """Announce until stdin ends, on whatever networks this machine is on from time to time."""
    ended = asyncio.create_task(_end_of_stdin())
    current: list[str] | None = None
    zeroconf: AsyncZeroconf | None = None
    last_told = ""
    while not ended.done():
        addresses = _addresses(what)
        if addresses != current:
            if zeroconf is not None:
                await zeroconf.async_close()
            zeroconf, reason = await _try_to_register(what, addresses)
            if reason and reason != last_told:
                _tell(Told("not_announced", reason=f"{reason}; it is tried again"))
            last_told = reason
            current = addresses if zeroconf is not None else None
        await asyncio.wait([ended], timeout=LOOK_S)
    if zeroconf is not None:
        await zeroconf.async_unregister_all_services()
        await zeroconf.async_close()


async def _try_to_register(what: Announced, addresses: list[str]) -> tuple[AsyncZeroconf | None, str]:
    """What announces the broker, or why nothing does."""
    if not addresses:
        return None, "this machine is on no network"
    try:
        return await _register(what, addresses), ""
    except OSError as error:  # a network that comes or goes just now, or takes no multicast
        return None, error.strerror or str(error)


async def _register(what: Announced, addresses: list[str]) -> AsyncZeroconf:
    """Announce the broker on every network that these addresses belong to."""
    from zeroconf import IPVersion
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    key = decode_key(what.key)
    of_v6 = sum(":" in address for address in addresses)
    one_version = IPVersion.V6Only if of_v6 else IPVersion.V4Only
    ip_version = one_version if of_v6 in (0, len(addresses)) else IPVersion.All
    zeroconf = AsyncZeroconf(interfaces=list(addresses), ip_version=ip_version)
    info = AsyncServiceInfo(
        SERVICE_TYPE,
        f"{what.name}.{SERVICE_TYPE}",
        port=what.port,
        properties=announced_properties(key, is_open=what.is_open),
        server=f"simple-chat-{fingerprint(key)}.local.",  # the machine's own name is not ours to claim
        parsed_addresses=addresses,
    )
    try:
        await (await zeroconf.async_register_service(info, allow_name_change=True))
    except BaseException:
        await zeroconf.async_close()
        raise
    name = info.name.removesuffix(f".{SERVICE_TYPE}")
    _tell(Told("announced", name=name, addresses=addresses, fingerprint=fingerprint(key)))
    return zeroconf


def _addresses(what: Announced) -> list[str]:
    """The addresses under which others can reach the broker now."""
    import ifaddr

    own = [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    found = []
    for address in own:
        ip = ipaddress.ip_address(address[0] if isinstance(address, tuple) else address)
        listens = str(ip) in what.hosts if what.hosts else ip.version == 4 or what.ipv6
        if listens and not ip.is_loopback and not (ip.version == 6 and ip.is_link_local):
            found.append(str(ip))
    return sorted(set(found), key=lambda one: (":" in one, one))[:HOSTS_MAX]


async def _end_of_stdin() -> None:
    """Wait until the broker has closed our stdin, or is gone."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while await reader.read(1_024):
        pass


def _tell(told: Told) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
