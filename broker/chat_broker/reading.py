"""Handlers: Open, Close, Fetch, Who, Rooms. They run when everything ahead of them is stored."""

from __future__ import annotations

from chat_broker.accounts import Role
from chat_broker.clock import Now
from chat_broker.membership import reach
from chat_broker.rooms import Room
from chat_broker.roster import Session
from chat_broker.state import State
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
    room = reach(state, session, message.request, message.room)
    if room is not None:
        state.when_stored(
            session.peer, session, message.request, lambda now: _opened(state, session, message, room, now)
        )


def _opened(state: State, session: Session, message: Open, room: Room, now: Now) -> None:
    if not state.roster.is_alive(session) or _refused_to_read(state, session, message.request, room):
        return
    if room.name not in session.open and len(session.open) >= state.settings.limits.open_rooms:
        text = f"a session follows at most {state.settings.limits.open_rooms} rooms"
        state.refuse_now(session.peer, message.request, Code.TOO_MANY_OPEN, text)
        return
    if message.cursor is not None and _refused_cursor(state, session, message.request, room, message.cursor):
        return
    first = state.log.read(room.name, room.stored, 1).first
    state.enter_room(session, room.name)
    state.feed.pull_beacons(room.name, now.clock)
    feed = state.feed.room(room.name)
    feed.holders.add(session.account.id)
    present = state.roster.present(room.name)
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
            presence=feed.presence,
            count=len(present),
            names=present.names(limit=NAMES_PER_MESSAGE_MAX),
        ),
    )


def close(state: State, session: Session, message: Close) -> None:
    name = state.room_id(session.account.id, message.room)
    if name is not None:
        state.exit_room(session, name)
    state.reply_now(session.peer, Done(message.request))


def fetch(state: State, session: Session, message: Fetch) -> None:
    room = state.rooms.get(state.room_id(session.account.id, message.room) or "")
    if room is None or _refused_to_read(state, session, message.request, room):
        if room is None:
            text = f"there is no room {message.room}"
            state.refuse_now(session.peer, message.request, Code.NO_SUCH_ROOM, text)
        return
    if _refused_cursor(state, session, message.request, room, message.cursor):
        return
    span = state.log.read(room.name, message.cursor.seq, message.limit)
    state.reply_now(session.peer, Page(message.request, room.name, span.first, span.head, span.entries))


def who(state: State, session: Session, message: Who) -> None:
    if not message.room:
        present, version = state.roster.everyone, 0
    else:
        room = state.readable(session.account.id, message.room)
        if room is None:
            text = f"there is no room {message.room}"
            state.refuse_now(session.peer, message.request, Code.NO_SUCH_ROOM, text)
            return
        present, version = state.roster.present(room.name), state.feed.room(room.name).presence
    names = present.names(message.after, NAMES_PER_MESSAGE_MAX + 1)
    more = len(names) > NAMES_PER_MESSAGE_MAX
    state.reply_now(
        session.peer,
        Users(message.request, message.room, version, len(present), names[:NAMES_PER_MESSAGE_MAX], more),
    )


def rooms(state: State, session: Session, message: Rooms) -> None:
    account = session.account.id
    mine = state.rooms.of_account(account)
    seen = {RoomKind.PUBLIC}
    if session.account.role is Role.OPERATOR:
        seen.add(RoomKind.PRIVATE)
    names = sorted(
        room.name
        for room in state.rooms
        if room.name > message.after and (room.kind in seen or room.name in mine)
    )
    infos = []
    for name in names[:ROOMS_PER_PAGE]:
        room = state.rooms[name]
        count = len(state.roster.present(name))
        infos.append(RoomInfo(name, room.title(account), room.kind, room.stored, count, name in mine))
    state.reply_now(session.peer, RoomList(message.request, infos, len(names) > ROOMS_PER_PAGE))


def _refused_to_read(state: State, session: Session, request: int, room: Room) -> bool:
    if room.may_read(session.account.id):
        return False
    text = f"there is no room {room.name}; /rooms lists them, /create {room.name} makes it"
    state.refuse_now(session.peer, request, Code.NO_SUCH_ROOM, text)
    return True


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
