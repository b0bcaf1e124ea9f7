"""Announces what no honest broker would, again and again until its stdin ends: `hostile_announcer.py KIND …`.

garbage           services whose TXT records make no sense
control           brokers whose names hold control characters, escape sequences and markup
crowd N           N brokers
name NAME KEY     a broker of that name with that key (base64url), which is open to anybody
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import sys
from collections.abc import Iterator

from zeroconf._dns import DNSAddress, DNSPointer, DNSService, DNSText
from zeroconf._protocol.outgoing import DNSOutgoing
from zeroconf.asyncio import AsyncZeroconf

from chat_protocol.address import decode_key
from chat_protocol.announcement import SERVICE_TYPE, announced_properties

CLASS_IN, FLUSH = 1, 0x8001
TYPE_A, TYPE_PTR, TYPE_TXT, TYPE_SRV = 1, 12, 16, 33
RESPONSE = 0x8400
TTL_S = 120
REPEAT_S = 0.3
ESCAPES = "\x1b]0;owned\x07\x1b[31m\x1b[2Jred\r\n"
INVISIBLE = "\x9b31m[bold]yes[/bold]\u202eevil\u200b\u2028"  # what DNS-SD lets pass


def txt(pairs: dict[str, str]) -> bytes:
    parts = [f"{word}={value}".encode() for word, value in pairs.items()]
    return b"".join(bytes([len(part)]) + part for part in parts)


def service(label: str, content: bytes, address: str, port: int = 5_555) -> DNSOutgoing:
    name, server = f"{label}.{SERVICE_TYPE}", f"h{abs(hash(label))}.local."
    packet = DNSOutgoing(RESPONSE)
    packet.add_answer_at_time(DNSPointer(SERVICE_TYPE, TYPE_PTR, CLASS_IN, TTL_S, name), 0)
    packet.add_answer_at_time(DNSService(name, TYPE_SRV, FLUSH, TTL_S, 0, 0, port, server), 0)
    packet.add_answer_at_time(DNSText(name, TYPE_TXT, FLUSH, TTL_S, content), 0)
    packed = ipaddress.ip_address(address).packed
    packet.add_answer_at_time(DNSAddress(server, TYPE_A, FLUSH, TTL_S, packed), 0)
    return packet


def packets(kind: str, arguments: list[str], address: str) -> Iterator[DNSOutgoing]:
    honest = txt(announced_properties(os.urandom(32), is_open=True))
    match kind:
        case "garbage":
            yield service("no key", txt({"v": "1"}), address)
            yield service("bad key", txt({"v": "1", "key": "\x1b[31m", "fp": "x"}), address)
            yield service("noise", b"\xff\x00" * 40, address)
            yield service("port 0", honest, address, 0)
            yield service("loopback", honest, "127.0.0.1")
            other = announced_properties(os.urandom(32), is_open=True) | {"fp": "0000-0000-0000-0000"}
            yield service("another fingerprint", txt(other), address)
        case "control":
            yield service(ESCAPES, honest, address)
            yield service(INVISIBLE, honest, address)
        case "crowd":
            for number in range(int(arguments[0])):
                content = txt(announced_properties(number.to_bytes(32, "big"), is_open=True))
                yield service(f"broker {number:04}", content, address)
        case "name":
            content = txt(announced_properties(decode_key(arguments[1]), is_open=True))
            yield service(arguments[0], content, address)


async def main(address: str, kind: str, *arguments: str) -> None:
    zeroconf = AsyncZeroconf(interfaces=[address])
    await zeroconf.zeroconf.async_wait_for_start()
    sent = list(packets(kind, list(arguments), address))
    end = asyncio.create_task(asyncio.to_thread(sys.stdin.buffer.read))
    print("announcing", flush=True)
    while not end.done():
        for number, packet in enumerate(sent):
            zeroconf.zeroconf.async_send(packet)
            if number % 50 == 49:
                await asyncio.sleep(0.01)
        await asyncio.wait([end], timeout=REPEAT_S)
    await zeroconf.async_close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
