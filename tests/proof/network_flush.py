"""Make the connection tracking of this network namespace forget everything, as `conntrack -F` does."""

from __future__ import annotations

import socket
import struct

NETLINK_NETFILTER = 12
CONNTRACK_DELETE = 1 << 8 | 2
REQUEST, ACKNOWLEDGE = 1, 4
HEADER = "=IHHII"  # length, type, flags, sequence, port


def flush() -> None:
    """One netlink message that names no connection: all are meant. Raises OSError."""
    body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
    length = struct.calcsize(HEADER) + len(body)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as link:
        link.send(struct.pack(HEADER, length, CONNTRACK_DELETE, REQUEST | ACKNOWLEDGE, 1, 0) + body)
        (error,) = struct.unpack_from("=i", link.recv(4_096), struct.calcsize(HEADER))
    if error:
        raise OSError(-error, "the connection tracking could not be flushed")


if __name__ == "__main__":
    flush()
