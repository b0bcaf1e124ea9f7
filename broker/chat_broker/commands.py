"""Core: the command table. What may be asked, by whom, and when; checked once, before any handler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from chat_broker import joining, marking, membership, operating, reading, saying
from chat_protocol import messages as m


class May(Enum):
    """Who may ask."""

    CONNECTION = "anybody past the handshake"
    SESSION = "a session"
    OPERATOR = "a session of the operator"


@dataclass(frozen=True, slots=True)
class Command:
    """How a request is handled. Handlers of CONNECTION commands take (state, peer, key, message), all
    others (state, session, message).

    `settled`: the handler waits until everything ahead is stored, because it tells of that.
    `writes`: it proposes entries, so it is refused at once while the log takes nothing, and costs as
    much as a line. Say looks after both itself, for what was said before is answered at any time.
    `always`: it is answered however much waits for the log.
    `together`: the handler takes a list, of all that came in a row about one room.
    """

    handle: Callable[..., Any]
    may: May = May.SESSION
    settled: bool = False
    writes: bool = False
    always: bool = False
    together: bool = False


COMMANDS: dict[type[m.Request], Command] = {
    m.Enroll: Command(joining.enroll, May.CONNECTION, writes=True),
    m.Hello: Command(joining.hello, May.CONNECTION, settled=True),
    m.Ping: Command(joining.ping, always=True),
    m.Bye: Command(joining.bye, settled=True),
    m.Invite: Command(joining.invite, writes=True),
    m.Devices: Command(joining.devices),
    m.Revoke: Command(joining.revoke, writes=True),
    m.Say: Command(saying.say, together=True),
    m.Open: Command(reading.open_room, settled=True),
    m.Close: Command(reading.close, settled=True),
    m.Fetch: Command(reading.fetch, settled=True),
    m.Who: Command(reading.who, settled=True),
    m.Rooms: Command(reading.rooms, settled=True),
    m.Mark: Command(marking.mark, writes=True),
    m.Create: Command(membership.create, writes=True),
    m.Add: Command(membership.add, writes=True),
    m.Remove: Command(membership.remove, writes=True),
    m.Leave: Command(membership.leave, writes=True),
    m.Status: Command(operating.status, May.OPERATOR, settled=True),
    m.Backup: Command(operating.backup, May.OPERATOR, settled=True),
    m.Ban: Command(operating.ban, May.OPERATOR, writes=True),
    m.Unban: Command(operating.unban, May.OPERATOR, writes=True),
    m.Rate: Command(operating.rate, May.OPERATOR, writes=True),
}
