"""Whatever is asked, by whomever, in any order, with crashes and full disks between: the hub does not fall,
and its promises hold. Each test is a seed; what it does is the same each time."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import pytest

from chat_broker.accounts import BODIES, AccountMade, KeyChange, Role, Ruling, ServerKind
from chat_broker.log import SERVER_ROOM, Batch, MemoryLog, SenderKey
from chat_broker.rooms import Rooms
from chat_protocol.codec import decode_body, decode_feed, decode_reply, encode
from chat_protocol.envelope import read_header
from chat_protocol.errors import Code, StorageError
from chat_protocol.messages import (
    LOBBY,
    Add,
    AnyReply,
    AnyRequest,
    Bye,
    Create,
    Created,
    Cursor,
    Done,
    Enrolled,
    Entry,
    EntryKind,
    Fetch,
    Hello,
    Key,
    Leave,
    Membership,
    Message,
    Open,
    Opened,
    Page,
    Ping,
    Pong,
    Publication,
    Refusal,
    Remove,
    Request,
    RoomKind,
    RoomList,
    Said,
    Say,
    Users,
    Welcome,
    Who,
)
from chat_protocol.messages import (
    Rooms as RoomsRequest,
)
from tests.broker.anything import Anything
from tests.broker.bench import EPOCH, OPERATOR_KEY, PROCESS_INVITE, Bench, ClearSealer, Peer, texts

STEPS = 400
NAMES = ("ann", "ben", "cat", "dan")
PRIVATE = ("#den", "#lab")
PUBLIC = (LOBBY, "#books")


@dataclass
class Truth:
    """What is stored, folded independently of the broker."""

    entries: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    kinds: dict[str, RoomKind] = field(default_factory=dict)
    members: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    accounts: dict[int, AccountMade] = field(default_factory=dict)
    keys: dict[bytes, int] = field(default_factory=dict)
    banned: set[int] = field(default_factory=set)

    def store(self, batch: Batch) -> None:
        for room, stretches in batch.entries.items():
            for entry in (entry for one in stretches for entry in one.entries()):
                assert entry.seq == len(self.entries[room]) + 1, "a room's entries are contiguous"
                self.entries[room].append(entry)
                if room == SERVER_ROOM:
                    self._server(entry)
                else:
                    self._room(room, entry)

    def _server(self, entry: Entry) -> None:
        body = decode_body(entry, BODIES[entry.kind])
        match body:
            case AccountMade():
                self.accounts[entry.seq] = body
                self.keys[body.key] = entry.seq
            case KeyChange(account, key):
                if entry.kind == ServerKind.KEY_ADDED:
                    self.keys[key] = account
                else:
                    del self.keys[key]
            case Ruling(account):
                (self.banned.add if entry.kind == ServerKind.BANNED else self.banned.discard)(account)

    def _room(self, room: str, entry: Entry) -> None:
        match decode_body(entry, {1: object, 2: Created}.get(entry.kind, Membership)):
            case Created(kind, members):
                self.kinds[room] = kind
                self.members[room] = {account for account, _ in members}
            case Membership(account):
                change = self.members[room]
                (change.add if entry.kind == EntryKind.ADDED else change.discard)(account)

    def may_read(self, key: bytes, room: str) -> bool:
        """Whether whoever holds this key may read the room."""
        account = self.keys.get(key, 0)
        is_in = account > 0 and account not in self.banned and room in self.kinds
        return is_in and (self.kinds[room] is RoomKind.PUBLIC or account in self.members[room])

    def is_operator(self, key: bytes) -> bool:
        return self.accounts[self.keys[key]].role is Role.OPERATOR


class WatchedLog(MemoryLog):
    """Tells the truth of what it stored."""

    def __init__(self, truth: Truth) -> None:
        super().__init__(EPOCH)
        self.truth = truth

    def _store(self, batch: Batch) -> StorageError | None:
        error = super()._store(batch)
        if error is None:
            self.truth.store(batch)
        return error


class World(Bench):
    """A bench that checks everything that goes out, and does anything."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.truth = Truth()
        self.readers: dict[tuple[str, int], set[bytes]] = defaultdict(set)  # by room and generation
        self.turned: dict[str, int] = {}  # the generation that a removal closed
        self.published: dict[str, int] = {}
        self.lines: dict[tuple[SenderKey, int], set[tuple[str, ...]]] = defaultdict(set)
        self.says: list[tuple[Peer, bytes, Say]] = []  # with the instance
        self.asked: Counter[tuple[bytes, int]] = Counter()
        self.answered: Counter[tuple[bytes, int]] = Counter()
        self.unsteady: set[bytes] = set()  # connections whose session ended or changed
        self.could_read: dict[tuple[bytes, str], bool] = {}
        self.counter = 0
        self.keys: dict[str, bytes] = {}
        super().__init__(
            log=WatchedLog(self.truth),
            seed=seed,
            clear=True,
            fold_every=rng.choice([1, 5, 1_000]),
            keep_entries=rng.choice([0, 0, 10]),
            newcomer_lines=5,
            open=rng.random() < 0.3,
            says_in_flight=4,
            requests_in_flight=rng.choice([8, 256]),
            open_rooms=rng.choice([2, 256]),
            lines_burst=rng.choice([20, 100_000]),
            sessions_per_account=3,
        )
        for name in NAMES:
            self.keys[name] = self.enroll(name)
        ann = self.come("ann", self.keys["ann"])
        for room in PRIVATE:
            ann.ask(Done, Create, room, RoomKind.PRIVATE)
            ann.ask(Done, Add, room, "ben")
        self.keys["operator"] = OPERATOR_KEY
        blobs = [*self.keys.values(), PROCESS_INVITE, EPOCH, b"once-and-for-all"]
        self.anything = Anything(rng, [*NAMES, *PRIVATE, *PUBLIC, "operator", "@ann", "@ben"], blobs)

    # ------------------------------------------------------------------ what goes out

    def collect(self) -> None:
        outgoing = self.hub.take()
        for id, message in outgoing.replies:
            peer = self.peers.get(id)
            if peer is not None:
                reply = decode_reply(encode(message))
                self._check(peer, reply)
                peer.take(reply)
        for topic, envelope in outgoing.feed:
            self._check_feed(topic, envelope)
        rooms, keys, may_read = self.truth.kinds, self.truth.keys, self.truth.may_read
        self.could_read = {(key, room): may_read(key, room) for key in keys for room in rooms}

    def _check(self, peer: Peer, reply: AnyReply) -> None:
        truth = self.truth
        match reply:
            case Opened(room=room, generation=generation) | Key(room=room, generation=generation):
                assert truth.may_read(peer.key, room)
                self.readers[room, generation].add(peer.key)
            case Page(room=room, entries=entries):
                assert truth.may_read(peer.key, room)
                assert all(truth.entries[room][entry.seq - 1] == entry for entry in entries)
            case Users(room=room) if room:
                name = self.hub.state.room_id(truth.keys[peer.key], room)
                assert truth.may_read(peer.key, name or "")
            case RoomList(rooms=rooms):
                for info in rooms:
                    sees = info.kind is RoomKind.PRIVATE and truth.is_operator(peer.key)
                    assert sees or truth.may_read(peer.key, info.room)
                    assert info.head <= len(truth.entries[info.room])
            case Pong(rooms=rooms):
                assert all(room.head <= len(truth.entries[room.room]) for room in rooms)
            case Enrolled(account=account):
                assert account in truth.accounts
            case Welcome(account=account):
                assert truth.keys[peer.key] == account
                assert account not in truth.banned
                if peer.welcome is not None:
                    self.unsteady.add(peer.id)
                peer.welcome = reply
            case Said(stored=stored):
                for one in stored:
                    self._check_said(peer, one.request, one.room, one.first, one.count)
                    self.answered[peer.id, one.request] += 1
                self.answered[peer.id, reply.request] -= 1
            case Refusal(code=code):
                if code == Code.UNKNOWN_SESSION:
                    self.unsteady.add(peer.id)
        if reply.request:
            self.answered[peer.id, reply.request] += 1
        if type(reply).__name__ == "Goodbye":
            self.unsteady.add(peer.id)

    def _check_said(self, peer: Peer, request: int, room: str, first: int, count: int) -> None:
        """Acknowledged is stored, as this account's, and as it was said."""
        entries = self.truth.entries[room][first - 1 : first - 1 + count]
        assert len(entries) == count
        account = entries[0].account
        assert {entry.account for entry in entries} == {account}
        lines = tuple(texts(entries))
        place = (account, room)
        known = [(id, said) for (key, id), said in self.lines.items() if (key.account, key.room) == place]
        said_once = any(lines in said for _, said in known)  # by another request with its `once` key
        assert any(lines in said for id, said in known if id == request) or said_once

    def _check_feed(self, topic: bytes, envelope: bytes) -> None:
        room = next(name for name, feed in self.hub.state.feed._rooms.items() if feed.topic == topic)
        generation = read_header(envelope).generation
        message = decode_feed(ClearSealer().open(topic, b"", envelope))
        for key in self.readers[room, generation]:
            assert self.could_read.get((key, room)) or self.truth.may_read(key, room)
        assert generation > self.turned.get(room, 0), "after a removal the key is a new one"
        if isinstance(message, Publication):
            self._check_publication(room, generation, message)

    def _check_publication(self, room: str, generation: int, message: Publication) -> None:
        entries = message.entries
        assert entries[0].seq > self.published.get(room, 0)
        assert self.truth.entries[room][entries[0].seq - 1 : entries[-1].seq] == entries
        assert all(entry.kind != EntryKind.REMOVED for entry in entries[:-1])
        self.published[room] = entries[-1].seq
        if entries[-1].kind == EntryKind.REMOVED:
            self.turned[room] = generation

    # ------------------------------------------------------------------ what is done

    def step(self) -> None:
        rng = self.rng
        talking = [peer for peer in self.peers.values() if peer.welcome and self._is_there(peer)]
        if len(talking) < 3 or rng.random() < 0.02:
            self._come()
            return
        peer = rng.choice(talking)
        room = self._some_room(peer)
        match rng.choices(range(14), [30, 6, 10, 6, 15, 15, 25, 0.5, 6, 0.5, 6, 3, 8, 1])[0]:
            case 0:
                self._say(peer, room)
            case 1 if self.says:
                self._repeat()
            case 2:
                self._ask(peer, Open(self._next(peer), peer.token, room))
            case 3:
                cursor = Cursor(EPOCH, rng.randrange(5))
                self._ask(peer, Fetch(self._next(peer), peer.token, room, cursor))
            case 4:
                self._ask(peer, self.anything.request(peer.token))
            case 5:
                self.flush()
            case 6:
                self.store(1)
            case 7:
                self.log.fail = rng.choice([Code.STORAGE_FULL, Code.STORAGE_FAILED])
            case 8:
                self.log.fail = None
            case 9:
                self.restart()
            case 10:
                self._pass(rng.choice([0.0, 0.3, 2.0, 2.0, 2.0, 16.0]))
            case 11:
                self._ask(peer, Create(self._next(peer), peer.token, room, rng.choice(list(RoomKind))))
            case 12:
                kind = rng.choice([Add, Add, Remove])
                private, name = rng.choice(PRIVATE), rng.choice(NAMES)
                self._ask(peer, kind(self._next(peer), peer.token, private, name))
            case _:
                request, token = self._next(peer), peer.token
                others = [
                    Bye(request, token),
                    Who(request, token),
                    Leave(request, token, rng.choice(PRIVATE)),
                ]
                self._ask(peer, rng.choice([*others, RoomsRequest(request, token)]))

    def _is_there(self, peer: Peer) -> bool:
        session = self.hub.state.roster.at(peer.id)
        return session is not None and session.token == peer.token

    def _some_room(self, peer: Peer) -> str:
        """Most often one that this peer may read."""
        rooms = [*PUBLIC, *PRIVATE, "@ann", "@ben"]
        readable = [room for room in rooms if self.truth.may_read(peer.key, room)]
        return self.rng.choice(readable if self.rng.random() < 0.7 and readable else rooms)

    def _pass(self, seconds: float) -> None:
        """Time passes; for a while, the clients ping."""
        if seconds > 15:
            self.wait(seconds)
            return
        for peer in list(self.peers.values()):
            if peer.welcome and self._is_there(peer):
                self._ask(peer, Ping(self._next(peer), peer.token))
        self.wait(seconds)

    def restart(self, **changes: object) -> None:
        for known in (self.readers, self.turned, self.published):
            known.clear()
        self.log.fail = None
        super().restart()

    def _next(self, peer: Peer) -> int:
        peer.request = max(peer.request, 1_000) + 1
        return peer.request

    def _come(self) -> None:
        """Somebody connects: anew, or as an instance that was there before."""
        name = self.rng.choice([*NAMES, "operator"])
        key = self.keys[name]
        if not self.hub.admits(key, self.now):
            return
        peer = self.connect(key)
        earlier = [(one, instance) for one, instance, _ in self.says if one.key == key]
        instance: bytes | None = None
        if earlier and self.rng.random() < 0.7:
            before, instance = self.rng.choice(earlier)
            peer.request, peer.prev = before.request, before.prev
        self._ask(peer, Hello(self._next(peer), name, instance))
        if self.rng.random() < 0.8:
            self.round()
            self._ask(peer, Open(self._next(peer), peer.token, self._some_room(peer)))

    def _say(self, peer: Peer, room: str) -> None:
        self.counter += 1
        lines = [f"{self.counter}.{number}" for number in range(self.rng.choice([1, 1, 3]))]
        once = self.rng.choice([None, None, b"once %11d" % self.rng.randrange(20)])
        request = self._next(peer)
        message = Say(request, peer.token, room, peer.prev.get(room, 0), lines, once)
        peer.prev[room] = request
        self.says.append((peer, peer.instance, message))
        self._ask(peer, message)

    def _repeat(self) -> None:
        """A Say goes out again, from whatever connection its instance has now."""
        _, instance, say = self.rng.choice(self.says[-10:])
        now = [peer for peer in self.peers.values() if peer.welcome and peer.instance == instance]
        if now:
            peer = self.rng.choice(now)
            self._ask(peer, Say(say.request, peer.token, say.room, say.prev, say.lines, say.once))

    def _ask(self, peer: Peer, message: Message) -> None:
        assert isinstance(message, AnyRequest)
        if isinstance(message, Say) and peer.welcome:
            room = self.hub.state.room_id(peer.welcome.account, message.room) or ""
            sender = SenderKey(peer.welcome.account, peer.instance, room)
            self.lines[sender, message.request].add(tuple(message.lines))
        if isinstance(message, Bye):
            self.unsteady.add(peer.id)
        peer.deliver(message)
        for reply in peer.inbox:
            if isinstance(reply, Refusal) and reply.code == Code.OUT_OF_ORDER:
                peer.prev = dict.fromkeys(peer.prev, reply.last)
        peer.inbox.clear()

    def store(self, batches: int | None = None) -> None:
        """One batch at a time, so that what goes out is checked against what is stored then."""
        super().store(1)

    def connect(self, key: bytes) -> Peer:
        """A connection whose requests are counted."""
        peer = super().connect(key)
        deliver = peer.deliver

        def count(message: Message) -> None:
            assert isinstance(message, Request)
            self.asked[peer.id, message.request] += 1
            deliver(message)

        peer.deliver = count  # type: ignore[method-assign]
        return peer

    # ------------------------------------------------------------------ what holds in the end

    def settle(self) -> None:
        self.log.fail = None
        self.round()
        self.wait(1.5)
        self.round()

    def check_quiet(self) -> None:
        """Nothing is on its way, and nothing is overdue."""
        state = self.hub.state
        assert state.pending_bytes == 0
        assert all(session.in_flight == 0 for session in state.roster)
        assert not self.hub.is_storing
        for feed in state.feed._rooms.values():
            assert all(at is None or at > self.clock for at in (feed.beacon_at, feed.presence_at))
        for session in state.roster:
            assert state.roster.clock - session.heard < state.roster.lease_s + 0.6

    def check_state(self) -> None:
        """What the hub holds is what its log makes of it."""
        rooms = Rooms(self.settings.newcomer_lines)
        for name, entries in self.truth.entries.items():
            if name != SERVER_ROOM:
                rooms.load(name, None, entries)
        running = self.hub.state
        assert {room.name: (room.fold(), room.stored, room.readers) for room in rooms} == {
            room.name: (room.fold(), room.stored, room.readers) for room in running.rooms
        }
        before = running.accounts.fold()
        self.restart()
        assert self.hub.state.accounts.fold() == before
        assert {room.name: room.fold() for room in self.hub.state.rooms} == {
            room.name: room.fold() for room in rooms
        }

    def check_lines(self) -> None:
        """Each line that somebody said is there at most once, and each sender's are in order."""
        whose = {text: (instance, say.request) for _, instance, say in self.says for text in say.lines}
        for room, entries in self.truth.entries.items():
            said = [text for text in texts(entries) if text in whose]
            assert len(said) == len(set(said)), room
            order: dict[bytes, list[int]] = defaultdict(list)
            for text in said:
                instance, request = whose[text]
                order[instance].append(request)
            assert all(requests == sorted(requests) for requests in order.values())

    def check_answers(self) -> None:
        """One answer to each request; of connections whose session ended, at most one."""
        for (id, request), count in self.asked.items():
            answers = self.answered[id, request]
            assert answers <= count
            if id in self.peers and id not in self.unsteady:
                assert answers == count, (id, request)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_the_promises_hold(seed: int) -> None:
    world = World(seed)
    for _ in range(STEPS):
        world.step()
    world.settle()
    world.check_quiet()
    world.check_answers()
    world.check_lines()
    world.check_state()
