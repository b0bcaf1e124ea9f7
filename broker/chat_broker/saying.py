"""Handler: Say. Every line is stored exactly once, in the order in which its sender said it."""

from __future__ import annotations

import math

from msgspec import Raw

from chat_broker.log import Answer, OnceKey, SenderKey
from chat_broker.membership import reach
from chat_broker.rooms import Room
from chat_broker.roster import Session
from chat_broker.sends import say_digest
from chat_broker.state import State
from chat_protocol.codec import encode_plain
from chat_protocol.errors import BadText, Code
from chat_protocol.messages import EntryKind, Line, Say, Stored
from chat_protocol.names import check_text


def say(state: State, session: Session, message: Say) -> None:
    room = reach(state, session, message.request, message.room)
    if room is None:
        return
    key = SenderKey(session.account.id, session.instance, room.name)
    digest = say_digest(message)
    if _answered_before(state, session, message, key, digest):
        return
    if not room.may_read(session.account.id):
        text = f"there is no room {message.room}"
        state.refuse(session.peer, session, message.request, Code.NO_SUCH_ROOM, text)
        return
    if _is_out_of_turn(state, session, message, key):
        return
    if message.once is not None:
        before = state.sends.once(OnceKey(session.account.id, room.name, message.once))
        if before is not None:
            answer = Answer(digest, before.first, before.count, before.at)
            _record(state, session, message, key, answer)
            return
    if not _may_say(state, session, message):
        return
    _record(state, session, message, key, _store(state, session, message, room, digest))


def _answered_before(state: State, session: Session, message: Say, key: SenderKey, digest: bytes) -> bool:
    """A request id that was taken before gets its stored answer again."""
    sender = state.sends.sender(key)
    if message.request > sender.last:
        return False
    answer = sender.answers.get(message.request)
    if answer is None:
        _out_of_order(state, session, message, sender.last)
    elif answer.digest != digest:
        text = f"request {message.request} was another line before"
        state.refuse(session.peer, session, message.request, Code.ID_REUSED, text)
    else:
        state.said(session, Stored(message.request, key.room, answer.first, answer.count, answer.at))
    return True


def _is_out_of_turn(state: State, session: Session, message: Say, key: SenderKey) -> bool:
    if state.sends.is_forgotten(key, state.now.wall):
        text = "this client was away for so long that nobody can say whether the line was stored before"
        state.refuse(session.peer, session, message.request, Code.FORGOTTEN, text)
        return True
    last = state.sends.sender(key).last
    if message.prev != last:
        _out_of_order(state, session, message, last)
        return True
    return False


def _out_of_order(state: State, session: Session, message: Say, last: int) -> None:
    text = f"the line before this one is missing; the newest taken is request {last}"
    state.refuse(session.peer, session, message.request, Code.OUT_OF_ORDER, text, last=last)


def _may_say(state: State, session: Session, message: Say) -> bool:
    """Text, size and rate. A refusal for text is final; one for rate says when to try again."""
    limits = state.settings.limits
    try:
        for line in message.lines:
            check_text(line, line_bytes=limits.line_bytes, line_rows=limits.line_rows)
    except BadText as error:
        state.refuse_now(session.peer, message.request, error.code, str(error))
        return False
    wait_s = _spend(state, session, len(message.lines))
    if wait_s > 0:
        state.refuse_now(
            session.peer,
            message.request,
            Code.RATE_LIMITED,
            "you are saying more lines a second than this broker takes",
            retry_ms=math.ceil(wait_s * 1000),
        )
        return False
    return True


def _spend(state: State, session: Session, lines: int) -> float:
    """Take lines from the session's bucket; if they are not in it, the seconds until they will be."""
    limits = state.settings.limits
    rate = session.account.lines_per_s or limits.lines_per_s
    burst = max(limits.lines_burst, rate)
    if session.tokens < 0:
        session.tokens = float(burst)
    passed = max(0.0, state.now.clock - session.refilled)
    session.tokens = min(float(burst), session.tokens + passed * rate)
    session.refilled = state.now.clock
    if session.tokens < lines:
        return (lines - session.tokens) / rate
    session.tokens -= lines
    return 0.0


def _store(state: State, session: Session, message: Say, room: Room, digest: bytes) -> Answer:
    first = room.head + 1
    for line in message.lines:
        state.propose(room.name, EntryKind.LINE, Raw(encode_plain(Line(line))), session.account)
    answer = Answer(digest, first, len(message.lines), state.now.wall)
    if message.once is not None:
        once = OnceKey(session.account.id, room.name, message.once)
        state.open_batch.onces[once] = answer
        state.sends.record_once(once, answer, state.open_batch.ticket)
    return answer


def _record(state: State, session: Session, message: Say, key: SenderKey, answer: Answer) -> None:
    batch = state.open_batch
    batch.senders[key] = state.sends.record(key, message.request, answer, batch.ticket)
    state.said(session, Stored(message.request, key.room, answer.first, answer.count, answer.at))
