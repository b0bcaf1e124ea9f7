"""What goes over the wire to the peers: all frames around a line have one length."""

from __future__ import annotations

import pytest

from bench.load import LINE_BYTES, text_of
from bench.peers.mosquitto import MqttDialect
from bench.peers.nats import JetStreamDialect, NatsDialect
from bench.peers.ngircd import IrcDialect
from bench.peers.redis import RedisDialect, StreamDialect
from bench.server import BenchError
from bench.stream_load import Dialect

TEXT = b"x" * LINE_BYTES


def test_a_line_has_its_length() -> None:
    head, tail = text_of(7)
    assert len(head + b"0000000001" + tail) == LINE_BYTES


@pytest.mark.parametrize(
    ("dialect", "published"),
    [
        (RedisDialect(), b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nroom\r\n$100\r\n%b\r\n"),
        (NatsDialect(), b"PUB room 100\r\n%b\r\n"),
        (IrcDialect(), b"PRIVMSG #room :%b\r\n"),
        (MqttDialect(), b"\x30\x6a\x00\x04room%b"),
    ],
)
def test_a_publication_is_as_the_protocol_has_it(dialect: Dialect, published: bytes) -> None:
    before, after = dialect.publication("room")
    assert before + TEXT + after == published % TEXT


def test_redis_acknowledges_with_ids_and_refuses_with_errors() -> None:
    ids = b"$15\r\n1700000000000-0\r\n" * 3
    assert StreamDialect().acknowledged(ids) == (3, b"")
    with pytest.raises(BenchError, match="OOM"):
        StreamDialect().acknowledged(ids + b"-OOM too much\r\n")


def test_jetstream_acknowledges_with_seqs_that_may_be_cut_off() -> None:
    ack = b'MSG ack.p00 1 30\r\n{"stream":"bench", "seq":12}\r\n'
    count, rest = JetStreamDialect().acknowledged(ack * 2 + ack[:30])
    assert (count, rest) == (2, ack[18:30])
    assert JetStreamDialect().acknowledged(rest + ack[30:])[0] == 1
    with pytest.raises(BenchError, match="no space"):
        JetStreamDialect().acknowledged(b'{"error":{"description":"no space"}}\r\n')
