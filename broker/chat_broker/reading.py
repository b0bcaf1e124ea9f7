"""Handlers: Open, Close, Fetch, Who, Rooms. They run when everything ahead of them is stored."""

from __future__ import annotations

from heapq import nsmallest

from chat_broker.accounts import Role
from chat_broker.clock import Now
from chat_broker.log import MarkKey
from chat_broker.membership import find, reach
from chat_broker.rooms import Room
from chat_broker.roster import Session
from chat_broker.state import State, no_such_room
from chat_protocol.errors import Code
from chat_protocol.messages import (
    NAMES_PER_MESSAGE_MAX,
    ROOMS_PER_PAGE,
    Close,
    Cursor,
    Done,
    Fetch,
    Open,
    Opened,
    Page,
    RoomInfo,
    RoomKind,
    RoomList,
    Rooms,
    Users,
    Who,
    entry_digest,
)


def open_room(state: State, session: Session, message: Open) -> None:
    """Follow a room. A direct room that is made by this is opened when it is stored."""
    name = find(state, session, message.request, message.room)
    room = reach(state, session, message.request, name) if name else None
    if room is None:
        return
    if room.stored:
        _opened(state, session, message, room, state.now)
        return
    state.when_stored(
        session.peer, session, message.request, lambda now: _opened(state, session, message, room, now)
    )


def _opened(state: State, session: Session, message: Open, room: Room, now: Now) -> None:
    if not state.roster.is_alive(session) or state.is_shut_out(session, message.request):
        return
    if not room.may_read(session.account.id):
        text = no_such_room(message.room)
        state.refuse_now(session.peer, message.request, Code.NO_SUCH_ROOM, text)
        return
    if room.name not in session.open and len(session.open) >= state.settings.limits.open_rooms:
        text = f"a session follows at most {state.settings.limits.open_rooms} rooms"
        state.refuse_now(session.peer, message.request, Code.TOO_MANY_OPEN, text)
        return
    if message.cursor is not None and _refused_cursor(state, session, message.request, room, message.cursor):
        return
    first = state.log.read(room.name, room.stored, 1).first
    read = state.marks.stored(MarkKey(session.account.id, room.name))
    state.enter_room(session, room.name)
    present = state.roster.present(room.name)
    state.feed.pull_beacons(room.name, now.clock, len(present))
    feed = state.feed.room(room.name)
    feed.holders.add(session.account.id)
    state.reply_now(
        session.peer,
        Opened(
            message.request,
            room=room.name,
            title=room.title(session.account.id),
            kind=room.kind,
            head=room.stored,
            first=first,
            since=room.since(first),
            topic=feed.topic,
            generation=feed.generation,
            key=feed.key,
            presence=state.feed.picture(room.name),
            count=len(present),
            names=present.names(limit=NAMES_PER_MESSAGE_MAX),
            read=read,
        ),
    )


def close(state: State, session: Session, message: Close) -> None:
    name = state.room_id(session.account.id, message.room)
    if name is not None:
        state.exit_room(session, name)
    state.reply_now(session.peer, Done(message.request))


def fetch(state: State, session: Session, message: Fetch) -> None:
    room = state.readable(session, message.request, message.room)
    if room is None or _refused_cursor(state, session, message.request, room, message.cursor):
        return
    if not state.may_page(session):
        state.refuse_now(session.peer, message.request, Code.BUSY, "the broker is catching up", retry_ms=200)
        return
    span = state.log.read(room.name, message.cursor.seq, message.limit)
    # The log may have stored more already than this hub has heard of, a removal of the asker among it.
    entries = [entry for entry in span.entries if entry.seq <= room.stored]
    state.paged(session, entries)
    state.reply_now(session.peer, Page(message.request, room.name, span.first, room.stored, entries))


def who(state: State, session: Session, message: Who) -> None:
    if not message.room:
        present, version = state.roster.everyone, 0
    else:
        room = state.readable(session, message.request, message.room)
        if room is None:
            return
        present, version = state.roster.present(room.name), state.feed.picture(room.name)
    names = present.names(message.after, NAMES_PER_MESSAGE_MAX + 1)
    more = len(names) > NAMES_PER_MESSAGE_MAX
    state.reply_now(
        session.peer,
        Users(message.request, message.room, version, len(present), names[:NAMES_PER_MESSAGE_MAX], more),
    )


def rooms(state: State, session: Session, message: Rooms) -> None:
    """Public rooms and the account's own; private ones also for the operator, who may not read them."""
    account = session.account.id
    mine = state.rooms.of_account(account)
    seen = mine if message.mine else state.rooms.of_kind(RoomKind.PUBLIC) | mine
    if session.account.role is Role.OPERATOR and not message.mine:
        seen |= state.rooms.of_kind(RoomKind.PRIVATE)
    names = nsmallest(ROOMS_PER_PAGE + 1, (name for name in seen if name > message.after))
    infos = []
    for name in names[:ROOMS_PER_PAGE]:
        room = state.rooms[name]
        count = len(state.roster.present(name))
        infos.append(RoomInfo(name, room.title(account), room.kind, room.stored, count, name in mine))
    state.reply_now(session.peer, RoomList(message.request, infos, len(names) > ROOMS_PER_PAGE))


def _refused_cursor(state: State, session: Session, request: int, room: Room, cursor: Cursor) -> bool:
    """A cursor of another history: the client must begin afresh, and say so."""
    ours = cursor.epoch == state.log.epoch and cursor.seq <= room.stored
    if ours and cursor.digest and cursor.seq:
        entries = state.log.read(room.name, cursor.seq - 1, 1).entries
        if entries and entries[0].seq == cursor.seq:
            ours = entry_digest(entries[0]) == cursor.digest
    if ours:
        return False
    text = "the broker's history is another one than this client has seen (restored or reset)"
    state.refuse_now(session.peer, request, Code.EPOCH_CHANGED, text)
    return True
