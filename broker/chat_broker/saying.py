"""Handler: Say. Every line is stored exactly once, in the order in which its sender said it."""

from __future__ import annotations

from msgspec import Raw

from chat_broker.log import Answer, OnceKey, Sender, SenderKey
from chat_broker.membership import find, reach
from chat_broker.rooms import Room
from chat_broker.roster import Session
from chat_broker.sends import say_digest
from chat_broker.state import State, no_such_room
from chat_protocol.codec import encode_plain
from chat_protocol.errors import BadText, Code
from chat_protocol.messages import HOPS_MAX, SAY_BYTES_MAX, EntryKind, Line, Say, Stored
from chat_protocol.names import check_text


def say(state: State, session: Session, message: Say) -> None:
    name = find(state, session, message.request, message.room)
    if name is None:
        return
    key = SenderKey(session.account.id, session.instance, name)
    sender, digest = state.sends.sender(key), say_digest(message)
    if _answered_before(state, session, message, key, sender, digest):
        return
    if _is_forgotten(state, session, message, key):
        return
    if state.is_log_down(session.peer, message.request):
        return
    known = state.rooms.get(name)
    if known is not None and not known.may_say(session.account.id):
        text = no_such_room(message.room)
        state.refuse(session.peer, session, message.request, Code.NO_SUCH_ROOM, text)
        return
    if _is_out_of_turn(state, session, message, sender):
        return
    if message.once is not None:
        before = state.sends.once(OnceKey(session.account.id, name, message.once))
        if before is not None:
            answer = Answer(digest, before.first, before.count, before.at)
            _record(state, session, message, key, answer)
            return
    if not _may_say(state, session, message):
        return
    room = reach(state, session, message.request, name)
    if room is not None:
        _record(state, session, message, key, _store(state, session, message, room, digest))


def _answered_before(
    state: State, session: Session, message: Say, key: SenderKey, sender: Sender, digest: bytes
) -> bool:
    """A request id that was taken before gets its stored answer again."""
    if message.request > sender.last:
        return False
    answer = sender.answers.get(message.request)
    if answer is None:
        _out_of_order(state, session, message, sender.last)
    elif answer.digest != digest:
        text = f"request {message.request} was another line before"
        state.refuse(session.peer, session, message.request, Code.ID_REUSED, text)
    elif state.sends.is_stored(key):
        state.said_before(session, _stored(message, key, answer))
    else:
        said = _stored(message, key, answer)
        state.when_settled(
            session.peer, session, message.request, lambda now: _answer_again(state, session, key, said)
        )
    return True


def _answer_again(state: State, session: Session, key: SenderKey, said: Stored) -> None:
    """Whether the line is stored is known now. It may be although what was behind it is not."""
    if state.sends.sender(key).last >= said.request:
        state.said_before(session, said)
    else:
        state.is_log_down(session.peer, said.request)


def _is_forgotten(state: State, session: Session, message: Say, key: SenderKey) -> bool:
    """Judged before all else that speaks against a line, and told at once: other refusals, also that of a
    log that fails meanwhile, say that the line is not stored."""
    if not state.sends.is_forgotten(key, state.now.wall):
        return False
    text = "this client was away for so long that nobody can say whether the line was stored before"
    state.refuse_now(session.peer, message.request, Code.FORGOTTEN, text)
    return True


def _is_out_of_turn(state: State, session: Session, message: Say, sender: Sender) -> bool:
    if message.prev == sender.last:
        return False
    _out_of_order(state, session, message, sender.last)
    return True


def _out_of_order(state: State, session: Session, message: Say, last: int) -> None:
    text = f"the line before this one is missing; the newest taken is request {last}"
    state.refuse(session.peer, session, message.request, Code.OUT_OF_ORDER, text, last=last)


def _may_say(state: State, session: Session, message: Say) -> bool:
    """Text, size and rate. A refusal for text is final; one for rate says when to try again."""
    limits = state.settings.limits
    try:
        for line in message.lines:
            check_text(line, line_bytes=limits.line_bytes, line_rows=limits.line_rows)
        if sum(len(line.encode()) for line in message.lines) > SAY_BYTES_MAX:
            raise BadText(Code.LINE_TOO_LONG, f"what is said at once has at most {SAY_BYTES_MAX} bytes")
        if message.hops > HOPS_MAX:
            raise BadText(Code.TOO_MANY_HOPS, f"bots have answered bots {HOPS_MAX} times in a row: enough")
    except BadText as error:
        state.refuse_now(session.peer, message.request, error.code, str(error))
        return False
    return state.may_spend(session, message.request, len(message.lines))


def _store(state: State, session: Session, message: Say, room: Room, digest: bytes) -> Answer:
    first = room.head + 1
    for line in message.lines:
        state.propose(room.name, EntryKind.LINE, Raw(encode_plain(Line(line, message.hops))), session.account)
    answer = Answer(digest, first, len(message.lines), state.now.wall)
    if message.once is not None:
        once = OnceKey(session.account.id, room.name, message.once)
        state.open_batch.onces[once] = answer
        state.sends.record_once(once, answer, state.open_batch.ticket)
    return answer


def _record(state: State, session: Session, message: Say, key: SenderKey, answer: Answer) -> None:
    batch = state.open_batch
    batch.senders[key] = state.sends.record(key, message.request, answer, batch.ticket)
    state.said(session, _stored(message, key, answer))


def _stored(message: Say, key: SenderKey, answer: Answer) -> Stored:
    return Stored(message.request, key.room, answer.first, answer.count, answer.at)
