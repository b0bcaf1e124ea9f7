"""Core: who is connected: sessions, their leases, and which rooms they follow.

Leases age on a clock of the roster's own that stands still while the broker does not run: a broker
that was stopped for a minute finds its clients' pings in its queue and loses nobody.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterator

from chat_broker.accounts import Account, Role

STALL_S = 1.0  # a longer silence between two ticks is time in which the broker did not run


class Allowance:
    """A token bucket, in lines: what a session may say now."""

    __slots__ = ("_at", "_lines")

    def __init__(self) -> None:
        self._lines = math.inf  # as full as it may be
        self._at = 0.0

    @property
    def is_untouched(self) -> bool:
        return self._lines == math.inf

    def spend(self, lines: int, rate: float, burst: float, clock: float) -> float:
        """Take `lines` out, and return 0; or take nothing, and return the seconds until they are in.

        `rate` lines come in each second, up to `burst`. More than `burst` are taken from a full bucket,
        and paid back.
        """
        self._lines = min(burst, self._lines + max(0.0, clock - self._at) * rate)
        self._at = clock
        missing = min(lines, burst) - self._lines
        if missing > 0:
            return missing / rate
        self._lines -= lines
        return 0.0


class Session:
    """One connected client process of an account."""

    __slots__ = (
        "account",
        "allowance",
        "feed_token",
        "heard",
        "hello",
        "in_flight",
        "instance",
        "key",
        "open",
        "peer",
        "token",
    )

    def __init__(
        self, peer: bytes, key: bytes, account: Account, instance: bytes, token: bytes, feed_token: bytes
    ) -> None:
        self.peer = peer  # the routing id on which it said Hello
        self.key = key  # the public key of that connection
        self.account = account
        self.instance = instance
        self.token = token
        self.feed_token = feed_token
        self.open: dict[str, None] = {}  # rooms, in the order they were opened
        self.hello = 0  # the request that began it
        self.heard = 0.0
        self.in_flight = 0  # requests whose answer waits for the log
        self.allowance = Allowance()


class Presence:
    """The accounts present somewhere: how many sessions each has, and their names in order."""

    def __init__(self) -> None:
        self._sessions: dict[int, int] = {}
        self._sorted: list[str] = []  # names

    def __len__(self) -> int:
        return len(self._sessions)

    def come(self, account: Account) -> bool:
        """One more session; True if the account was not here before."""
        count = self._sessions.get(account.id, 0)
        self._sessions[account.id] = count + 1
        if count:
            return False
        insort(self._sorted, account.name)
        return True

    def go(self, account: Account) -> bool:
        """One session less; True if the account is gone with it."""
        count = self._sessions[account.id] - 1
        if count:
            self._sessions[account.id] = count
            return False
        del self._sessions[account.id]
        del self._sorted[bisect_left(self._sorted, account.name)]
        return True

    def names(self, after: str = "", limit: int | None = None) -> list[str]:
        """Names in order, those after `after`."""
        start = bisect_right(self._sorted, after) if after else 0
        return self._sorted[start : None if limit is None else start + limit]


class Roster:
    """All sessions. The caller tells rooms about comings and goings that the methods return. `everyone`
    are the people connected: an operator's commands come and go unseen."""

    def __init__(self, lease_s: float) -> None:
        self.lease_s = lease_s
        self.everyone = Presence()
        self.clock = 0.0
        self._ticked: float | None = None
        self._by_peer: dict[bytes, Session] = {}
        self._by_instance: dict[tuple[int, bytes], Session] = {}
        self._by_feed_token: dict[bytes, Session] = {}
        self._by_account: dict[int, dict[bytes, Session]] = {}
        self._heard: OrderedDict[bytes, Session] = OrderedDict()  # by peer, longest silent first
        self._rooms: dict[str, dict[bytes, Session]] = {}
        self._present: dict[str, Presence] = {}
        self._spent: dict[int, list[Allowance]] = {}  # of ended sessions, by account

    def __len__(self) -> int:
        return len(self._by_peer)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_peer.values()))

    def advance(self, clock: float) -> None:
        """Let the leases' clock follow the monotonic one, less the time the broker did not run."""
        if self._ticked is not None:
            self.clock += min(max(0.0, clock - self._ticked), STALL_S)
        self._ticked = clock

    def at(self, peer: bytes) -> Session | None:
        return self._by_peer.get(peer)

    def instance(self, account: int, instance: bytes) -> Session | None:
        return self._by_instance.get((account, instance))

    def has_feed_token(self, token: bytes) -> bool:
        return token in self._by_feed_token

    def of_account(self, account: int) -> list[Session]:
        return list(self._by_account.get(account, {}).values())

    def in_room(self, room: str) -> list[Session]:
        return list(self._rooms.get(room, {}).values())

    def present(self, room: str) -> Presence:
        """Who follows a room; an empty one if nobody does."""
        return self._present.get(room) or Presence()

    def is_alive(self, session: Session) -> bool:
        return self._by_peer.get(session.peer) is session

    def add(self, session: Session) -> bool:
        """A new session; True if its account was not connected before. What an ended session of the
        account had left to say is what this one has: coming again fills nobody's allowance."""
        spent = self._spent.get(session.account.id)
        session.allowance = spent.pop() if spent else Allowance()
        self._by_peer[session.peer] = session
        self._by_instance[(session.account.id, session.instance)] = session
        self._by_feed_token[session.feed_token] = session
        self._by_account.setdefault(session.account.id, {})[session.peer] = session
        self.hear(session)
        return session.account.role is Role.MEMBER and self.everyone.come(session.account)

    def drop(self, session: Session) -> bool:
        """End a session whose rooms are closed already; True if its account is gone with it."""
        assert not session.open, "rooms are closed before their session ends"
        if not session.allowance.is_untouched:
            self._spent.setdefault(session.account.id, []).append(session.allowance)
        del self._by_peer[session.peer]
        del self._by_feed_token[session.feed_token]
        del self._heard[session.peer]
        del self._by_instance[(session.account.id, session.instance)]
        sessions = self._by_account[session.account.id]
        del sessions[session.peer]
        if not sessions:
            del self._by_account[session.account.id]
        return session.account.role is Role.MEMBER and self.everyone.go(session.account)

    def hear(self, session: Session) -> None:
        session.heard = self.clock
        self._heard[session.peer] = session
        self._heard.move_to_end(session.peer)

    def enter(self, session: Session, room: str) -> bool:
        """The session follows the room; True if its account did not before."""
        if room in session.open:
            return False
        session.open[room] = None
        self._rooms.setdefault(room, {})[session.peer] = session
        return self._present.setdefault(room, Presence()).come(session.account)

    def exit(self, session: Session, room: str) -> bool:
        """The session follows the room no longer; True if its account is gone from it."""
        if room not in session.open:
            return False
        del session.open[room]
        del self._rooms[room][session.peer]
        gone = self._present[room].go(session.account)
        if not self._rooms[room]:
            del self._rooms[room], self._present[room]
        return gone

    def expired(self) -> list[Session]:
        """Sessions not heard for the length of a lease."""
        found = []
        for session in self._heard.values():
            if session.heard + self.lease_s > self.clock:
                break
            found.append(session)
        return found
