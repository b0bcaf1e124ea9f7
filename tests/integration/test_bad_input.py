"""Everything wrong that can come to the ports. Each has its answer, the broker lives, and two honest
clients, who talk all the while, notice nothing."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest
import zmq

from chat_broker.auth import KeyPair, keys_of, new_keys
from chat_broker.guard import AVAILABLE as GUARDED
from chat_protocol.address import parse_address
from chat_protocol.codec import VERSION, encode
from chat_protocol.errors import Code
from chat_protocol.messages import (
    FRAME_BYTES_MAX,
    LINE_BYTES_MAX,
    LINE_ROWS_MAX,
    Add,
    Backup,
    Ban,
    Bye,
    Create,
    Cursor,
    Done,
    Enroll,
    Enrolled,
    Fetch,
    Hello,
    Open,
    Ping,
    Pong,
    Rate,
    Refusal,
    Revoke,
    RoomKind,
    Said,
    Say,
    Status,
    Welcome,
    Who,
)
from tests.integration.bench import Bench, Broker, Child, wait_until
from tests.integration.wire import Feed, Peer, enroll, feed, member, peer

SEED = 20_241_121
_GREETING = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01"

pack = msgspec.msgpack.encode


def frame(*fields: object) -> bytes:
    """A frame of these fields, whatever they are."""
    return bytes([VERSION]) + pack(fields)


class Honest:
    """One says a line every few milliseconds, the other reads: once each, in order, never offline."""

    def __init__(self, bench: Bench, broker: Broker) -> None:
        self.said = 0
        self._reader = bench.start("listener", broker, "tail", "--json", "--since", "all")
        self._talker = bench.start("honest", broker, "send")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        while not self._stop.wait(0.03):
            self.said += 1
            self._talker.write(f"honest {self.said}\n")

    def notice_nothing(self) -> None:
        """Whatever was said until now has arrived."""
        last = self.said
        wait_until("a line of now", lambda: self.said > last)
        wait_until(f"line {last + 1}", lambda: f'"honest {last + 1}"' in self._reader.out)
        numbers = [row["text"] for row in self._reader.rows if row["from"] == "honest"]
        assert numbers == [f"honest {number}" for number in range(1, len(numbers) + 1)]
        for one in (self._reader, self._talker):
            assert one.runs
            assert one.err == ""

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        self._talker.end_of_input()
        assert self._talker.ends() == 0


@pytest.fixture(scope="module")
def honest(house: Bench, broker: Broker) -> Iterator[Honest]:
    one = Honest(house, broker)
    yield one
    one.end()


@pytest.fixture(autouse=True)
def nobody_notices(honest: Honest, broker: Broker) -> Iterator[None]:
    """After every test of this module."""
    yield
    honest.notice_nothing()
    assert broker.runs
    assert "Traceback" not in broker.err


@pytest.fixture(scope="module")
def mallory_keys(broker: Broker) -> KeyPair:
    return enroll(broker, "mallory")


@pytest.fixture
def mallory(broker: Broker, mallory_keys: KeyPair) -> Iterator[Peer]:
    """A member who means no good, with a session."""
    with peer(broker, mallory_keys) as one:
        one.hello("mallory")
        yield one


# --------------------------------------------------------------------------- strangers


def pour(port: int, *pieces: bytes) -> bool:
    """Send bytes over TCP; whether the other end hung up."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
        try:
            for piece in pieces:
                one.sendall(piece)
            while one.recv(4_096):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True


@pytest.mark.parametrize("which", ["port", "feed_port"])
def test_random_bytes(broker: Broker, which: str) -> None:
    rng = random.Random(SEED)
    port = getattr(broker, which)
    for size in (1, 9, 10, 11, 63, 64, 65, 1_000, 100_000):
        assert pour(port, b"\0" * 10 + rng.randbytes(size)) or size < 64
    null, curve = b"NULL".ljust(20, b"\0"), b"CURVE".ljust(20, b"\0")
    for mechanism in (null, curve, b"PLAIN".ljust(20, b"\0"), rng.randbytes(20)):
        greeting = (_GREETING[:10] + b"\x03\x00" + mechanism + b"\0" * 32)[:64]
        assert pour(port, greeting, b"\x04\xc8" + rng.randbytes(200), rng.randbytes(2_000))


def test_connections_that_say_nothing(broker: Broker) -> None:
    """They are cut off after three seconds; while they last they cost nobody anything."""
    ports = [broker.port, broker.feed_port] * 50
    idle = [socket.create_connection(("127.0.0.1", port), timeout=10) for port in ports]
    for one in idle:
        one.sendall(_GREETING[:5])
    for one in idle:
        while one.recv(4_096):
            pass
        one.close()


@pytest.mark.parametrize("kind", [zmq.DEALER, zmq.REQ, zmq.SUB, zmq.PUB, zmq.ROUTER, zmq.PAIR])
def test_zmtp_without_curve(broker: Broker, kind: int) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    for port in (broker.port, broker.feed_port):
        one = context.socket(kind)
        one.linger = 0
        one.reconnect_ivl = -1
        monitor = one.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        one.connect(f"tcp://127.0.0.1:{port}")
        assert monitor.poll(10_000)
        event = int.from_bytes(monitor.recv_multipart()[0][:2], "little")
        assert event == zmq.EVENT_DISCONNECTED
        one.disable_monitor()
        monitor.close()
        one.close()
    context.destroy(linger=0)


def test_a_key_that_nobody_knows(broker: Broker) -> None:
    with peer(broker) as stranger:
        stranger.say(Hello(1, "mallory"))
        assert not stranger.is_let_in()
        assert not stranger.socket.poll(0)


def test_an_invite_that_is_used_up_or_expired(house: Bench, broker: Broker) -> None:
    url = parse_address(house.operator("invite")[1])
    invite = keys_of(url.invite or b"")
    with peer(broker, invite) as guest, peer(broker, invite) as late:
        assert late.is_let_in()
        guest.say(Enroll(1, "guest1", new_keys().public))
        guest.answer(1, Enrolled)
        late.say(Enroll(1, "guest2", new_keys().public))
        assert late.refusal(1).code == Code.INVITE_INVALID
        late.say(Hello(2, "guest1"))
        assert late.refusal(2).code in (Code.INVITE_ONLY, Code.NOT_ENROLLED)
    with peer(broker, invite) as later:
        assert not later.is_let_in()


def test_an_invite_is_good_for_enroll_only(broker: Broker) -> None:
    with peer(broker, keys_of(broker.address.invite or b"")) as guest:
        guest.say(Hello(1, "mallory"))
        assert guest.refusal(1).code == Code.INVITE_ONLY
        for number, request in enumerate(
            (Ping(2, b"t" * 16), Who(3, b"t" * 16), Say(4, b"t" * 16, "#lobby", 0, ["hi"]))
        ):
            guest.say(request)
            assert guest.refusal(number + 2).code == Code.UNKNOWN_SESSION


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("maIlory", Code.NAME_TAKEN),
        ("MALLORY", Code.NAME_TAKEN),
        ("mall0ry", Code.NAME_TAKEN),
        ("m-a-l-l-o-r-y", Code.NAME_TAKEN),
        ("operator", Code.BAD_NAME),
        ("users", Code.BAD_NAME),
        ("", Code.BAD_FRAME),
        ("x" * 33, Code.BAD_NAME),
        ("x" * 65, Code.BAD_FRAME),
        ("mallo\u0433y", Code.BAD_NAME),
        ("a b", Code.BAD_NAME),
        ("a\x1b[31m", Code.BAD_NAME),
        ("#lobby", Code.BAD_NAME),
        ("-a", Code.BAD_NAME),
    ],
)
def test_names(broker: Broker, mallory_keys: KeyPair, name: str, code: Code) -> None:
    with peer(broker, keys_of(broker.address.invite or b"")) as guest:
        guest.send(frame(1, 7, name, new_keys().public))
        assert guest.refusal(7).code == code


# --------------------------------------------------------------------------- the feed


def test_a_feed_without_or_with_a_wrong_token(broker: Broker, mallory: Peer) -> None:
    mallory.open("#lobby")
    listeners = [Feed(broker.feed_port, token) for token in (None, b"x" * 16, mallory.token)]
    with feed(broker, mallory.welcome.feed_token) as rightful:
        for _ in range(20):
            assert rightful.hear()
    for one in listeners:
        assert one.hear(0) is None
        one.close()


def test_a_feed_token_ends_with_its_session(broker: Broker, mallory: Peer) -> None:
    token = mallory.welcome.feed_token
    mallory.say(Bye(mallory.next(), mallory.token))
    mallory.answer(mallory.request, Done)
    with feed(broker, token) as listener:
        assert listener.hear(0.3) is None


def test_a_feed_peer_that_sends(broker: Broker, mallory: Peer) -> None:
    """Subscriptions that are none, a great many of them, and a message that is too large."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    for message in (b"\x01" + b"x" * 2_000, b"\x07rubbish", b""):
        one = context.socket(zmq.XSUB)
        one.linger = 0
        one.plain_username, one.plain_password = b"feed", mallory.welcome.feed_token.hex().encode()
        one.connect(f"tcp://127.0.0.1:{broker.feed_port}")
        one.send(message)
        for number in range(200):
            one.send(b"\x01" + number.to_bytes(4, "big"))
        one.close(linger=500)
    context.destroy()
    assert mallory.open("#lobby").title == "#lobby"


# --------------------------------------------------------------------------- members


Make = Callable[[Peer], bytes]

DEEP = b"\x91" * 5_000
FRAMES: dict[str, tuple[Make, Code, int]] = {
    "nothing": (lambda p: b"", Code.BAD_FRAME, 0),
    "one byte": (lambda p: bytes([VERSION]), Code.BAD_FRAME, 0),
    "garbage": (lambda p: bytes([VERSION]) + random.Random(SEED).randbytes(500), Code.BAD_FRAME, 0),
    "a map": (lambda p: bytes([VERSION]) + pack({"kind": 9}), Code.BAD_FRAME, 0),
    "an empty array": (lambda p: frame(), Code.BAD_FRAME, 0),
    "two messages": (lambda p: encode(Ping(5, p.token)) * 2, Code.BAD_FRAME, 0),
    "cut short": (lambda p: encode(Ping(5, p.token))[:-3], Code.BAD_FRAME, 0),
    "deep nesting": (lambda p: bytes([VERSION]) + DEEP, Code.BAD_FRAME, 0),
    "an absurd length": (lambda p: bytes([VERSION]) + b"\xdd\xff\xff\xff\xff\x09", Code.BAD_FRAME, 0),
    "another version": (lambda p: b"\x02" + pack([9, 5, p.token]), Code.VERSION, 5),
    "version 0": (lambda p: b"\x00" + pack([9, 5, p.token]), Code.VERSION, 5),
    "another version, unreadable": (lambda p: b"\xfe\xc1", Code.VERSION, 0),
    "an unknown kind": (lambda p: frame(63, 5, p.token), Code.UNKNOWN_KIND, 5),
    "a kind of the broker's": (lambda p: frame(65, 5, p.token), Code.UNKNOWN_KIND, 5),
    "a kind that is a word": (lambda p: frame("ping", 5, p.token), Code.BAD_FRAME, 0),
    "a negative kind": (lambda p: frame(-1, 5, p.token), Code.UNKNOWN_KIND, 5),
    "no request id": (lambda p: frame(9), Code.BAD_FRAME, 0),
    "request 0": (lambda p: frame(9, 0, p.token), Code.BAD_FRAME, 0),
    "a negative request": (lambda p: frame(9, -5, p.token), Code.BAD_FRAME, 0),
    "a huge request": (lambda p: frame(9, 2**63, p.token), Code.BAD_FRAME, 0),
    "a request that is a word": (lambda p: frame(9, "5", p.token), Code.BAD_FRAME, 0),
    "a missing token": (lambda p: frame(9, 5), Code.BAD_FRAME, 5),
    "a short token": (lambda p: frame(9, 5, p.token[:15]), Code.BAD_FRAME, 5),
    "a token that is text": (lambda p: frame(9, 5, "t" * 16), Code.BAD_FRAME, 5),
    "a missing field": (lambda p: frame(5, 5, p.token, "#lobby"), Code.BAD_FRAME, 5),
    "a mistyped field": (lambda p: frame(5, 5, p.token, "#lobby", 0, "hello"), Code.BAD_FRAME, 5),
    "a line that is none": (lambda p: frame(5, 5, p.token, "#lobby", 0, [5]), Code.BAD_FRAME, 5),
    "no lines": (lambda p: frame(5, 5, p.token, "#lobby", 0, []), Code.BAD_FRAME, 5),
    "too many lines": (lambda p: frame(5, 5, p.token, "#lobby", 0, ["x"] * 501), Code.BAD_FRAME, 5),
    "a page of nothing": (lambda p: frame(6, 5, p.token, "#lobby", [b"e" * 8, 0], 0), Code.BAD_FRAME, 5),
    "a page too long": (lambda p: frame(6, 5, p.token, "#lobby", [b"e" * 8, 0], 501), Code.BAD_FRAME, 5),
    "an unknown kind of room": (lambda p: frame(11, 5, p.token, "#room", 9), Code.BAD_FRAME, 5),
    "invalid UTF-8": (
        lambda p: frame(5, 5, p.token, "#lobby", 0, ["hellX"]).replace(b"hellX", b"hell\xff"),
        Code.BAD_FRAME,
        5,
    ),
    "a surrogate": (
        lambda p: frame(5, 5, p.token, "#lobby", 0, ["heXXX"]).replace(b"XXX", b"\xed\xa0\x80"),
        Code.BAD_FRAME,
        5,
    ),
    "a wrong token": (lambda p: frame(9, 5, b"x" * 16), Code.UNKNOWN_SESSION, 5),
    "a token of the feed": (lambda p: frame(9, 5, p.welcome.feed_token), Code.UNKNOWN_SESSION, 5),
    "no such room": (lambda p: encode(Open(5, p.token, "#nowhere")), Code.NO_SUCH_ROOM, 5),
    "no room at all": (lambda p: encode(Open(5, p.token, "\x00" * 64)), Code.NO_SUCH_ROOM, 5),
    "a room's name too long": (lambda p: frame(3, 5, p.token, "#" * 65, None), Code.BAD_FRAME, 5),
    "somebody else's direct room": (lambda p: encode(Open(5, p.token, "@1:2")), Code.NO_SUCH_ROOM, 5),
    "nobody": (lambda p: encode(Open(5, p.token, "@nobody")), Code.NO_SUCH_ACCOUNT, 5),
    "a history of another": (
        lambda p: encode(Fetch(5, p.token, "#lobby", Cursor(b"otherone", 0))), Code.EPOCH_CHANGED, 5
    ),
    "a cursor in the future": (
        lambda p: encode(Fetch(5, p.token, "#lobby", Cursor(p.welcome.epoch, 2**50))), Code.EPOCH_CHANGED, 5
    ),
    "a bad room name": (
        lambda p: encode(Create(5, p.token, "#no good", RoomKind.PUBLIC)), Code.BAD_NAME, 5
    ),
    "a room that exists": (
        lambda p: encode(Create(5, p.token, "#LOBBY", RoomKind.PUBLIC)), Code.ROOM_EXISTS, 5
    ),
    "a direct room made": (
        lambda p: encode(Create(5, p.token, "#x", RoomKind.DIRECT)), Code.NOT_ALLOWED, 5
    ),
    "members of a public room": (
        lambda p: encode(Add(5, p.token, "#lobby", "mallory")), Code.NOT_ALLOWED, 5
    ),
    "the operator's status": (lambda p: encode(Status(5, p.token)), Code.NOT_ALLOWED, 5),
    "the operator's ban": (lambda p: encode(Ban(5, p.token, "honest")), Code.NOT_ALLOWED, 5),
    "the operator's rate": (lambda p: encode(Rate(5, p.token, "mallory", 9)), Code.NOT_ALLOWED, 5),
    "the operator's backup": (lambda p: encode(Backup(5, p.token, "/tmp/stolen")), Code.NOT_ALLOWED, 5),
    "a key of nobody's": (lambda p: encode(Revoke(5, p.token, b"k" * 32)), Code.NOT_ALLOWED, 5),
}  # fmt: skip


@pytest.fixture(scope="module")
def prober(broker: Broker) -> Iterator[Callable[[], Peer]]:
    """A member's session that is as long as the module: a new one when the lease has run out."""
    keys = enroll(broker, "prober")
    peers: list[Peer] = []

    def ready() -> Peer:
        if not peers:
            peers.append(Peer(broker, keys))
        peers[0].hello("prober")
        return peers[0]

    yield ready
    for one in peers:
        one.close()


@pytest.mark.parametrize("what", FRAMES)
def test_frames(prober: Callable[[], Peer], what: str) -> None:
    one = prober()
    make, code, request = FRAMES[what]
    one.send(make(one))
    while (reply := one.hear()).request != request:
        pass
    assert isinstance(reply, Refusal)
    assert reply.code == code
    assert reply.text
    one.say(Ping(77, one.token))
    one.answer(77, Pong)


TEXTS = {
    "escape": ("\x1b[2Jboo", Code.BAD_TEXT),
    "bell": ("ding\a", Code.BAD_TEXT),
    "C1": ("\x9b31m", Code.BAD_TEXT),
    "carriage return": ("over\rwritten", Code.BAD_TEXT),
    "NUL": ("a\0b", Code.BAD_TEXT),
    "bidi override": ("\u202egnp.exe", Code.BAD_TEXT),
    "bidi isolate": ("\u2066x", Code.BAD_TEXT),
    "line separator": ("a\u2028b", Code.BAD_TEXT),
    "blank": (" \n\t ", Code.BAD_TEXT),
    "empty": ("", Code.BAD_TEXT),
    "too long": ("x" * (LINE_BYTES_MAX + 1), Code.LINE_TOO_LONG),
    "too long in bytes": ("ü" * (LINE_BYTES_MAX // 2 + 1), Code.LINE_TOO_LONG),
    "too many rows": ("x\n" * LINE_ROWS_MAX + "x", Code.LINE_TOO_LONG),
}


@pytest.mark.parametrize("what", TEXTS)
def test_texts(prober: Callable[[], Peer], what: str) -> None:
    text, code = TEXTS[what]
    one = prober()
    one.say(Say(5, one.token, "#lobby", 0, ["good", text]))
    assert one.refusal(5).code == code


def test_what_a_later_version_may_add_is_ignored(mallory: Peer) -> None:
    mallory.send(frame(9, 5, mallory.token, "more", {"of": "this"}))
    mallory.answer(5, Pong)
    mallory.send(frame(2, 6, "mallory", None, "other software", "more", 7))
    mallory.answer(6, Welcome)


def test_requests_before_hello(broker: Broker, mallory_keys: KeyPair) -> None:
    with peer(broker, mallory_keys) as one:
        for number, request in enumerate((Ping, Who, Bye), start=1):
            one.say(request(number, b"t" * 16))
            refusal = one.refusal(number)
            assert refusal.code == Code.UNKNOWN_SESSION
            assert "say Hello first" in refusal.text


def test_the_token_of_another_connection(broker: Broker, mallory: Peer) -> None:
    with member(broker, "victim") as victim:
        mallory.say(Say(5, victim.token, "#lobby", 0, ["I am the victim"]))
        assert mallory.refusal(5).code == Code.UNKNOWN_SESSION
        mallory.say(Bye(6, victim.token))
        assert mallory.refusal(6).code == Code.UNKNOWN_SESSION
        with peer(broker, victim.keys) as twin:  # even the victim's own key is no session
            twin.say(Ping(5, victim.token))
            assert twin.refusal(5).code == Code.UNKNOWN_SESSION
        victim.say(Ping(50, victim.token))
        victim.answer(50, Pong)


def test_the_name_of_another(broker: Broker, mallory_keys: KeyPair) -> None:
    with peer(broker, mallory_keys) as one:
        for name in ("honest", "operator"):
            request = one.next()
            one.say(Hello(request, name))
            assert one.refusal(request).code == Code.WRONG_NAME


def test_more_than_one_frame(mallory: Peer) -> None:
    for count in (2, 3, 1_000):
        mallory.send(*[encode(Ping(5, mallory.token))] * count)
        refusal = mallory.refusal(0)
        assert refusal.code == Code.BAD_FRAME
        assert f"a request is one frame, this one {count}" in refusal.text
    mallory.say(Ping(6, mallory.token))
    mallory.answer(6, Pong)


@pytest.mark.skipif(not GUARDED, reason="the guard needs Linux")
def test_a_message_without_an_end_cuts_the_connection(broker: Broker, mallory_keys: KeyPair) -> None:
    with peer(broker, mallory_keys) as one:
        one.hello("mallory")
        one.socket.copy_threshold = 0
        one.socket.send_multipart([bytes(60_000)] * 4_000, copy=False)
        assert one.is_cut_off()


def test_a_frame_too_large_cuts_the_connection(broker: Broker, mallory_keys: KeyPair) -> None:
    with peer(broker, mallory_keys) as one:
        one.hello("mallory")
        one.send(b"x" * (FRAME_BYTES_MAX + 1))
        assert one.is_cut_off()
    with peer(broker, mallory_keys) as one:
        one.hello("mallory")
        one.send(bytes([VERSION]) + b"x" * (FRAME_BYTES_MAX - 1))
        assert one.refusal(0).code == Code.BAD_FRAME


def test_saying_out_of_turn(mallory: Peer) -> None:
    mallory.say(Create(1, mallory.token, "#turns", RoomKind.PUBLIC))
    mallory.answer(1, Done)
    mallory.say(Say(10, mallory.token, "#turns", 0, ["first"]))
    first = mallory.answer(10, Said)
    mallory.say(Say(12, mallory.token, "#turns", 11, ["third"]))
    refusal = mallory.refusal(12)
    assert (refusal.code, refusal.last) == (Code.OUT_OF_ORDER, 10)
    mallory.say(Say(10, mallory.token, "#turns", 0, ["first"]))
    assert mallory.answer(10, Said).stored == first.stored
    mallory.say(Say(10, mallory.token, "#turns", 0, ["something else"]))
    assert mallory.refusal(10).code == Code.ID_REUSED


def test_more_requests_than_it_may(mallory: Peer) -> None:
    """A thousand at once: each is answered, if only with a no."""
    for number in range(1, 1_001):
        mallory.say(Create(number, mallory.token, f"#flood-{number}", RoomKind.PUBLIC))
    answers: dict[int, str] = {}
    while len(answers) < 1_000:
        reply = mallory.hear()
        answers[reply.request] = reply.code if isinstance(reply, Refusal) else "done"
    assert set(answers) == set(range(1, 1_001))
    assert set(answers.values()) <= {"done", Code.TOO_MANY_IN_FLIGHT, Code.TOO_MANY_ROOMS}
    assert list(answers.values()).count("done") <= 50


def test_more_lines_than_it_may(mallory: Peer) -> None:
    """A burst is taken; then comes a no that says when to try again."""
    for request in range(10, 20):
        mallory.say(Say(request, mallory.token, "@mallory", request - 1 if request > 10 else 0, ["x"] * 500))
        mallory.answer(request, Said)
    mallory.say(Say(20, mallory.token, "@mallory", 19, ["x"] * 500))
    refusal = mallory.refusal(20)
    assert refusal.code == Code.RATE_LIMITED
    assert 1_000 < refusal.retry_ms <= 5_000


def test_our_client_takes_out_what_may_not_be_said(house: Bench, broker: Broker) -> None:
    text = "\x1b[31mred\x1b[0m \u202eevil\a"
    assert house.client("painter", broker, "send", text) == (0, "", "")
    reader: Child = house.start("painter", broker, "tail", "--json", "--since", "all")
    assert '"text": "red evil"' in reader.says("red evil")
    reader.kill()
