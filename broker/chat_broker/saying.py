"""Handler: Say. Every line is stored exactly once, in the order in which its sender said it."""

from __future__ import annotations

from collections.abc import Sequence

from chat_broker.log import Answer, OnceKey, Sender, SenderKey
from chat_broker.membership import find, reach
from chat_broker.rooms import Room
from chat_broker.roster import Session
from chat_broker.sends import say_digest
from chat_broker.state import State, no_such_room
from chat_protocol.errors import BadText, Code
from chat_protocol.messages import HOPS_MAX, SAY_BYTES_MAX, Say, Stored
from chat_protocol.names import are_sound, check_text


def say(state: State, session: Session, run: Sequence[Say]) -> None:
    """Says of one session into one room, in the order in which they came.

    Most follow each other as they should and nothing speaks against any of them: those are taken together,
    which costs each but a small part of being judged alone.
    """
    if not _taken_together(state, session, run):
        for message in run:
            _judge(state, session, message)


def _taken_together(state: State, session: Session, run: Sequence[Say]) -> bool:
    """Take the whole run, or none of it: then each Say has to be judged by itself."""
    account, limits = session.account, state.settings.limits
    room = state.rooms.get(state.room_id(account.id, run[0].room) or "")
    if room is None or not room.may_say(account.id) or state.storage_error is not None:
        return False
    key = SenderKey(account.id, session.instance, room.name)
    sender = state.sends.sender(key)
    if not _follow_each_other(run, sender.last) or state.sends.is_forgotten(key, state.now.wall):
        return False
    lines = run[0].lines if len(run) == 1 else [line for message in run for line in message.lines]
    if not are_sound(lines, limits.line_bytes, limits.line_rows, SAY_BYTES_MAX):
        return False
    if not state.has_allowance(session, len(lines)):
        return False
    first = state.propose_lines(room, lines, account, run[0].hops)
    _record(state, session, key, _answers(run, first, state.now.wall))
    return True


def _follow_each_other(run: Sequence[Say], last: int) -> bool:
    """Whether each names the one before it, none has a `once` key, and all have the same hops."""
    hops = run[0].hops
    for message in run:
        if message.prev != last or message.request <= last or message.once is not None:
            return False
        if message.hops != hops:
            return False
        last = message.request
    return hops <= HOPS_MAX


def _answers(run: Sequence[Say], first: int, at: int) -> dict[int, Answer]:
    """Each Say's answer, the lines of all being stored from seq `first` on."""
    answers: dict[int, Answer] = {}
    for message in run:
        count = len(message.lines)
        answers[message.request] = Answer(say_digest(message.lines, hops=message.hops), first, count, at)
        first += count
    return answers


def _judge(state: State, session: Session, message: Say) -> None:
    name = find(state, session, message.request, message.room)
    if name is None:
        return
    key = SenderKey(session.account.id, session.instance, name)
    sender, digest = state.sends.sender(key), say_digest(message.lines, message.once, message.hops)
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
            _record(
                state, session, key, {message.request: Answer(digest, before.first, before.count, before.at)}
            )
            return
    if not _may_say(state, session, message):
        return
    room = reach(state, session, message.request, name)
    if room is not None:
        answer = _store(state, session, message, room, digest)
        _record(state, session, key, {message.request: answer})


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
        state.said_before(session, _stored(message.request, key, answer))
    else:
        said = _stored(message.request, key, answer)
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
    first = state.propose_lines(room, message.lines, session.account, message.hops)
    answer = Answer(digest, first, len(message.lines), state.now.wall)
    if message.once is not None:
        once = OnceKey(session.account.id, room.name, message.once)
        state.open_batch.onces[once] = answer
        state.sends.record_once(once, answer, state.open_batch.ticket)
    return answer


def _record(state: State, session: Session, key: SenderKey, answers: dict[int, Answer]) -> None:
    batch = state.open_batch
    batch.senders[key] = state.sends.record(key, answers, batch.ticket)
    state.said(session, [_stored(request, key, answer) for request, answer in answers.items()])


def _stored(request: int, key: SenderKey, answer: Answer) -> Stored:
    return Stored(request, key.room, answer.first, answer.count, answer.at)
