"""Handler: Mark. An account has read a room up to a line, and its other devices are told."""

from __future__ import annotations

from chat_broker.clock import Now
from chat_broker.log import MarkKey
from chat_broker.roster import Session
from chat_broker.state import State
from chat_protocol.messages import Done, Mark, Marked


def mark(state: State, session: Session, message: Mark) -> None:
    """Whoever may read a room may mark it. What is past the head counts as the head."""
    room = state.readable(session, message.request, message.room)
    if room is None:
        return
    key = MarkKey(session.account.id, room.name)
    seq = min(message.seq, room.stored)
    if state.marks.move(key, seq):
        state.open_batch.marks[key] = seq
        state.when_stored(b"", None, 0, lambda now: _tell(state, session, room.name, seq, now))
    state.reply(session.peer, session, Done(message.request))


def _tell(state: State, session: Session, room: str, seq: int, now: Now) -> None:
    for other in state.roster.of_account(session.account.id):
        if other is not session and room in other.open:
            state.reply_now(other.peer, Marked(0, room, seq))
