"""Core: the rooms a session follows: opening them, what the feed and the log bring, who is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from chat_client import events as ev
from chat_client.actions import Action, JoinFeed, Subscribe, Unsubscribe
from chat_client.events import Event
from chat_client.following import Following, Moves, Stage, Start
from chat_protocol.codec import decode_body, decode_feed, read_line
from chat_protocol.envelope import Opener, read_header
from chat_protocol.errors import BadFrame, BadSeal, Code
from chat_protocol.messages import (
    Added,
    AnyReply,
    Beacon,
    Close,
    Closed,
    Created,
    Entry,
    EntryKind,
    Fetch,
    Key,
    Membership,
    Open,
    Opened,
    Page,
    Pong,
    Presence,
    Publication,
    Refusal,
    Request,
    Users,
    Welcome,
    Who,
)
from chat_protocol.names import clean_text

OPEN_AGAIN_S = 5.0  # an Open without an answer
FETCH_AGAIN_S = 4.0  # a Fetch without an answer, at the latest
KEY_WAIT_S = 0.2  # from an envelope of an unknown key to asking Open again
WHO_WAIT_S = 0.5  # changes of presence within this time make one Who
WHO_AGAIN_S = 10.0  # a Who without an answer
BEHIND_TOLD = 50  # entries behind from which a person is told
NAMES_LISTED_MAX = 2_000  # in rooms with more people only their number is kept
_FOR_NOW = frozenset({Code.BUSY, Code.TOO_MANY_IN_FLIGHT, Code.STORAGE_FULL, Code.STORAGE_FAILED})


class Host(Protocol):
    """What rooms need of their session."""

    outgoing: list[Request]
    actions: list[Action]
    events: deque[Event]
    bad_seals: int
    epoch: bytes
    account: int

    @property
    def token(self) -> bytes: ...

    @property
    def is_live(self) -> bool: ...

    def take_request(self) -> int: ...

    def forget_room(self, room: str) -> None: ...

    def jitter(self, seconds: float) -> float: ...


class FollowedRooms:
    """All rooms of one session. Every method may add to the host's outgoing, actions and events."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._all: list[Following] = []
        self._by_room: dict[str, Following] = {}
        self._by_topic: dict[bytes, Following] = {}
        self._requests: dict[int, Following] = {}
        self._welcome: Welcome | None = None
        self._make_opener: Callable[[bytes], Opener] | None = None
        self._opener: Opener | None = None
        self._paused = False

    def all(self) -> list[Following]:
        return list(self._all)

    def find(self, room: str) -> Following | None:
        """By id, title, or the name it was opened by."""
        if room in self._by_room:
            return self._by_room[room]
        name = room.lower()
        return next((one for one in self._all if name in (one.title.lower(), one.asked.lower())), None)

    def open(self, room: str, start: Start, now: float) -> None:
        if self.find(room) is None:
            following = Following(room, start)
            self._all.append(following)
            if self._host.is_live:
                self._join_feed()
                self._send_open(following, now)

    def close(self, room: str) -> None:
        following = self.find(room)
        if following is not None:
            if following.room:
                self._send_close(following.room)
            self._drop(following)

    def pause(self, paused: bool, now: float) -> None:
        self._paused = paused
        if not paused:
            for following in self._all:
                self._progress(following, now)

    # ------------------------------------------------------------------ sessions come and go

    def welcome(self, welcome: Welcome, make_opener: Callable[[bytes], Opener], now: float) -> None:
        """A session has begun: its feed is a new one, and every room is asked for anew."""
        self._welcome, self._make_opener, self._opener = welcome, make_opener, None
        self._by_topic.clear()
        self._requests.clear()
        for following in self._all:
            following.forget_session()
        if self._all:
            self._join_feed()
            for following in list(self._all):
                self._send_open(following, now)

    def offline(self) -> None:
        """The link is gone; nothing is on its way any more."""
        self._requests.clear()
        for following in self._all:
            following.forget_session()

    def _join_feed(self) -> None:
        if self._opener is None and self._welcome is not None and self._make_opener is not None:
            welcome = self._welcome
            self._opener = self._make_opener(welcome.verify_key)
            self._host.actions.append(JoinFeed(welcome.feed_host, welcome.feed_port, welcome.feed_token))

    # ------------------------------------------------------------------ requests and their answers

    def receive(self, message: AnyReply, now: float) -> bool:
        """Take a reply that is for a room; False if it is not."""
        following = self._requests.get(message.request)
        match message:
            case Opened():
                if following is not None:
                    self._opened(following, message, now)
                elif self.find(message.room) is None and self.find(message.title) is None:
                    self._send_close(message.room)  # it was closed here before it was open there
            case Page() if following:
                self._page(following, message, now)
            case Users() if following:
                self._users(following, message, now)
            case Key(room=room) if room in self._by_room:
                self._key(self._by_room[room], message, now)
            case Closed(room=room, code=code, text=text):
                if room in self._by_room:
                    self._closed(self._by_room[room], code, clean_text(text))
            case Added(room=room, title=title, kind=kind, by=by):
                self._host.events.append(ev.RoomAdded(room, clean_text(title), kind, clean_text(by)))
            case _:
                return False
        self._requests.pop(message.request, None)
        return True

    def refused(self, message: Refusal, now: float) -> bool:
        """Take a refusal that is for a room; False if it is not."""
        following = self._requests.pop(message.request, None)
        if following is None:
            return False
        if message.request == following.who_request:
            following.who_at = now + self._host.jitter(OPEN_AGAIN_S)
        elif message.code in _FOR_NOW:
            self._retry(following, message, now)
        elif message.code == Code.EPOCH_CHANGED:
            following.begin_afresh()
            self._host.events.append(ev.EpochChanged(following.room, following.title))
            self._send_open(following, now)
        else:
            self._closed(following, message.code, clean_text(message.text))
        return True

    def pong(self, message: Pong, now: float) -> None:
        """The broker's word on every room: nothing stays missing for longer than from ping to ping."""
        told = {head.room: head for head in message.rooms}
        for following in list(self._all):
            if following.stage is not Stage.OPEN or following.sequencer is None:
                continue
            head = told.get(following.room)
            if head is None or head.generation > following.generation:
                self._send_open(following, now)
                continue
            following.sequencer.saw_head(head.head)
            self._saw_presence(following, head.presence, now)
            self._progress(following, now)
        if all(following.room for following in self._all):
            for room in told:
                if room not in self._by_room:
                    self._send_close(room)  # a Close was lost

    def _send_open(self, following: Following, now: float) -> None:
        following.stage = Stage.OPENING
        following.reopen_at = now + OPEN_AGAIN_S
        following.open_request = self._request(following)
        room = following.room or following.asked
        self._host.outgoing.append(Open(following.open_request, self._host.token, room, following.cursor()))

    def _send_close(self, room: str) -> None:
        if self._host.is_live:
            self._host.outgoing.append(Close(self._host.take_request(), self._host.token, room))

    def _opened(self, following: Following, message: Opened, now: float) -> None:
        twin, asked = self._by_room.get(message.room), following.asked
        if twin is not None and twin is not following:
            self._drop(following)  # opened by another name before
            following = twin
        first = following.sequencer is None
        resumed = not first and not following.topic
        if following.topic != message.topic:
            self._host.actions.append(Subscribe(message.topic))
        following.opened(message, self._host.epoch)
        self._by_room[message.room] = self._by_topic[message.topic] = following
        names = {clean_text(name) for name in message.names}
        moves = following.see_names(
            names, message.count, whole=len(names) == message.count, first=first, resumed=resumed, now=now
        )
        following.presence = message.presence
        self._host.events.append(
            ev.RoomOpened(
                message.room,
                following.title,
                message.kind,
                message.head,
                message.count,
                tuple(sorted(names)),
                asked,
                not first,
            )
        )
        self._tell_presence(following, moves)
        for envelope in following.take_held():
            self.receive_feed(message.topic, envelope, now)
        self._progress(following, now)

    def _key(self, following: Following, message: Key, now: float) -> None:
        following.add_key(message.generation, message.key)
        if following.sequencer is not None:
            following.sequencer.saw_head(message.head)
        for envelope in following.take_held():
            self.receive_feed(following.topic, envelope, now)
        self._progress(following, now)

    def _page(self, following: Following, message: Page, now: float) -> None:
        if following.sequencer is None:
            return
        if message.request == following.fetch_request:  # else it is late, and no less true
            following.fetch_request = 0
            following.fetch_at = None
        lost, entries = following.sequencer.page(message.first, message.head, message.entries)
        if lost:
            self._host.events.append(ev.Lost(following.room, following.title, *lost))
        if not lost and not entries and following.sequencer.behind:
            following.fetch_at = now + self._host.jitter(WHO_WAIT_S)
        self._show(following, entries)
        behind = following.sequencer.behind
        if behind >= BEHIND_TOLD:
            following.level = False
            self._host.events.append(ev.CatchingUp(following.room, following.title, behind))
        self._progress(following, now)

    def _users(self, following: Following, message: Users, now: float) -> None:
        if message.request != following.who_request:
            return
        following.who_request = 0
        following.who_at = None
        following.who_names += [clean_text(name) for name in message.names]
        whole = message.count <= NAMES_LISTED_MAX
        if message.more and whole and message.names:
            self._send_who(following, message.names[-1], now)
            return
        names, following.who_names = set(following.who_names), []
        following.presence = message.presence
        self._tell_presence(following, following.set_names(names, message.count, whole=whole))

    def _closed(self, following: Following, code: str, text: str) -> None:
        if self._by_room.get(following.asked, following) is not following:
            self._drop(following)  # a direct room asked for by its id while it is followed by its title
            return
        self._host.forget_room(following.room)
        self._host.events.append(
            ev.RoomClosed(following.room or following.asked, following.title, code, text)
        )
        self._drop(following)

    def _drop(self, following: Following) -> None:
        self._all.remove(following)
        self._by_room.pop(following.room, None)
        if self._by_topic.pop(following.topic, None):
            self._host.actions.append(Unsubscribe(following.topic))
        self._requests = {r: one for r, one in self._requests.items() if one is not following}

    def _retry(self, following: Following, message: Refusal, now: float) -> None:
        at = now + max(message.retry_ms / 1_000, self._host.jitter(1.0))
        if message.request == following.fetch_request:
            following.fetch_request = 0
            following.fetch_at = at
        elif message.request == following.open_request:
            following.reopen_at = at

    def _request(self, following: Following) -> int:
        request = self._host.take_request()
        self._requests[request] = following
        return request

    # ------------------------------------------------------------------ the feed

    def receive_feed(self, topic: bytes, envelope: bytes, now: float) -> None:
        """What does not verify is counted and dropped: to the sequencer it is a gap, and gaps are fetched."""
        following = self._by_topic.get(topic)
        if following is None or self._opener is None or self._welcome is None or self._paused:
            return
        try:
            header = read_header(envelope)
            if header.run != self._welcome.run:
                return
            key = following.keys.get(header.generation)
            if key is None:
                if header.generation > following.generation:
                    self._opener.verify(topic, envelope)
                    self._await_key(following, envelope, now)
                return
            message = decode_feed(self._opener.open(topic, key, envelope))
        except (BadSeal, BadFrame):
            self._host.bad_seals += 1
            return
        match message:
            case Publication(entries=entries):
                self._offer(following, entries, now)
            case Beacon(head=head, presence=presence) if following.sequencer is not None:
                following.sequencer.saw_head(head)
                self._saw_presence(following, presence, now)
                self._progress(following, now)
            case Presence():
                self._presence(following, message, now)

    def _await_key(self, following: Following, envelope: bytes, now: float) -> None:
        following.hold(envelope)
        if following.stage is Stage.OPEN and following.reopen_at is None:
            following.reopen_at = now + KEY_WAIT_S

    def _offer(self, following: Following, entries: list[Entry], now: float) -> None:
        if following.sequencer is not None:
            self._show(following, following.sequencer.offer(entries))
            self._progress(following, now)

    def _presence(self, following: Following, message: Presence, now: float) -> None:
        if message.version <= following.presence:
            return
        if message.count > NAMES_LISTED_MAX:
            following.presence = message.version
            following.count_only(message.count)
            self._tell_presence(following, Moves(), many=True)
        elif message.version > following.presence + 1 or not message.whole or not following.whole:
            following.count = message.count
            self._saw_presence(following, message.version, now)
        else:
            following.presence = message.version
            joined, left = ({clean_text(name) for name in names} for names in (message.joined, message.left))
            self._tell_presence(following, following.come_and_go(joined, left, message.count))

    def _saw_presence(self, following: Following, version: int, now: float) -> None:
        if version > following.presence and following.who_at is None and not following.who_request:
            following.who_at = now + self._host.jitter(WHO_WAIT_S)

    # ------------------------------------------------------------------ progress and time

    def _progress(self, following: Following, now: float) -> None:
        """Fetch what is missing; say when nothing is."""
        sequencer = following.sequencer
        if sequencer is None or following.stage is not Stage.OPEN or self._paused:
            return
        if sequencer.behind:
            if not following.fetch_request and (following.fetch_at is None or now >= following.fetch_at):
                cursor = following.cursor()
                assert cursor is not None, "an open room has a cursor"
                following.fetch_request = self._request(following)
                following.fetch_at = now + self._host.jitter(FETCH_AGAIN_S)
                self._host.outgoing.append(
                    Fetch(following.fetch_request, self._host.token, following.room, cursor)
                )
        elif not following.level:
            following.level = True
            self._host.events.append(ev.CatchingUp(following.room, following.title, 0))

    def tick(self, now: float) -> None:
        for following in list(self._all):
            if following.reopen_at is not None and now >= following.reopen_at:
                self._send_open(following, now)
            if following.fetch_at is not None and now >= following.fetch_at:
                following.fetch_request = 0
                following.fetch_at = None
                self._progress(following, now)
            if following.who_at is not None and now >= following.who_at:
                following.who_names = []
                self._send_who(following, "", now)
            if following.expected_until is not None and now >= following.expected_until:
                self._tell_presence(following, following.give_up_expecting())

    def next_deadline(self) -> float | None:
        candidates = (
            at
            for one in self._all
            for at in (one.reopen_at, one.fetch_at, one.who_at, one.expected_until)
            if at is not None
        )
        return min(candidates, default=None)

    def _send_who(self, following: Following, after: str, now: float) -> None:
        following.who_at = now + WHO_AGAIN_S
        following.who_request = self._request(following)
        self._host.outgoing.append(Who(following.who_request, self._host.token, following.room, after))

    # ------------------------------------------------------------------ telling

    def _show(self, following: Following, entries: list[Entry]) -> None:
        for entry in entries:
            event = entry_event(
                entry, following.room, following.title, self._host, replayed=entry.seq <= following.first_head
            )
            self._host.events.append(event)
        following.shown(entries)

    def _tell_presence(self, following: Following, moves: Moves, *, many: bool = False) -> None:
        if any(moves) or many:
            self._host.events.append(
                ev.PresenceChanged(
                    following.room,
                    following.title,
                    following.count,
                    tuple(sorted(moves.joined)),
                    tuple(sorted(moves.left)),
                    following.whole,
                    tuple(sorted(moves.back)),
                )
            )


def entry_event(
    entry: Entry, room: str, title: str, host: Host, *, replayed: bool = False
) -> ev.Line | ev.Notice:
    """An entry as front ends get it."""
    sender = clean_text(entry.sender)
    line = read_line(entry)
    if line is not None:
        return ev.Line(
            room,
            title,
            host.epoch,
            entry.seq,
            entry.at,
            sender,
            entry.account,
            clean_text(line.text),
            own=entry.account == host.account,
            hops=line.hops,
            replayed=replayed,
        )
    kind, told = _notice(entry, sender, title)
    return ev.Notice(room, title, host.epoch, entry.seq, entry.at, sender, entry.account, kind, told)


def _notice(entry: Entry, sender: str, title: str) -> tuple[str, str]:
    if entry.kind == EntryKind.CREATED and decode_body(entry, Created) is not None:
        return "created", f"{sender} opened {title}"
    if entry.kind in (EntryKind.ADDED, EntryKind.REMOVED):
        member = decode_body(entry, Membership)
        if member is not None:
            name = clean_text(member.name)
            if entry.kind == EntryKind.ADDED:
                return "added", f"{sender} let {name} in"
            left = member.account == entry.account
            return "removed", f"{name} left" if left else f"{sender} removed {name}"
    return "unknown", ""
