"""Which address of a broker that was found answers. Searching itself needs a network of one's own:
tests/integration/test_local_network.py."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

from chat_client.search import reachable_address
from chat_protocol.announcement import Announcement

KEY = b"k" * 32


def announced(port: int, *hosts: str) -> Announcement:
    return Announcement("desk", hosts, port, KEY, False)


def test_the_one_that_answers_is_taken() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening, closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        port, shut = listening.getsockname()[1], unused.getsockname()[1]
        twins = [announced(shut, "127.0.0.1", "127.0.0.2"), announced(port, "127.0.0.1")]
        address = asyncio.run(reachable_address(twins))
        assert (address.place, address.key, address.invite) == (f"127.0.0.1:{port}", KEY, None)


def test_where_none_answers_the_first_is_as_good() -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        shut = unused.getsockname()[1]
        address = asyncio.run(reachable_address([announced(shut, "127.0.0.1", "127.0.0.2")]))
        assert address.place == f"127.0.0.1:{shut}"


def test_a_single_address_is_not_tried() -> None:
    assert asyncio.run(reachable_address([announced(9, "192.0.2.1")])).place == "192.0.2.1:9"
