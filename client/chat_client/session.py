"""Core: the session. What the broker says, what a person wants and the time go in; requests, actions
for the connection and events come out. No socket, no clock, no cipher: the shell brings them.

    OFFLINE  --dial at dial_at-->            JOINING   a new connection for every attempt
    JOINING  --Welcome-->                    LIVE
    JOINING  --link down, refused for now--> OFFLINE   the next attempt is later, with jitter
    LIVE     --link down, silence-->         OFFLINE
    LIVE     --unknown_session, expired-->   JOINING   Hello again on the same connection
    any      --a final no, close()-->        CLOSED

One connection is one DEALER that never reconnects by itself: so an answer always belongs to the
session whose token the request carried.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from chat_client import events as ev
from chat_client.actions import Action, Dial, Hangup
from chat_client.events import Event, Link, Position
from chat_client.following import RECENT, Following, Start
from chat_client.markers import Markers
from chat_client.outbox import Outbox, Saying, Unsaid
from chat_client.rooms import FollowedRooms
from chat_protocol.envelope import Opener
from chat_protocol.errors import Code, Refused
from chat_protocol.messages import (
    Added,
    AnyReply,
    Bye,
    Enroll,
    Enrolled,
    Goodbye,
    Hello,
    Limits,
    Marked,
    Opened,
    Ping,
    Pong,
    Refusal,
    Reply,
    Request,
    RoomInfo,
    RoomList,
    Rooms,
    Said,
    SessionRequest,
    Welcome,
)
from chat_protocol.names import clean_text, direct_accounts

LEFT = "closed"  # why a session was closed, where no broker said so
WRONG_KEY = "wrong_key"
WRONG_KEY_TEXT = (
    "what answers there does not hold the broker's key: another broker runs there now, or "
    "somebody stands between; ask the operator for the current address"
)
JOIN_S = 5.0  # from dialling to Welcome
JOIN_AGAIN_S = 25.0  # the same where there was a session: a broker that all come back to takes its time
DIAL_MIN_S = 0.1
DIAL_MAX_S = 10.0
FIRST_PING_S = 1.0  # after Welcome: the sooner it is answered, the sooner the next dial need not wait
SILENT_PINGS = 3  # pings without an answer after which the link is dead
REJOIN_MIN_S = 1.0  # a session that ends sooner is not begun again on the same connection
ASK_AGAIN_S = 5.0
RENEW_S = 5.0  # how long a forgotten instance waits for answers before it takes another
WRONG_KEY_TRIES = 3  # handshakes that fail without a reason, in a row

#: Goodbyes and refusals of Hello or Enroll after which trying again is no use.
_FINAL = frozenset(
    {
        Code.REPLACED, Code.BANNED, Code.REVOKED, Code.NAME_TAKEN, Code.BAD_NAME, Code.WRONG_NAME,
        Code.VERSION, Code.INVITE_INVALID, Code.TOO_MANY_KEYS, Code.NOT_ALLOWED,
    }
)  # fmt: skip


class Answered(Struct, frozen=True):
    """The answer to `ask`: a reply, or the broker's no."""

    request: int
    reply: Reply | Refused


class _Asked(Struct):
    make: Callable[[int, bytes], SessionRequest]
    sent_at: float


class Session:
    """One client process's side of the protocol.

    `key` is this client's public key, `enrolled` whether the broker is known to know it, `has_invite`
    whether an invite is at hand. The shell calls one of the input methods, then takes everything from
    `outgoing`, `actions`, `answers` and `events`, then sleeps until `next_deadline`.
    """

    def __init__(
        self,
        name: str,
        key: bytes,
        *,
        enrolled: bool,
        has_invite: bool,
        make_opener: Callable[[bytes], Opener],
        rng: random.Random,
        software: str = "simple-chat",
    ) -> None:
        self.name = name
        self.link = Link.OFFLINE
        self.closed: tuple[str, str] | None = None  # code and sentence, once CLOSED
        self.reason = ""  # why the link is down
        self.limits = Limits()
        self.epoch = b""
        self.account = 0
        self.welcomed: tuple[Welcome, float] | None = None  # the newest, and when it came
        self.bad_seals = 0
        self.outgoing: list[Request] = []
        self.actions: list[Action] = []
        self.answers: list[Answered] = []
        self.events: deque[Event] = deque()
        self._key = key
        self._enrolled = enrolled
        self._has_invite = has_invite
        self._invite_tried = False
        self._own_key_tried = False
        self._with_invite = False
        self._make_opener = make_opener
        self._rng = rng
        self._software = software
        self._next_request = 1
        self._next_ref = 1
        self._token = b""
        self._instance: bytes | None = None
        self._dial_at: float | None = 0.0
        self._dial_pause_s = DIAL_MIN_S
        self._join_until: float | None = None
        self._hello = 0
        self._wrong_keys = 0
        self._was_live = False
        self._welcome_at = float("-inf")
        self._ping_s = 3.0
        self._ping_at: float | None = None
        self._pings: deque[float] = deque()
        self._asked: dict[int, _Asked] = {}
        self._titles: dict[str, str] = {}  # direct rooms: id -> @name, which are one room to the broker
        self._outboxes: dict[str, Outbox] = {}
        self._outbox_of: dict[int, Outbox] = {}
        self._renew_at: float | None = None  # the instance is forgotten: at the latest then, take another
        self._rooms = FollowedRooms(self)
        self._markers = Markers(self)
        self._listing = 0  # the request that asks for this account's rooms
        self._listed: list[RoomInfo] = []
        self._known: set[str] | None = None  # rooms of this account that the user heard of; None: of none yet

    # ------------------------------------------------------------------ what the user wants

    def open(self, room: str, start: Start = RECENT, *, now: float) -> None:
        """Follow a room from `start` on; RoomOpened or RoomClosed follows."""
        if self.closed is None:
            self._rooms.open(room, start, now)
        else:
            self.events.append(ev.RoomClosed(room, room, *self.closed))

    def close_room(self, room: str) -> None:
        """Follow a room no longer."""
        following = self._rooms.find(room)
        if following is not None and following.room:
            self._markers.hurry(following.room)
        self._rooms.close(room)

    def following(self, room: str) -> Following | None:
        """The room of that id, title or name it was opened by, if it is followed."""
        return self._rooms.find(room)

    def followed(self) -> list[Following]:
        return self._rooms.all()

    def mark_read(self, room: str, seq: int) -> None:
        """This account has read a room that is followed up to `seq`."""
        following = self._rooms.find(room)
        if following is not None and following.room and self.closed is None:
            self._markers.read(following.room, seq)

    def say(self, text: str, room: str, once: bytes | None = None, hops: int = 0) -> int:
        """Say a line; Stored or Failed with the returned ref follows, whatever happens on the way."""
        ref = self._next_ref
        self._next_ref += 1
        if self.closed is None:
            self._outbox(room).add(Unsaid(ref, text, once, hops))
        else:
            self.events.append(ev.Failed(ref, room, text, *self.closed))
        return ref

    def unanswered(self) -> int:
        """Lines neither stored nor failed yet."""
        return sum(len(outbox) for outbox in self._outboxes.values())

    def ask(self, make: Callable[[int, bytes], SessionRequest], now: float) -> int:
        """Send the request that `make(request id, token)` gives, again after each reconnection until it
        is answered; the answer comes as Answered with the returned id."""
        request = self.take_request()
        if self.closed is not None:
            self.answers.append(Answered(request, Refused(*self.closed)))
            return request
        self._asked[request] = _Asked(make, now)
        if self.link is Link.LIVE:
            self.outgoing.append(make(request, self._token))
        return request

    def forget(self, request: int) -> None:
        """Nobody waits for this answer any more."""
        self._asked.pop(request, None)

    def pause(self, paused: bool, now: float) -> None:
        """Whoever takes the events is behind: drop what the feed brings and fetch nothing until told
        to go on. Nothing is lost: the log has it."""
        self._rooms.pause(paused, now)

    def close(self, reason: str = "") -> None:
        """Leave; lines without an answer fail with this reason."""
        if self.link is Link.LIVE:
            self._markers.hurry()
            self.outgoing.append(Bye(self.take_request(), self._token))
        self._close(LEFT, reason)

    # ------------------------------------------------------------------ what the connection reports

    def link_up(self, now: float) -> None:
        """The handshake with the broker succeeded."""
        self._wrong_keys = 0
        if self.link is Link.JOINING:
            self._greet()

    def link_down(self, now: float, reason: str) -> None:
        """The connection was refused or lost."""
        if self.link in (Link.JOINING, Link.LIVE):
            self._offline(now, reason)

    def handshake_failed(self, now: float) -> None:
        """Something answers there and breaks the handshake off: another key than ours was meant for."""
        if self.link is not Link.JOINING:
            return
        self._wrong_keys += 1
        if self._wrong_keys < WRONG_KEY_TRIES:
            self._offline(now, "the handshake failed")
        elif self._was_live:  # whoever holds the key may come back
            self._offline(now, WRONG_KEY_TEXT, code=WRONG_KEY)
        else:
            self._close(WRONG_KEY, WRONG_KEY_TEXT)

    def not_admitted(self, now: float) -> None:
        """The broker does not let the key in that was dialled with."""
        if self.link is not Link.JOINING:
            return
        if self._was_live and not self._with_invite:
            self._close(Code.REVOKED, f"the broker no longer lets {self.name} in with this client's key")
            return
        if self._with_invite:
            self._invite_tried = True
        else:
            self._own_key_tried = True
        if (self._has_invite and not self._invite_tried) or not self._own_key_tried:
            self._dial(now)
        elif self._has_invite and not self._enrolled:
            text = (
                "the broker does not accept this invite: it is expired, used up or withdrawn; "
                "ask the operator for a new one (chat-broker invite)"
            )
            self._close(Code.INVITE_INVALID, text)
        else:
            invite = "does not accept the address's invite" if self._has_invite else "was shown no invite"
            text = (
                f"the broker does not know {self.name}'s key on this machine, and {invite}; "
                "ask the operator for a new one (chat-broker invite)"
            )
            self._close(Code.NOT_ENROLLED, text)

    def feed_not_admitted(self, now: float) -> None:
        """The feed took the token for none: ours is no session any more, or not yet again."""
        if self.link is Link.LIVE:
            self._rejoin(now)

    def receive(self, message: AnyReply, now: float) -> None:
        """A reply, or something the broker says unasked."""
        if self.link is Link.CLOSED:
            return
        self._pings.clear()  # whatever it says: the broker is there
        self._learn_titles(message)
        match message:
            case Enrolled():
                if message.request == self._hello and self.link is Link.JOINING:
                    self._enrolled_now(message, now)
            case Welcome():
                if message.request == self._hello and self.link is Link.JOINING:
                    self._welcome(message, now)
            case Refusal():
                self._refused(message, now)
            case Said():
                self._said(message)
            case Goodbye():
                self._goodbye(message, now)
            case Pong():
                self._dial_pause_s = DIAL_MIN_S  # this session has lasted
                self._rooms.pong(message, now)
            case Marked():
                self._marked(message)
            case Opened():
                self._opened(message, now)
            case _ if self._rooms.receive(message, now) or self._markers.done(message.request):
                pass
            case RoomList() if message.request == self._listing:
                self._memberships(message, now)
            case _ if message.request in self._asked:
                del self._asked[message.request]
                self.answers.append(Answered(message.request, message))

    def _opened(self, message: Opened, now: float) -> None:
        before = self._rooms.find(message.room)
        first = before is None or before.sequencer is None
        self._rooms.receive(message, now)
        following = self._rooms.find(message.room)
        # What answers an Open of before the last Hello opens nothing here.
        if following is not None and following.topic == message.topic:
            self._markers.opened(message, following.title, first=first)

    def _marked(self, message: Marked) -> None:
        following = self._rooms.find(message.room)
        if following is not None and following.sequencer is not None:  # else Opened is going to tell it
            self._markers.marked(message, following.title)

    def receive_version(self, text: str) -> None:
        """The broker speaks another version of the protocol."""
        self._close(Code.VERSION, f"{text}; update the older of the two")

    def receive_feed(self, topic: bytes, envelope: bytes, now: float) -> None:
        """Something came by the feed: to be trusted only as far as it verifies."""
        if self.link is Link.LIVE:
            self._rooms.receive_feed(topic, envelope, now)

    # ------------------------------------------------------------------ time

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.link is Link.OFFLINE and self._dial_at is not None and now >= self._dial_at:
            self._dial(now)
        elif self.link is Link.JOINING and self._join_until is not None and now >= self._join_until:
            self._offline(now, "no answer")
        elif self.link is Link.LIVE:
            self._tick_live(now)
            if self._renew_at is not None:
                self._renew_when_answered(now)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        if self.link is Link.OFFLINE:
            return self._dial_at
        if self.link is Link.JOINING:
            return self._join_until
        if self.link is Link.CLOSED:
            return None
        candidates = [
            self._ping_at,
            self._renew_at,
            self._rooms.next_deadline(),
            self._markers.next_deadline(),
        ]
        candidates += [outbox.next_deadline() for outbox in self._outboxes.values()]
        candidates += [asked.sent_at + ASK_AGAIN_S for asked in self._asked.values()]
        return min((at for at in candidates if at is not None), default=None)

    def flush(self, now: float) -> None:
        """Pack what was said into requests; the shell calls it before it takes `outgoing`."""
        if self.link is not Link.LIVE:
            return
        renewing = self._renew_at is not None
        for outbox in self._outboxes.values():
            in_flight_max = self.limits.says_in_flight
            for saying in outbox.outgoing(self.take_request, in_flight_max, now, only_again=renewing):
                self._outbox_of[saying.request] = outbox
                self.outgoing.append(outbox.message(saying, self._token))

    # ------------------------------------------------------------------ for FollowedRooms

    @property
    def token(self) -> bytes:
        return self._token

    @property
    def is_live(self) -> bool:
        return self.link is Link.LIVE

    def forget_room(self, room: str) -> None:
        """This account is out of a room: if it is let in again, that is news."""
        if self._known is not None:
            self._known.discard(room)

    def take_request(self) -> int:
        request = self._next_request
        self._next_request += 1
        return request

    def jitter(self, seconds: float) -> float:
        """`seconds`, less up to half."""
        return seconds * self._rng.uniform(0.5, 1.0)

    # ------------------------------------------------------------------ joining

    def _dial(self, now: float) -> None:
        """Once enrolled, or without an invite, with our own key; each key is tried once in a row."""
        own_first = self._enrolled or not self._has_invite
        self._with_invite = self._own_key_tried if own_first else not self._invite_tried
        self._dial_at = None
        self._join_until = now + (JOIN_AGAIN_S if self._was_live else JOIN_S)
        self._set_link(Link.JOINING)
        self.actions.append(Dial(self._with_invite))

    def _greet(self) -> None:
        self._hello = self.take_request()
        if self._with_invite:
            self.outgoing.append(Enroll(self._hello, self.name, self._key))
        else:
            self.outgoing.append(Hello(self._hello, self.name, self._instance, self._software))

    def _enrolled_now(self, message: Enrolled, now: float) -> None:
        self.name = message.name
        self._enrolled = True
        self._own_key_tried = False
        self.events.append(ev.Enrolled(message.name))
        if self._with_invite:
            self._dial(now)
        else:
            self._greet()

    def _welcome(self, message: Welcome, now: float) -> None:
        other_history = self.epoch not in (b"", message.epoch)
        self.epoch = message.epoch
        if other_history:
            self._fail_all(Code.EPOCH_CHANGED, "the broker's history was reset or restored meanwhile")
            self._markers.forget()
            self._take_new_instance(now)
            return
        if self._instance not in (None, message.instance):
            self._renew_outboxes()
        self._instance = message.instance
        self._own_key_tried = self._invite_tried = False
        if not self._enrolled:
            self._enrolled = True
            self.events.append(ev.Enrolled(message.name))
        self.name, self.account = message.name, message.account
        self._token, self.limits = message.token, message.limits
        self._was_live = True
        self.welcomed = (message, now)
        self._welcome_at = now
        self._join_until = None
        self._ping_s = max(0.1, message.ping_s)
        self._ping_at = now + min(FIRST_PING_S, self._ping_s)
        self._pings.clear()
        self._renew_at = None
        self._set_link(Link.LIVE)
        for outbox in self._outboxes.values():
            outbox.resend_all()
        self.forget(self._listing)
        for request, asked in self._asked.items():
            asked.sent_at = now
            self.outgoing.append(asked.make(request, self._token))
        self._list_memberships("", now)
        self._rooms.welcome(message, self._make_opener, now)

    def _list_memberships(self, after: str, now: float) -> None:
        """What this account was added to meanwhile: Added is said once, and only to who is there."""
        if self._rooms.all():
            self._listed = self._listed if after else []
            self._listing = self.ask(partial(Rooms, after=after, mine=True), now)

    def _memberships(self, message: RoomList, now: float) -> None:
        """Tell of rooms that are new since the list before; what the first list holds, the user asks for."""
        self.forget(message.request)
        self._listed += message.rooms
        if message.more and message.rooms:
            self._list_memberships(message.rooms[-1].room, now)
            return
        listed, self._listed = self._listed, []
        for info in listed if self._known is not None else ():
            if info.room not in (self._known or ()) and self._rooms.find(info.room) is None:
                self.events.append(ev.RoomAdded(info.room, clean_text(info.title), info.kind, ""))
        self._known = {info.room for info in listed}

    def _refused(self, message: Refusal, now: float) -> None:
        if message.code == Code.VERSION:
            self.receive_version(message.text)
        elif message.request == self._hello and self.link is Link.JOINING:
            self._not_welcome(message, now)
        elif message.code == Code.UNKNOWN_SESSION:
            if self.link is Link.LIVE:
                self._rejoin(now)
        elif message.request in self._outbox_of:
            self._say_refused(message, now)
        elif self._rooms.refused(message, now) or self._markers.refused(message, now):
            pass
        elif message.request in self._asked:
            if message.code in (Code.BUSY, Code.TOO_MANY_IN_FLIGHT):
                self._asked[message.request].sent_at = now + message.retry_ms / 1_000 - ASK_AGAIN_S
                return
            del self._asked[message.request]
            refused = Refused(message.code, clean_text(message.text), message.retry_ms / 1_000)
            self.answers.append(Answered(message.request, refused))

    def _not_welcome(self, message: Refusal, now: float) -> None:
        text = clean_text(message.text)
        if message.code == Code.NOT_ENROLLED and not self._with_invite:
            self._hello = self.take_request()  # an open door: our own key may enroll itself
            self.outgoing.append(Enroll(self._hello, self.name, self._key))
        elif message.code in _FINAL:
            self._close(message.code, text)
        else:
            self._offline(now, text, wait_s=message.retry_ms / 1_000)

    def _rejoin(self, now: float) -> None:
        """Our session is over and the connection is not: say Hello again."""
        if now < self._welcome_at + REJOIN_MIN_S:
            self._offline(now, "the broker ended the session as soon as it had begun")
        else:
            self._greet_again(now)

    def _greet_again(self, now: float) -> None:
        self._rooms.offline()
        self._markers.offline()
        self._set_link(Link.JOINING)
        self._join_until = now + JOIN_AGAIN_S
        self._greet()

    def _goodbye(self, message: Goodbye, now: float) -> None:
        text = clean_text(message.text)
        if message.code in _FINAL:
            self._close(message.code, text)
        elif message.code == Code.EXPIRED:
            self._rejoin(now)
        else:
            self._offline(now, text)

    def _offline(self, now: float, reason: str, wait_s: float = 0.0, code: str = "") -> None:
        self.reason = reason
        self._dial_at = now + max(self.jitter(self._dial_pause_s), wait_s)
        self._dial_pause_s = min(DIAL_MAX_S, self._dial_pause_s * 2)
        self._join_until = None
        self.outgoing.clear()
        self._rooms.offline()
        self._markers.offline()
        self.actions.append(Hangup())
        self._set_link(Link.OFFLINE, reason, code, retry_at=self._dial_at)

    def _close(self, code: str, text: str) -> None:
        if self.link is Link.CLOSED:
            return
        self._fail_all(code, text or "this client has left", never_sent_too=True)
        self.closed = (str(code), text)
        for request in list(self._asked):
            self.answers.append(Answered(request, Refused(str(code), text or "this client has left")))
        self._asked.clear()
        self.actions.append(Hangup())
        self._set_link(Link.CLOSED, text, code=str(code))

    def _set_link(self, link: Link, reason: str = "", code: str = "", retry_at: float | None = None) -> None:
        if link is not self.link or retry_at is not None:
            self.link = link
            self.events.append(ev.LinkChanged(link, reason, code, retry_at))

    def _tick_live(self, now: float) -> None:
        if self._ping_at is not None and now >= self._ping_at:
            if len(self._pings) >= SILENT_PINGS:
                self._offline(now, f"the broker has not answered for {now - self._pings[0]:.0f} s")
                return
            self._pings.append(now)
            self._ping_at = now + self._ping_s
            self.outgoing.append(Ping(self.take_request(), self._token))
        for request, asked in self._asked.items():
            if now >= asked.sent_at + ASK_AGAIN_S:
                asked.sent_at = now
                self.outgoing.append(asked.make(request, self._token))
        self._rooms.tick(now)
        self._markers.tick(now)

    # ------------------------------------------------------------------ saying

    def _outbox(self, room: str) -> Outbox:
        """The outbox of a room. What is said into one room is one chain, whichever name is used."""
        name = self._titles.get(room, room).lower()
        return self._outboxes.setdefault(name, Outbox(name))

    def _learn_titles(self, message: AnyReply) -> None:
        match message:
            case Added(room=room, title=title):
                self._learn_title(room, title)
                if self._known is not None:
                    self._known.add(room)
            case Opened(room=room, title=title):
                self._learn_title(room, title)
            case RoomList(rooms=rooms):
                for info in rooms:
                    self._learn_title(info.room, info.title)
                if message.request in self._asked and message.request != self._listing:
                    self._known = {*(self._known or ()), *(info.room for info in rooms if info.member)}
            case Said(stored=stored):
                for one in stored:
                    outbox = self._outbox_of.get(one.request)
                    if outbox is not None:
                        self._learn_title(one.room, outbox.room)

    def _learn_title(self, room: str, title: str) -> None:
        """A direct room goes by two names. Lines said under its id join those said under its title."""
        if direct_accounts(room) is None or title == room or self._titles.get(room) == title:
            return
        self._titles[room] = title
        stray = self._outboxes.pop(room, None)
        if stray is not None:
            outbox = self._outbox(room)
            outbox.take_over(stray)
            self._outbox_of = {r: outbox if its is stray else its for r, its in self._outbox_of.items()}

    def _said(self, message: Said) -> None:
        for stored in message.stored:
            outbox = self._outbox_of.pop(stored.request, None)
            saying = outbox.said(stored.request) if outbox else None
            if saying is None:
                continue
            for index, line in enumerate(saying.lines):
                position = Position(stored.room, message.epoch, stored.first + index)
                self.events.append(ev.Stored(line.ref, position))

    def _say_refused(self, message: Refusal, now: float) -> None:
        outbox = self._outbox_of[message.request]
        saying, unknown = outbox.refused(message, now)
        if message.code == Code.FORGOTTEN:
            self._renew_at = self._renew_at or now + RENEW_S
        if saying is not None:
            del self._outbox_of[message.request]
            self._fail(outbox.room, saying, message.code, clean_text(message.text), unknown=unknown)

    def _renew_when_answered(self, now: float) -> None:
        """The broker has forgotten this instance, in one room at least: go on as another. In other rooms
        it may be known still, so what is on its way there is answered first."""
        waiting = any(outbox.is_waiting for outbox in self._outboxes.values())
        if self._renew_at is not None and (now >= self._renew_at or not waiting):
            self._take_new_instance(now)

    def _take_new_instance(self, now: float) -> None:
        self._renew_at = None
        self._instance = None
        self._renew_outboxes()
        self._greet_again(now)

    def _renew_outboxes(self) -> None:
        for outbox in self._outboxes.values():
            for saying in outbox.new_instance():
                self._outbox_of.pop(saying.request, None)
                text = "this client was away too long for the broker to tell whether this line was stored"
                self._fail(outbox.room, saying, Code.FORGOTTEN, text, unknown=True)

    def _fail_all(self, code: str, text: str, *, never_sent_too: bool = False) -> None:
        """Give up what may have been sent (its outcome is unknown), and with `never_sent_too` the rest."""
        for outbox in self._outboxes.values():
            for saying in outbox.abandon_sent():
                self._outbox_of.pop(saying.request, None)
                self._fail(outbox.room, saying, code, text, unknown=True)
            for line in outbox.abandon_queue() if never_sent_too else ():
                self.events.append(ev.Failed(line.ref, outbox.room, line.text, str(code), text))

    def _fail(self, room: str, saying: Saying, code: str, reason: str, *, unknown: bool) -> None:
        for line in saying.lines:
            self.events.append(ev.Failed(line.ref, room, line.text, str(code), reason, unknown))
