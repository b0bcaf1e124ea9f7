"""A session under test and, across from it, a broker that says just what a test wants."""

from __future__ import annotations

import random
from typing import TypeVar

from msgspec import Raw

from chat_client.actions import Action, Dial
from chat_client.events import Event, Link
from chat_client.session import Answered, Session
from chat_protocol.codec import encode_plain
from chat_protocol.envelope import Header
from chat_protocol.messages import (
    LOBBY,
    AnyFeed,
    AnyReply,
    Cursor,
    Entry,
    EntryKind,
    Hello,
    Limits,
    Line,
    Message,
    Open,
    Opened,
    Page,
    Pong,
    RoomHead,
    RoomKind,
    RoomList,
    Rooms,
    Welcome,
)
from tests.simulation.seals import SymbolicOpener, SymbolicSealer

M = TypeVar("M")

KEY = b"k" * 32
EPOCH = b"epoch--1"
RUN = b"run----1"
INSTANCE = b"instance-------1"
ME, OTHER = 7, 8


def entry(seq: int, text: str = "", account: int = OTHER, sender: str = "alice") -> Entry:
    """The line that is entry `seq`."""
    body = Raw(encode_plain(Line(text or f"line {seq}")))
    return Entry(seq, 1_000 + seq, account, sender, EntryKind.LINE, body)


def entries(first: int, last: int) -> list[Entry]:
    return [entry(seq) for seq in range(first, last + 1)]


class OtherSide:
    """`sent`, `did`, `saw` and `answered` give what came out since they were last asked."""

    def __init__(self, name: str = "bob", *, enrolled: bool = True, has_invite: bool = False) -> None:
        self.now = 100.0
        self.session = Session(
            name,
            KEY,
            enrolled=enrolled,
            has_invite=has_invite,
            make_opener=SymbolicOpener,
            rng=random.Random(1),
        )
        self.sealer = SymbolicSealer(b"v" * 32)
        self.run = RUN
        self.epoch = EPOCH
        self.welcomes = 0
        self.counter = 0
        self._sent: list[Message] = []
        self._did: list[Action] = []
        self._saw: list[Event] = []
        self._answered: list[Answered] = []

    # ------------------------------------------------------------------ what came out

    def pump(self) -> None:
        """What the connection does after everything that happens."""
        session = self.session
        while True:
            session.tick(self.now)
            session.flush(self.now)
            if not (session.outgoing or session.actions or session.events or session.answers):
                return
            self._sent += session.outgoing
            self._did += session.actions
            self._saw += session.events
            self._answered += session.answers
            session.outgoing, session.actions, session.answers = [], [], []
            session.events.clear()

    def sent(self, kind: type[M]) -> list[M]:
        """Requests of a kind; the others are left for later."""
        self.pump()
        found: list[M] = [one for one in self._sent if isinstance(one, kind)]
        self._sent = [one for one in self._sent if not isinstance(one, kind)]
        return found

    def sent_one(self, kind: type[M]) -> M:
        found = self.sent(kind)
        assert len(found) == 1, found
        return found[0]

    def did(self, kind: type[M]) -> list[M]:
        self.pump()
        found: list[M] = [one for one in self._did if isinstance(one, kind)]
        self._did = [one for one in self._did if not isinstance(one, kind)]
        return found

    def saw(self, kind: type[M]) -> list[M]:
        self.pump()
        found: list[M] = [one for one in self._saw if isinstance(one, kind)]
        self._saw = [one for one in self._saw if not isinstance(one, kind)]
        return found

    def answered(self) -> list[Answered]:
        self.pump()
        answered, self._answered = self._answered, []
        return answered

    def forget(self) -> None:
        """What came out so far is of no interest."""
        self.pump()
        self._sent, self._did, self._saw, self._answered = [], [], [], []

    # ------------------------------------------------------------------ what happens

    def wait(self, seconds: float) -> None:
        """Time passes, with everything that becomes due meanwhile."""
        until = self.now + seconds
        while True:
            self.pump()
            deadline = self.session.next_deadline()
            if deadline is None or deadline > until:
                break
            self.now = max(self.now, deadline)
        self.now = until
        self.pump()

    def say(self, *messages: AnyReply) -> None:
        """The broker says something."""
        for message in messages:
            self.session.receive(message, self.now)
            self.pump()

    def publish(self, opened: Opened, message: AnyFeed, *, run: bytes | None = None) -> bytes:
        """Something comes by the feed, sealed with the key and generation of `opened`."""
        envelope = self.seal(opened, message, run=run)
        self.session.receive_feed(opened.topic, envelope, self.now)
        self.pump()
        return envelope

    def seal(self, opened: Opened, message: AnyFeed, *, run: bytes | None = None) -> bytes:
        self.counter += 1
        header = Header(run or self.run, opened.generation, self.counter)
        return self.sealer.seal(opened.topic, opened.key, header, encode_plain(message))

    def redial(self) -> None:
        """The pause before the next dial passes."""
        self.pump()
        while self.session.link is Link.OFFLINE:
            self.now = self.session.next_deadline() or self.now
            self.pump()

    def dial(self) -> Dial:
        """The session makes a connection, and the handshake succeeds."""
        self.redial()
        dialled = self.did(Dial)
        assert len(dialled) == 1, dialled
        self.session.link_up(self.now)
        self.pump()
        return dialled[0]

    def welcome(self, hello: Hello, **changed: object) -> Welcome:
        """What the broker answers to a Hello."""
        self.welcomes += 1
        fields: dict[str, object] = {
            "token": self.welcomes.to_bytes(16, "big"),
            "instance": hello.instance or INSTANCE,
            "account": ME,
            "name": self.session.name,
            "feed_token": self.welcomes.to_bytes(16, "little"),
            "verify_key": self.sealer.verify_key,
            "run": self.run,
            "epoch": self.epoch,
            "limits": Limits(),
            "ping_s": 3.0,
            "lease_s": 15.0,
            "feed_host": "",
            "feed_port": 5556,
            "now": 1_000,
            **changed,
        }
        return Welcome(hello.request, **fields)  # type: ignore[arg-type]  # as the fields above are

    def join(self, **changed: object) -> Welcome:
        """Connect, say Hello and be welcome."""
        self.dial()
        welcome = self.welcome(self.sent_one(Hello), **changed)
        self.say(welcome)
        for rooms in self.sent(Rooms):
            self.say(RoomList(rooms.request, [], more=False))
        assert self.session.link in (Link.LIVE, Link.JOINING)
        return welcome

    def rejoin(self, **changed: object) -> Welcome:
        """The link is lost, and comes back."""
        self.session.link_down(self.now, "lost")
        return self.join(**changed)

    def join_again(self) -> Welcome:
        """Another Hello on the same connection, as after a change of the history."""
        welcome = self.welcome(self.sent_one(Hello))
        self.say(welcome)
        for rooms in self.sent(Rooms):
            self.say(RoomList(rooms.request, [], more=False))
        return welcome

    def opened(self, request: Open | int, **changed: object) -> Opened:
        """What the broker answers to an Open: a room without lines, bob in it."""
        fields: dict[str, object] = {
            "room": LOBBY,
            "title": LOBBY,
            "kind": RoomKind.PUBLIC,
            "head": 0,
            "first": 1,
            "since": 0,
            "topic": b"t" * 16,
            "generation": 1,
            "key": b"1" * 32,
            "presence": 1,
            "count": 1,
            "names": ["bob"],
            **changed,
        }
        number = request if isinstance(request, int) else request.request
        return Opened(number, **fields)  # type: ignore[arg-type]  # as the fields above are

    def open(self, asked: str = LOBBY, **changed: object) -> Opened:
        """Follow a room, which the broker opens."""
        self.session.open(asked, now=self.now)
        opened = self.opened(self.sent_one(Open), **changed)
        self.say(opened)
        return opened

    def pong(self, *heads: RoomHead) -> None:
        self.say(Pong(0, 1_000, list(heads)))

    def page(self, request: int, first: int, last: int, *, head: int = 0, oldest: int = 1) -> None:
        """A page with entries `first` to `last` of the lobby, of which `oldest` is the oldest kept."""
        self.say(Page(request, LOBBY, oldest, head or last, entries(first, last)))

    @property
    def cursor(self) -> Cursor | None:
        following = self.session.following(LOBBY)
        return following.cursor() if following else None
