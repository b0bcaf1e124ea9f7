"""A person at a client: the real session in the connection's round, and what people do with it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from chat_broker.log import MarkKey
from chat_client import events as ev
from chat_client.actions import Dial, Hangup, JoinFeed, Subscribe, Unsubscribe
from chat_client.events import Link as LinkState
from chat_client.following import NOW, RECENT, Following, Start
from chat_client.session import Answered, Session
from chat_protocol.codec import decode_reply, decode_requests, encode_requests
from chat_protocol.errors import Code, Refused
from chat_protocol.messages import (
    LOBBY,
    Add,
    Ban,
    Create,
    Cursor,
    Done,
    Leave,
    Remove,
    Request,
    RoomKind,
    RoomList,
    Rooms,
    SessionRequest,
    Unban,
    Who,
)
from tests.simulation.clock import Clock
from tests.simulation.history import History, Said
from tests.simulation.machine import INVITE_KEY, OPERATOR_KEY, BrokerMachine
from tests.simulation.network import FeedLink, Link, Weather
from tests.simulation.seals import SymbolicOpener

_SHUT_OUT = {Code.BANNED, Code.REVOKED, Code.NOT_ENROLLED, Code.INVITE_INVALID}
TOWN = "#town"
DEN = "#den"


class Person:
    """One account and its client processes, one after the other. `key`, `is_enrolled` and `cursors` are
    on its disk and survive a crash; a session does not."""

    def __init__(
        self, name: str, clock: Clock, rng: Random, weather: Weather, broker: BrokerMachine, history: History
    ) -> None:
        self.name = name
        self.key = name.encode().ljust(32, b"-")
        self.is_enrolled = False
        self.cursors: dict[str, Cursor] = {}
        self.session: Session | None = None
        self.process = ""
        self.was_banned = False
        self.cut_when_joining: float | None = None  # how late what is on its way then arrives
        self.jobs: list[tuple[str, bytes, str]] = []  # (room, once key, text) that were said before
        self._clock = clock
        self._rng = rng
        self._weather = weather
        self._broker = broker
        self._history = history
        self._processes = 0
        self._number = 0
        self._link: Link | None = None
        self._feed: FeedLink | None = None
        self._starts: dict[str, Start] = {}
        self._paused = False
        self._frozen_until = 0.0
        self._arrived: list[tuple[Link | FeedLink, bytes, bytes]] = []  # while frozen
        self._planned: float | None = None
        self._rooms_request = 0
        self._read: dict[str, tuple[int, bytes]] = {}  # by this process: room -> the newest seq, its epoch
        self._asks: dict[int, str] = {}
        self._turned_away: set[str] = set()  # rooms that this process closed

    # ------------------------------------------------------------------ a process begins and ends

    def start(self) -> None:
        """Start a client, as `chat-client --name NAME` does."""
        if self.session is not None:
            return
        self._processes += 1
        self.process = f"{self.name}.{self._processes}"
        self._history.note(self.process, "starts")
        self._paused, self._frozen_until, self._planned = False, 0.0, None
        self._rooms_request, self._asks, self._starts, self._turned_away = 0, {}, {}, set()
        self._read = {}
        self.session = Session(
            self.name,
            self.key,
            enrolled=self.is_enrolled,
            has_invite=True,
            make_opener=SymbolicOpener,
            rng=Random(self._rng.random()),
        )
        self._first_rooms()
        self._pump()

    def _first_rooms(self) -> None:
        self._open(LOBBY, self.cursors.get(LOBBY, RECENT))

    def crash(self) -> None:
        """The process is killed."""
        if self.session is None:
            return
        self._history.note(self.process, "is killed")
        self._end()

    def leave(self) -> None:
        """The person ends the client."""
        if self.session is None or self._is_frozen:
            return
        self._history.note(self.process, "leaves")
        self.save_cursors()
        self.session.close()
        self._pump()

    def _end(self) -> None:
        self.session = None
        self._arrived.clear()
        self._hang_up(linger=False)

    def freeze(self, seconds: float) -> None:
        """Stopped as by SIGSTOP."""
        if self.session is not None and not self._is_frozen:
            self._history.note(self.process, "freezes", f"{seconds:.1f} s")
            self._frozen_until = self._clock.now + seconds
            self._clock.at(self._frozen_until, self._thaw)

    def _thaw(self) -> None:
        if self.session is None or self._is_frozen:
            return
        arrived, self._arrived = self._arrived, []
        for source, topic, frame in arrived:
            if isinstance(source, FeedLink):
                self.take_feed(source, topic, frame)
            else:
                self.take_in(source, frame)
        self._pump()

    @property
    def _is_frozen(self) -> bool:
        return self._clock.now < self._frozen_until

    def cut(self, late_s: float, noticed_s: float | None) -> None:
        """The connection breaks; the client notices after a while, or (None) by silence only."""
        link = self._link
        if link is not None and not link.is_cut:
            self._history.note(self.process, "is cut off", f"noticed: {noticed_s}")
            link.cut(late_s)
            if noticed_s is not None:
                self._clock.after(noticed_s, lambda: self.link_lost(link))

    def drop_feed(self) -> None:
        if self._feed is not None:
            self._feed.drop()

    # ------------------------------------------------------------------ the connection

    def handshaken(self, link: Link, *, admitted: bool) -> None:
        if link is not self._link or self.session is None or link.is_cut:
            return
        if admitted:
            self.session.link_up(self._clock.now)
        else:
            self.session.not_admitted(self._clock.now)
        self._pump()
        if self.cut_when_joining is not None:
            self.cut(self.cut_when_joining, 0.0)
            self.cut_when_joining = None

    def link_lost(self, link: Link) -> None:
        if link is self._link and self.session is not None:
            self.session.link_down(self._clock.now, "the connection was lost")
            self._pump()

    def feed_refused(self, feed: FeedLink) -> None:
        if feed is self._feed and self.session is not None:
            self._history.note(self.process, "feed refused")
            self.session.feed_not_admitted(self._clock.now)
            self._pump()

    def take_in(self, link: Link, frame: bytes) -> None:
        if link is not self._link or self.session is None:
            return
        if self._is_frozen:
            self._arrived.append((link, b"", frame))
            return
        message = decode_reply(frame)
        self._history.note(self.process, "<-", message)
        self.session.receive(message, self._clock.now)
        self._pump()

    def take_feed(self, feed: FeedLink, topic: bytes, envelope: bytes) -> None:
        if feed is not self._feed or self.session is None:
            return
        if self._is_frozen:
            self._arrived.append((feed, topic, envelope))
            return
        self.session.receive_feed(topic, envelope, self._clock.now)
        self._pump()

    def _pump(self) -> None:
        session = self.session
        if session is None or self._is_frozen:
            return
        while True:
            now = self._clock.now
            session.tick(now)
            session.flush(now)
            if not (session.outgoing or session.actions or session.events or session.answers):
                break
            outgoing, session.outgoing = session.outgoing, []
            self._send(outgoing)
            actions, session.actions = session.actions, []
            for action in actions:
                match action:
                    case Dial(with_invite):
                        self._dial(with_invite)
                    case Hangup():
                        self._hang_up(linger=session.link is LinkState.CLOSED)
                    case JoinFeed(token=token):
                        self._join_feed(token)
                    case Subscribe(topic) if self._feed is not None:
                        self._feed.subscribe(topic)
                    case Unsubscribe(topic) if self._feed is not None:
                        self._feed.unsubscribe(topic)
            while session.events:
                self._on_event(session.events.popleft())
            answers, session.answers = session.answers, []
            for answer in answers:
                self._on_answer(answer)
        if session.link is LinkState.CLOSED:
            self._end()
            return
        self._plan(session.next_deadline())

    def _plan(self, deadline: float | None) -> None:
        if deadline is not None and (self._planned is None or deadline < self._planned):
            self._planned = deadline
            self._clock.at(deadline, lambda: self._timer(deadline))

    def _timer(self, planned: float) -> None:
        if self._planned == planned:
            self._planned = None
            if self._is_frozen:
                return
            self._pump()

    def _send(self, requests: list[Request]) -> None:
        for frame in encode_requests(requests):
            if self._link is None:
                return
            if self._rng.random() < self._weather.swallowed:
                self._history.note(self.process, "swallowed", decode_requests(frame))
                return  # the link is stuck: the rest of these goes with it
            self._history.note(self.process, "->", decode_requests(frame))
            self._link.up.send(frame)

    def _dial(self, with_invite: bool) -> None:
        self._hang_up(linger=False)
        key = INVITE_KEY if with_invite else self.key
        link = self._link = Link(
            self._rng.randbytes(5), key, self, self._broker, self._clock, self._rng, self._weather
        )
        delay = self._weather.delay(self._rng)

        def connect() -> None:
            if not self._broker.connect(link):
                link.cut(0.0)
                self.link_lost(link)

        self._clock.after(delay, connect)

    def _hang_up(self, *, linger: bool) -> None:
        if self._link is not None:
            late_s = self._rng.uniform(0.0, 8.0) if self._rng.random() < 0.3 else 0.0
            self._link.hang_up(late_s, linger=linger)
            self._link = None
        self._leave_feed()

    def _join_feed(self, token: bytes) -> None:
        self._leave_feed()
        self._feed = FeedLink(token, self, self._broker, self._clock, self._rng, self._weather)
        self._broker.feeds.append(self._feed)

    def _leave_feed(self) -> None:
        if self._feed is not None:
            self._feed.close()
            if self._feed in self._broker.feeds:
                self._broker.feeds.remove(self._feed)
            self._feed = None

    # ------------------------------------------------------------------ what the session tells

    def _on_event(self, event: ev.Event) -> None:
        self._history.note(self.process, "sees", event)
        assert self.session is not None
        match event:
            case ev.Stored(position=position) if self.session.following(position.room) is None:
                self._turned_away.add(position.room)
            case ev.Enrolled():
                self.is_enrolled = True
            case ev.LinkChanged(link=LinkState.CLOSED, code=code, reason=reason):
                allowed = code == "closed" or (self.was_banned and code in _SHUT_OUT)
                self._history.require(allowed, f"{self.process} is shut out: {code}, {reason}")
            case ev.LinkChanged(link=LinkState.LIVE) if not self._rooms_request:
                self._rooms_request = self.session.ask(Rooms, self._clock.now)
            case ev.RoomOpened(room=room, resumed=False):
                start = self._starts.get(event.asked, RECENT)
                after = event.head if start == NOW else None if isinstance(start, str) else start
                self._history.opens(self.process, room, after, event.head, self.session.epoch)
            case ev.RoomClosed(room=room):
                self._history.closes(self.process, room)
            case ev.EpochChanged():
                following = self.session.following(event.room or event.title)
                if following is not None:
                    self._starts[following.asked] = RECENT
            case ev.RoomAdded(room=room):
                self._open(room, self.cursors.get(room, RECENT))
            case ev.Line(room=room, seq=seq) if not self._paused and self._rng.random() < 0.7:
                self.session.mark_read(room, seq)
                self._read[room] = seq, event.epoch
        self._history.hears(self.process, event)

    def _on_answer(self, answer: Answered) -> None:
        assert self.session is not None
        what = self._asks.pop(answer.request, "")
        if what.startswith("create") and isinstance(answer.reply, Done):
            self._open(what.split()[1], RECENT)
        if answer.request == self._rooms_request and isinstance(answer.reply, RoomList):
            for info in answer.reply.rooms:
                if info.member:
                    self._open(info.room, self.cursors.get(info.room, RECENT))

    def _open(self, room: str, start: Start) -> None:
        assert self.session is not None
        if self.session.following(room) is None:
            self._starts[room] = start
            self._turned_away.discard(room)
            self.session.open(room, start, now=self._clock.now)

    # ------------------------------------------------------------------ what people do

    def act(self, names: list[str]) -> None:
        """Do something or other."""
        if self.session is None or self._is_frozen:
            return
        rng = self._rng
        roll = rng.random()
        if roll < 0.55:
            self._talk()
        elif roll < 0.65:
            self._say_once()
        elif roll < 0.75:
            self._come_or_go()
        elif roll < 0.85:
            self._change_members(names)
        elif roll < 0.90:
            self._ask("users", lambda request, token: Who(request, token))
        elif roll < 0.95:
            self._paused = not self._paused
            self.session.pause(self._paused, self._clock.now)
        else:
            self.save_cursors()
        self._pump()

    def calm_down(self) -> None:
        """Nothing more is done to this client."""
        self._frozen_until = min(self._frozen_until, self._clock.now)
        self._thaw()
        if self.session is None:
            self.start()
        elif self._paused:
            self._paused = False
            self.session.pause(False, self._clock.now)
            self._pump()

    def save_cursors(self) -> None:
        for following in self.session.followed() if self.session else ():
            cursor = following.cursor()
            if following.room and cursor is not None:
                self.cursors[following.room] = cursor

    def say(self, text: str, room: str, once: bytes | None = None) -> None:
        assert self.session is not None
        self._number += 1
        ref = self.session.say(text, room, once)
        self._history.says(Said(self.process, ref, self._number, text, once is not None))

    def _talk(self) -> None:
        rng = self._rng
        room = self._some_room()
        for _ in range(rng.choice((1, 1, 1, 2, 4, 12))):
            self.say(
                f"{self.process} {self._number + 1}{' x' * rng.choice((0, 0, 0, 0, 0, 20, 20, 3_000))}", room
            )

    def _say_once(self) -> None:
        rng = self._rng
        if not self.jobs or rng.random() < 0.5:
            key = rng.randbytes(16)
            self.jobs.append((self._some_room(), key, f"{self.name} once {key.hex()}"))
        for room, key, text in rng.sample(self.jobs, min(len(self.jobs), 3)):
            self.say(text, room, key)

    def _some_room(self) -> str:
        """A room to speak in: mostly one that is followed, by any of its names."""
        assert self.session is not None
        followed: list[Following] = self.session.followed()
        if not followed or self._rng.random() < 0.1:
            return self._rng.choice((LOBBY, TOWN, DEN))
        one = self._rng.choice(followed)
        return self._rng.choice((one.title, one.room or one.asked))

    def _come_or_go(self) -> None:
        assert self.session is not None
        room = self._rng.choice((LOBBY, TOWN, DEN))
        following = self.session.following(room)
        if following is None:
            start = self._rng.choice((RECENT, NOW, 0, 3))
            self._open(room, start)
        elif room != LOBBY:
            if following.room:
                self._history.closes(self.process, following.room)
            self._turned_away.add(following.room or following.asked)
            self.session.close_room(room)

    def _change_members(self, names: list[str]) -> None:
        rng = self._rng
        name = rng.choice(names)
        roll = rng.random()
        if roll < 0.2:
            kind = rng.choice((RoomKind.PUBLIC, RoomKind.PRIVATE))
            room = TOWN if kind is RoomKind.PUBLIC else DEN
            self._ask(f"create {room}", lambda request, token: Create(request, token, room, kind))
        elif roll < 0.3:
            self._open(f"@{name}", RECENT)
        elif roll < 0.65:
            self._ask("add", lambda request, token: Add(request, token, DEN, name))
        elif roll < 0.95:
            self._ask("remove", lambda request, token: Remove(request, token, DEN, name))
        else:
            self._ask("leave", lambda request, token: Leave(request, token, DEN))

    def _ask(self, what: str, make: Callable[[int, bytes], SessionRequest]) -> None:
        assert self.session is not None
        self._asks[self.session.ask(make, self._clock.now)] = what

    # ------------------------------------------------------------------ when all is over

    def unsettled(self) -> str:
        """What is not yet as it should be; "" if all is."""
        session, hub = self.session, self._broker.hub
        if session is None or hub is None:
            return f"{self.name} is not there"
        if session.link is not LinkState.LIVE:
            return f"{self.process} is {session.link}: {session.reason}"
        if session.unanswered():
            return f"{self.process} waits for what became of {session.unanswered()} lines"
        if self._asks:
            return f"{self.process} waits for answers: {', '.join(self._asks.values())}"
        if session.bad_seals and not self._broker.has_forged:
            return f"{self.process} has met {session.bad_seals} bad seals, and nobody forges any"
        account = hub.state.accounts.by_key[self.key].id
        mine = {LOBBY} | {room.name for room in self._history.rooms.values() if room.is_member(account)}
        for name in sorted(mine - self._turned_away):
            if session.following(name) is None:
                return f"{self.process} does not follow {name}"
        return next((told for told in map(self._room_unsettled, session.followed()) if told), "")

    def _room_unsettled(self, following: Following) -> str:
        hub = self._broker.hub
        assert hub is not None
        name = following.room or following.asked
        truth, feed = self._history.rooms.get(following.room), hub.state.feed.room(following.room)
        if following.sequencer is None or truth is None:
            return f"{self.process} has not opened {name}"
        cursor, head = following.sequencer.cursor, len(truth.entries)
        if cursor != head or not following.level:
            return f"{self.process} has seen {name} up to {cursor} of {head}"
        if following.generation != feed.generation:
            return f"{self.process} has key {following.generation} of {name}, not {feed.generation}"
        present = hub.state.roster.present(following.room).names()
        if sorted(following.names) != present or following.count != len(present):
            return f"{self.process} sees {sorted(following.names)} in {name} and there are {present}"
        return self._marker_unsettled(following.room)

    def _marker_unsettled(self, room: str) -> str:
        """The newest line that was read here is marked, where it is of this history."""
        read, epoch = self._read.get(room, (0, b""))
        account = self.session.account if self.session else 0
        marked = self._history.marks.get(MarkKey(account, room), 0)
        if epoch == self._history.epoch and read > marked:
            return f"{self.process} has read {room} up to {read}, and is marked at {marked}"
        return ""


class Operator(Person):
    """Bans people and lets them in again; follows no room."""

    def __init__(
        self, clock: Clock, rng: Random, weather: Weather, broker: BrokerMachine, history: History
    ) -> None:
        super().__init__("operator", clock, rng, weather, broker, history)
        self.key = OPERATOR_KEY
        self.is_enrolled = True
        self._orders: list[str] = []

    def ban(self, name: str) -> None:
        self._orders.append(f"ban {name}")
        self._give_order()

    def unban(self, name: str) -> None:
        self._orders.append(f"unban {name}")
        self._give_order()

    def _give_order(self) -> None:
        """One order at a time: what is asked again after a lost answer may come behind the next."""
        if self.session is None or self._is_frozen or self._asks or not self._orders:
            return
        what, name = self._orders[0].split()
        kind = Ban if what == "ban" else Unban
        self._ask(self._orders[0], lambda request, token: kind(request, token, name))
        self._pump()

    def calm_down(self) -> None:
        super().calm_down()
        self._give_order()

    def unsettled(self) -> str:
        if self.session is None or self.session.link is not LinkState.LIVE or self._orders:
            return f"the operator waits: {', '.join(self._orders)}"
        return ""

    def _first_rooms(self) -> None:
        pass

    def _on_answer(self, answer: Answered) -> None:
        if self._asks.pop(answer.request, None) is None:
            return
        if isinstance(answer.reply, Done):
            del self._orders[0]
        self._clock.after(1.0 if isinstance(answer.reply, Refused) else 0.0, self._give_order)
