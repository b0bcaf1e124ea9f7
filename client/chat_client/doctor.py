"""What `chat-client doctor` looks at; each finding says what to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from chat_client.client import ChatClient
from chat_client.finding import find_broker, how_it_is_found
from chat_client.home import Home
from chat_protocol.address import Address, fingerprint
from chat_protocol.errors import BadAddress, ChatError, Refused, Unreachable

CONNECT_S = 3.0
OFFSET_S_MAX = 5.0  # a clock may be off before a person wonders about the times they see


@dataclass(frozen=True)
class Finding:
    good: bool
    text: str


async def examine(
    name: str, broker: str | None, home_path: Path, timeout_s: float, *, searched: bool = False
) -> AsyncIterator[Finding]:
    """Look at everything that a client called `name` depends on; no account is made. `searched`: the
    broker's address was found on the local network."""
    home = Home(home_path)
    yield _machine()
    try:
        how = "found on this network" if searched else how_it_is_found(broker)
        address = find_broker(broker, home)
    except (BadAddress, Unreachable) as error:
        yield Finding(False, str(error))
        return
    key = address.key or b""
    yield Finding(True, f"the broker is {address.place}, {how}")
    yield _key(home, address)
    port = await _port("commands", address.host, address.port)
    yield port
    if not port.good:
        return
    if not home.is_enrolled(key, name):
        invite = "" if address.invite else ", with an invite if the broker asks for one (chat-broker invite)"
        text = f"{name} has no key for this broker on this machine yet: come in once{invite}, then look again"
        yield Finding(False, f"{text}: chat-client --name {name}")
        return
    try:
        async with ChatClient(name, broker, rooms=(), home=home_path, timeout_s=timeout_s) as chat:
            async for finding in _session(chat, key):
                yield finding
    except ChatError as error:
        code = f"{error.code}: " if isinstance(error, Refused) else ""
        yield Finding(False, f"{name} cannot come in: {code}{error}")


def _machine() -> Finding:
    import zmq

    text = f"simple-chat {version('simple-chat')}, libzmq {zmq.zmq_version()} with CURVE"
    if zmq.has("curve"):
        return Finding(True, text)
    return Finding(False, f"libzmq {zmq.zmq_version()} lacks CURVE: install pyzmq from its wheels")


def _key(home: Home, address: Address) -> Finding:
    """`find_broker` has refused a key that does not match, unless a broker of this user said on this machine
    that it is its own."""
    known, told = home.pinned(address.place), fingerprint(address.key or b"")
    if known is not None and known != address.key:
        text = f"its key {told} is what your broker here left word of; before, another ran there"
        return Finding(True, f"{text}, with the key {fingerprint(known)} and other accounts and rooms")
    if known is None:
        return Finding(True, f"its key {told} is not pinned yet: that is done when it is reached")
    return Finding(True, f"its key {told} is the one that is pinned")


async def _port(what: str, host: str, port: int) -> Finding:
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        why = f"no answer for {CONNECT_S:g} s: is a firewall in the way, or the machine off?"
    except ConnectionRefusedError:
        why = "nothing listens there: is the broker running, and is this its port?"
    except OSError as error:
        why = f"{error.strerror or error}: is the name right, and is this machine on the network?"
    else:
        writer.close()
        return Finding(True, f"port {port} of {host} ({what}) is open")
    return Finding(False, f"port {port} of {host} ({what}) cannot be reached, {why}")


async def _session(chat: ChatClient, key: bytes) -> AsyncIterator[Finding]:
    begun = time.monotonic()
    await chat.rooms()
    took_ms = (time.monotonic() - begun) * 1_000
    yield Finding(True, f"what answers holds the key {fingerprint(key)}, and lets {chat.name} in")
    yield Finding(True, f"it answers within {took_ms:.0f} ms")
    welcome = chat.welcome
    yield await _port("the feed", welcome.feed_host or chat.address.host, welcome.feed_port)
    yield _clock(chat.broker_time() / 1_000 - time.time())
    for finding in _versions(welcome.software):
        yield finding


def _clock(ahead_s: float) -> Finding:
    if abs(ahead_s) <= OFFSET_S_MAX:
        return Finding(True, f"its clock and this one differ by {abs(ahead_s):.1f} s")
    way = "ahead of" if ahead_s > 0 else "behind"
    text = f"its clock is {abs(ahead_s):,.0f} s {way} this one, so times look wrong"
    return Finding(False, f"{text}: let both machines set theirs by NTP (timedatectl set-ntp true)")


def _versions(software: str) -> Iterator[Finding]:
    own = f"simple-chat {version('simple-chat')}"
    if software == own:
        yield Finding(True, f"both ends are {own}")
    else:
        other = software or "does not say what it is"
        yield Finding(True, f"here is {own}, there {other}; the protocol is the same")
