"""What attackers do, each with what must come of it.

Every attack takes the arena and how hard to try (1 is the short version), stops by itself, and returns
sentences about what went otherwise than it should. The honest people are watched by whoever calls.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import zmq

from chat_broker.auth import KeyPair, keys_of, new_keys
from chat_protocol.address import decode_key
from chat_protocol.codec import decode_reply, encode, line_text
from chat_protocol.errors import BadFrame, BadSeal
from chat_protocol.messages import (
    Bye,
    Create,
    Cursor,
    Done,
    Enroll,
    Fetch,
    Hello,
    Message,
    Open,
    Opened,
    Page,
    Ping,
    Pong,
    Refusal,
    RoomKind,
    Said,
    Say,
    Welcome,
    Who,
)
from chat_protocol.names import clean_text
from tests.integration.wire import opener
from tests.proof import raw
from tests.proof.arena import ADMISSION_S, Arena
from tests.proof.fuzz_codec import CORPUS, mutate
from tests.proof.honest import PEOPLE

Attack = Callable[[Arena, int], list[str]]

HANDSHAKE_S = 10.0  # the broker's patience with one
CLOSED_WITHIN_S = HANDSHAKE_S + 7.0  # on a busy machine
CUT_WITHIN_S = 15.0
FIRST_ROUTING_IDS = (0x6B8B4567, 0xE43C9869, 0xF4B0DC51)  # where an unseeded libzmq begins to count
ESCAPES = ("\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b2J", "\u202egnp.exe", "a\x00b", "a\rb", "\x1bc")
LOOK_ALIKES = ("HONEST.ANN", "h0nest.ann", "honest_ann", "honestann", "hоnest.ann", "honest.аnn")


# ---------------------------------------------------------------------- bytes


def random_bytes(arena: Arena, effort: int) -> list[str]:
    """Noise on both ports, alone and behind a proper greeting: each connection is broken off."""
    connections = []
    greetings = [
        b"",
        raw.greeting(b"CURVE"),
        raw.greeting(b"PLAIN"),
        raw.greeting(b"NULL"),
        b"GET / HTTP/1.1\r\n",
    ]
    for number in range(100 * effort):
        port = arena.broker.port if number % 2 else arena.broker.feed_port
        one = raw.connect(port)
        connections.append(one)
        noise = greetings[number // 2 % len(greetings)] + arena.rng.randbytes(arena.rng.randint(1, 4_000))
        try:
            one.sendall(noise)
        except OSError:
            pass  # it was quicker
    return _all_closed(connections)


def _all_closed(connections: list[socket.socket]) -> list[str]:
    try:
        over = raw.closed(connections, CLOSED_WITHIN_S)
    finally:
        for one in connections:
            one.close()
    return [] if over == len(connections) else [f"{len(connections) - over} connections were left open"]


def mutated_frames(arena: Arena, effort: int) -> list[str]:
    """A member's frames, broken in all ways: each is refused or does what it says, and the link stays."""
    member = arena.member("mallory")
    token = member.token
    corpus = [frame.replace(bytes(16), token) for frame in CORPUS]
    for number in range(1_500 * effort):
        member.send(mutate(arena.rng.choice(corpus), arena.rng)[:60_000])
        if number % 50 == 49:
            _listen(member.socket, 0.01)
    member.send(b"", b"", b"three frames")
    _listen(member.socket, 0.3)
    fresh = arena.member("mallory")  # its own session may have been ended by what it sent
    request = fresh.next()
    fresh.say(Ping(request, fresh.token))
    fresh.answer(request, Pong)
    return []


def mutated_subscriptions(arena: Arena, effort: int) -> list[str]:
    """Noise on the feed from somebody with a ticket: dropped, or cut."""
    member = arena.member("mallory")
    for _ in range(5 * effort):
        one = raw.plain_peer(arena.broker.feed_port, member.welcome.feed_token)
        try:
            for _ in range(50):
                one.sendall(raw.frame(mutate(arena.rng.choice(CORPUS), arena.rng)[:1_000]))
            one.sendall(arena.rng.randbytes(2_000))
        except OSError:
            pass  # cut already
        one.close()
    return _still_serves(arena)


def codec_fuzz(arena: Arena, effort: int) -> list[str]:
    """The codec alone, a fixed number of inputs: a message or BadFrame, nothing else."""
    program = Path(__file__).with_name("fuzz_codec.py")
    seed = arena.rng.randrange(2**31)
    command = [sys.executable, str(program), str(20_000 * effort), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 60 * effort, check=False)
    if done.returncode == 0:
        return []
    return [f"the codec raised on input of seed {seed}: {done.stderr[-600:]}"]


# ---------------------------------------------------------------------- connections


def stalled_handshakes(arena: Arena, effort: int) -> list[str]:
    """Handshakes that stop half way or trickle on: each is broken off when its time is over."""
    connections = [
        raw.connect(arena.broker.port if n % 2 else arena.broker.feed_port) for n in range(60 * effort)
    ]
    for number, one in enumerate(connections):
        mechanism = b"CURVE" if number % 2 else b"PLAIN"
        one.sendall(raw.greeting(mechanism)[: (11, 63, 64)[number % 3]])
    begun, step = time.monotonic(), 0
    while time.monotonic() < begun + HANDSHAKE_S:
        for one in connections[::3]:
            try:
                one.sendall(raw.greeting(b"CURVE")[11 + step : 12 + step])
            except OSError:
                pass  # broken off
        step += 1
        time.sleep(0.2)
    return _all_closed(connections)


def half_open(arena: Arena, effort: int) -> list[str]:
    """1,000 connections that say nothing: all are broken off, and members come in meanwhile."""
    ports = (arena.broker.port, arena.broker.feed_port)
    connections = [raw.connect(ports[number % 2]) for number in range(1_000)]
    wrong = _still_serves(arena)
    return wrong + _all_closed(connections)


def strangers(arena: Arena, effort: int) -> list[str]:
    """Keys that nobody knows, and guesses at the broker's: none gets past the handshake."""
    return _none_admitted(arena, 150 * effort, lambda number: new_keys())


def guessed_invites(arena: Arena, effort: int) -> list[str]:
    """Invites near to the real one, the broker's own public key, a used-up invite: none is let in."""
    real = arena.broker.address.invite or b""
    url = arena.bench.operator("invite", "--uses", "1")[1].strip()
    used = url.partition("invite=")[2]
    name = f"used{arena.rng.randrange(10**9)}"
    code, _, err = arena.bench.client(name, url, "send", "in by invite")
    wrong = [f"an invite did not work: {err}"] if code else []
    guesses = [decode_key(used), arena.broker.address.key or b"", bytes(32)]
    for _ in range(60 * effort):
        near = bytearray(real)
        near[arena.rng.randrange(32)] ^= 1 << arena.rng.randrange(3, 6)
        guesses.append(bytes(near))
    wrong += _none_admitted(arena, len(guesses), lambda number: keys_of(guesses[number]))
    member, key = arena.member("mallory"), new_keys().public
    request = member.next()
    member.say(Enroll(request, "mallory.two", key))
    refusal = member.refusal(request)
    return wrong + ([] if refusal.code == "invite_invalid" else [f"a member's key enrolled: {refusal}"])


def _none_admitted(arena: Arena, count: int, keys: Callable[[int], KeyPair]) -> list[str]:
    """So many come to the command port with these keys, every tenth without the broker's; all are refused."""
    failed = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    failed |= zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_DISCONNECTED
    admitted = unanswered = 0
    for begin in range(0, count, 50):
        monitors = []
        for number in range(begin, min(begin + 50, count)):
            server_key = new_keys().public if number % 10 == 9 else b""
            events = failed | zmq.EVENT_HANDSHAKE_SUCCEEDED
            monitors.append(arena.watched_dealer(events, keys(number), server_key)[1])
        for monitor in monitors:
            if not monitor.poll(int(CLOSED_WITHIN_S * 1_000)):
                unanswered += 1
                continue
            event = int.from_bytes(monitor.recv_multipart()[0][:2], "little")
            admitted += event == zmq.EVENT_HANDSHAKE_SUCCEEDED
        arena.close_attackers()
    wrong = [f"{admitted} of {count} strangers were let in"] if admitted else []
    return wrong + ([f"{unanswered} of {count} strangers were left waiting"] if unanswered else [])


# ---------------------------------------------------------------------- floods by members


def endless_multipart(arena: Arena, effort: int) -> list[str]:
    """Members whose message has no end, on the command port: each is cut."""
    members = [arena.watched_dealer(zmq.EVENT_DISCONNECTED, arena.keys("mallory")) for _ in range(2 + effort)]
    part = bytes(60_000)
    for one, _ in members:
        one.copy_threshold = 0
        one.send_multipart([part] * 4_000, copy=False)  # 240 MB, sent whole or not at all
    uncut = sum(not monitor.poll(int(CUT_WITHIN_S * 1_000)) for _, monitor in members)
    return [f"{uncut} members with endless messages were not cut"] if uncut else []


def endless_on_the_feed(arena: Arena, effort: int) -> list[str]:
    """The same on the feed port."""
    return _cut_on_feed(arena, effort, lambda number: raw.frame(bytes(1_000), more=True))


def subscription_flood(arena: Arena, effort: int) -> list[str]:
    """A million subscriptions: cut after some thousands."""
    return _cut_on_feed(arena, effort, lambda number: raw.frame(b"\x01" + struct.pack(">Q", number)))


def huge_topics(arena: Arena, effort: int) -> list[str]:
    """Subscriptions to topics of a kilobyte, each another: cut."""
    return _cut_on_feed(arena, effort, lambda n: raw.frame(b"\x01" + struct.pack(">Q", n) + bytes(1_000)))


def _cut_on_feed(arena: Arena, effort: int, frame: Callable[[int], bytes]) -> list[str]:
    uncut = 0
    for _ in range(1 + effort):
        member = arena.member("mallory")
        with raw.plain_peer(arena.broker.feed_port, member.welcome.feed_token) as one:
            uncut += not _is_cut(one, frame)
    return [f"{uncut} members who flooded the feed were not cut"] if uncut else []


def _is_cut(one: socket.socket, frame: Callable[[int], bytes]) -> bool:
    """Send frames as fast as they are taken, up to a million or the limit."""
    until = time.monotonic() + CUT_WITHIN_S
    one.settimeout(1.0)
    for begin in range(0, 1_000_000, 500):
        try:
            one.sendall(b"".join(map(frame, range(begin, begin + 500))))
        except TimeoutError:
            if raw.closed([one], 0.05):
                return True
            one.settimeout(1.0)  # the broker takes no more for now
        except OSError:
            return True
        if time.monotonic() > until:
            break
    return bool(raw.closed([one], 1.0))


def never_reads(arena: Arena, effort: int) -> list[str]:
    """Clients that ask for the whole log and take no answer, and follow the feed without reading."""
    for _ in range(4 * effort):
        member = arena.member("mallory")
        member.open("#lobby")
        arena.subscriber(member.welcome.feed_token, hwm=1)
        member.socket.rcvhwm = 1
        for _ in range(500):
            request = member.next()
            member.say(Fetch(request, member.token, "#lobby", Cursor(bytes(8), 0)))
            member.say(Who(request, member.token))
    time.sleep(1.0)
    return _still_serves(arena)


def flood(arena: Arena, effort: int) -> list[str]:
    """A member who says lines as fast as the socket takes them, in the room of the honest: refused when
    the allowance is used up, and answered each time."""
    member = arena.member("mallory")
    member.open("#lobby")
    member.socket.sndhwm = 0
    until = time.monotonic() + 2.0 * effort
    stored = refused = previous = sent = 0
    while time.monotonic() < until:
        for _ in range(64):
            request = member.next()
            said = [f"flood {request} {n}" for n in range(20)]
            member.say(Say(request, member.token, "#lobby", previous, said))
            previous = request
            sent += 1
        for reply in _listen(member.socket, 0.0):
            if isinstance(reply, Said):
                stored += len(reply.stored)
            elif isinstance(reply, Refusal):
                refused += 1
                previous = reply.last or previous
    until = time.monotonic() + 1.0
    replies = _listen(member.socket, 0.2, lambda found: time.monotonic() > until)
    refused += sum(isinstance(reply, Refusal) for reply in replies)
    lines = stored * 20
    allowed = 5_000 + 100 * 2 * effort + 2_000
    wrong = [] if refused else [f"none of {sent} requests was refused"]
    return wrong + ([f"{lines} lines were taken, {allowed} at most should be"] if lines > allowed else [])


# ---------------------------------------------------------------------- claims


def routing_ids(arena: Arena, effort: int) -> list[str]:
    """Routing ids that are somebody's, or would be the next one's: nothing is learned, nobody is shut out."""
    wrong = []
    victim = arena.dealer(arena.keys("victim"), routing_id=b"victim")
    welcome = _hello(victim, "victim")
    squatters = [arena.dealer(arena.keys("mallory"), routing_id=b"victim") for _ in range(5)]
    foreseen = [struct.pack(">BI", 0, (first + n) % 2**32) for first in FIRST_ROUTING_IDS for n in range(50)]
    foreseen += [b"\0" + arena.rng.randbytes(4) for _ in range(50)]
    squatters += [arena.dealer(arena.keys("mallory"), routing_id=one) for one in foreseen]
    for number, one in enumerate(squatters):
        one.send(encode(Ping(900 + number, welcome.token)))
    for number in range(20):
        victim.send(encode(Ping(100 + number, welcome.token)))
    answers = _listen(victim, ADMISSION_S, lambda found: len(found) >= 20)
    if [one.request for one in answers if isinstance(one, Pong)] != list(range(100, 120)):
        wrong.append(f"the victim did not get its own answers: {answers}")
    heard = [reply for one in squatters for reply in _listen(one, 0.0)]
    if any(not isinstance(reply, Refusal) for reply in heard):
        wrong.append("a squatter was answered as the victim")
    return wrong + _still_serves(arena)


def replays(arena: Arena, effort: int) -> list[str]:
    """Frames again, on another connection and on the same; and a whole session's bytes again."""
    wrong = []
    with _Relay(arena.broker.port) as relay:
        victim = arena.dealer(arena.keys("victim"), port=relay.port)
        welcome = _hello(victim, "victim")
        say = encode(Say(7, welcome.token, "#lobby", 0, [f"said once {arena.rng.random()}"]))
        for _ in range(50):
            victim.send(say)
        answers = _listen(victim, ADMISSION_S, lambda found: len(found) >= 50)
        places = {(one.stored[0].first, one.stored[0].count) for one in answers if isinstance(one, Said)}
        if len(answers) < 50 or len(places) != 1:
            wrong.append(f"one line said 50 times got the places {places} in {len(answers)} answers")
        member = arena.member("mallory")
        for frame in (say, encode(Ping(8, welcome.token)), encode(Bye(9, welcome.token))):
            member.send(frame)
            if getattr(member.hear(), "code", "") != "unknown_session":
                wrong.append("a replayed frame was obeyed on another connection")
        recorded = bytes(relay.recorded)
    with raw.connect(arena.broker.port) as again:
        try:
            again.sendall(recorded)
        except OSError:
            pass  # broken off already
        if not raw.closed([again], CLOSED_WITHIN_S):
            wrong.append("a recorded session was let in again")
    return wrong


def stolen_tokens(arena: Arena, effort: int) -> list[str]:
    """A session's token on another member's connection opens nothing; its feed ticket only ciphertext."""
    wrong = []
    victim, thief = arena.member("victim"), arena.member("mallory")
    room = f"#secret{arena.rng.randrange(10**9)}"
    request = victim.next()
    victim.say(Create(request, victim.token, room, RoomKind.PRIVATE))
    victim.answer(request, Done)
    opened = victim.open(room)
    lobby = thief.open("#lobby")
    stolen = arena.subscriber(victim.welcome.feed_token, [opened.topic])
    asked: list[Callable[[int], Message]] = [
        lambda n: Say(n, victim.token, room, 0, ["in another's name"]),
        lambda n: Fetch(n, victim.token, room, Cursor(bytes(8), 0)),
        lambda n: Open(n, victim.token, room),
        lambda n: Open(n, thief.token, room),
        lambda n: Fetch(n, thief.token, room, Cursor(bytes(8), 0)),
        lambda n: Bye(n, victim.token),
    ]
    for ask in asked:
        request = thief.next()
        thief.say(ask(request))
        reply = thief.hear()
        if not isinstance(reply, Refusal) or reply.code not in ("unknown_session", "no_such_room"):
            wrong.append(f"a thief was given {reply}")
    heard: list[tuple[bytes, bytes]] = []
    secret, previous = "for members only", 0
    until = time.monotonic() + ADMISSION_S
    while len(heard) < 5 and time.monotonic() < until:
        request = victim.next()
        victim.say(Say(request, victim.token, room, previous, [secret]))
        victim.answer(request, Said)
        previous = request
        while stolen.poll(100):
            topic, envelope = stolen.recv_multipart()
            heard.append((topic, envelope))
    seals = opener(victim)
    for topic, envelope in heard:
        seals.open(topic, opened.key, envelope)  # this is what it would take
        try:
            seals.open(topic, lobby.key, envelope)
        except BadSeal:
            continue
        wrong.append("an envelope opened with another room's key")
    if not heard:
        wrong.append("the ticket did not even let the thief listen: nothing was shown")
    if any(secret.encode() in envelope for _, envelope in heard):
        wrong.append("the feed carries what was said in the open")
    return wrong


def forged_names(arena: Arena, effort: int) -> list[str]:
    """Another's name in Hello, in Enroll, and behind the fields of a Say."""
    wrong = []
    thief = arena.guest(arena.keys("mallory"))
    for name in PEOPLE:
        request = thief.next()
        thief.say(Hello(request, name))
        if thief.refusal(request).code != "wrong_name":
            wrong.append(f"mallory said Hello as {name}")
    guest = arena.guest(keys_of(arena.broker.address.invite or b""))
    for name in (*PEOPLE, *map(str.upper, PEOPLE), "operator", "system"):
        request = guest.next()
        guest.say(Enroll(request, name, new_keys().public))
        if guest.refusal(request).code not in ("name_taken", "bad_name"):
            wrong.append(f"{name} was taken twice")
    member = arena.member("mallory")
    opened = member.open("#lobby")
    request = member.next()
    text = f"who said this {arena.rng.random()}"
    frame = bytearray(encode(Say(request, member.token, "#lobby", 0, [text], bytes(16))))
    frame[1] += 2  # the array's length: two more fields
    frame += b"\xaa" + PEOPLE[0].encode()[:10] + b"\x01"
    member.send(bytes(frame))
    stored = member.answer(request, Said).stored[0]
    request = member.next()
    member.say(Fetch(request, member.token, opened.room, Cursor(member.welcome.epoch, stored.first - 1), 1))
    entry = member.answer(request, Page).entries[0]
    if (entry.sender, line_text(entry)) != ("mallory", text):
        wrong.append(f"a line of mallory's is stored as {entry.sender}'s")
    return wrong


def look_alikes(arena: Arena, effort: int) -> list[str]:
    """Names that a person would take for another's are refused."""
    guest = arena.guest(keys_of(arena.broker.address.invite or b""))
    wrong = []
    for name in LOOK_ALIKES:
        request = guest.next()
        guest.say(Enroll(request, name, new_keys().public))
        reply = guest.hear()
        if not isinstance(reply, Refusal) or reply.code not in ("name_taken", "bad_name"):
            wrong.append(f"{name!r} was enrolled beside {PEOPLE[0]}")
    return wrong


def terminal_escapes(arena: Arena, effort: int) -> list[str]:
    """Escape sequences in every field that a person sees: refused, and nowhere shown."""
    wrong: list[str] = []
    member = arena.member("mallory")
    guest = arena.guest(keys_of(arena.broker.address.invite or b""))
    for text in ESCAPES:
        for fields in (
            Say(member.next(), member.token, "#lobby", 0, [text]),
            Create(member.next(), member.token, f"#a{text}", RoomKind.PUBLIC),
            Open(member.next(), member.token, f"#{text}"),
            Open(member.next(), member.token, f"@{text}"),
            Who(member.next(), member.token, f"#{text}"),
            Hello(member.next(), text, None, text),
        ):
            member.say(fields)
            _check_refused(member.answer(fields.request, Refusal), text, wrong)
        request = guest.next()
        guest.say(Enroll(request, text, new_keys().public))
        _check_refused(guest.answer(request, Refusal), text, wrong)
        member.say(Hello(member.next(), "mallory", None, text))  # its software is shown to nobody yet
        member.welcome = member.answer(member.request, Welcome)
    shown = arena.broker.err + arena.broker.out
    if clean_text(shown) != shown:
        wrong.append("the broker's own log holds control characters")
    return wrong


def _check_refused(refusal: Refusal, text: str, wrong: list[str]) -> None:
    if clean_text(refusal.text) != refusal.text:
        wrong.append(f"a refusal repeats {text!r}")


# ---------------------------------------------------------------------- shared


class _Relay:
    """Passes one connection on to the broker, and keeps what its client sent."""

    def __init__(self, port: int) -> None:
        self.recorded = bytearray()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._target = port
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> _Relay:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended already
        for thread in self._threads:
            thread.join(5)
        for one in self._sockets:
            one.close()

    def _serve(self) -> None:
        client, _ = self._server.accept()
        broker = raw.connect(self._target)
        broker.settimeout(None)
        self._sockets += [client, broker]
        back = threading.Thread(target=_pass_on, args=(broker, client, None), daemon=True)
        self._threads.append(back)
        back.start()
        _pass_on(client, broker, self.recorded)


def _pass_on(source: socket.socket, target: socket.socket, record: bytearray | None) -> None:
    try:
        while data := source.recv(65_536):
            if record is not None:
                record += data
            target.sendall(data)
    except OSError:
        pass  # one side has ended


def _hello(one: zmq.Socket[bytes], name: str) -> Welcome:
    one.send(encode(Hello(1, name)))
    (reply,) = _listen(one, ADMISSION_S, bool)
    assert isinstance(reply, Welcome), reply
    return reply


def _listen(
    one: zmq.Socket[bytes], limit_s: float, enough: Callable[[list[Message]], bool] = lambda found: False
) -> list[Message]:
    """What comes until it is enough, or until nothing more came for that long."""
    found: list[Message] = []
    while not enough(found) and one.poll(int(limit_s * 1_000)):
        try:
            found.append(decode_reply(one.recv()))
        except BadFrame:
            continue
    return found


def _still_serves(arena: Arena) -> list[str]:
    """A newcomer to the scene gets in, opens the lobby and is answered."""
    one = arena.member("witness")
    opened = one.open("#lobby")
    return [] if isinstance(opened, Opened) else [f"the lobby does not open: {opened}"]


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        random_bytes, mutated_frames, mutated_subscriptions, codec_fuzz, stalled_handshakes, half_open,
        strangers, guessed_invites, endless_multipart, endless_on_the_feed, subscription_flood, huge_topics,
        never_reads, flood, routing_ids, replays, stolen_tokens, forged_names, look_alikes, terminal_escapes,
    )
}  # fmt: skip
