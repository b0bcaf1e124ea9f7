"""Handlers: making rooms, and who belongs to them."""

from __future__ import annotations

from chat_broker.accounts import Account
from chat_broker.rooms import Room
from chat_broker.roster import Session
from chat_broker.state import State, no_such_room
from chat_protocol.errors import BadName, Code
from chat_protocol.messages import (
    Add,
    Added,
    Create,
    Done,
    EntryKind,
    Leave,
    Membership,
    Remove,
    RoomKind,
)
from chat_protocol.names import check_room, direct_accounts


def find(state: State, session: Session, request: int, ref: str) -> str | None:
    """The id of the room that a reference means to this session; refuses what is none to it. A direct
    room may not be there yet: `reach` makes it."""
    account = session.account
    name = state.room_id(account.id, ref)
    pair = direct_accounts(name) if name else None
    if name is None or (pair and account.id in pair and not all(one in state.accounts.by_id for one in pair)):
        text = f"nobody is called {ref[1:]} here"
        state.refuse(session.peer, session, request, Code.NO_SUCH_ACCOUNT, text)
        return None
    if state.rooms.get(name) is None and (pair is None or account.id not in pair):
        state.refuse(session.peer, session, request, Code.NO_SUCH_ROOM, no_such_room(ref))
        return None
    return name


def reach(state: State, session: Session, request: int, name: str) -> Room | None:
    """The room that `find` found. A direct room is made when it is first reached for; refuses if that
    cannot be."""
    room, account = state.rooms.get(name), session.account
    if room is not None:
        return room
    if account.directs_made >= state.settings.directs_per_account:
        text = f"you have begun {account.directs_made} direct conversations, the most this broker allows"
        state.refuse(session.peer, session, request, Code.TOO_MANY_ROOMS, text)
        return None
    if state.is_log_down(session.peer, request):
        return None
    members = [state.accounts.by_id[one] for one in dict.fromkeys(direct_accounts(name) or ())]
    room = state.make_room(name, RoomKind.DIRECT, members, account)
    for member in members:
        _announce(state, room, member, account.name, but=session)
    return room


def create(state: State, session: Session, message: Create) -> None:
    account, request = session.account, message.request
    try:
        name = check_room(message.room)
    except BadName as error:
        state.refuse(session.peer, session, request, Code.BAD_NAME, str(error))
        return
    existing = state.rooms.get(name)
    if message.kind is RoomKind.DIRECT:
        text = "a direct room is opened by the other's name: @name"
        state.refuse(session.peer, session, request, Code.NOT_ALLOWED, text)
    elif existing is not None:
        same = existing.kind is message.kind and existing.maker == account.id
        if same and existing.may_say(account.id):
            state.reply(session.peer, session, Done(request))  # the same request again, after a lost answer
        else:
            text = f"the name {name} is taken"
            state.refuse(session.peer, session, request, Code.ROOM_EXISTS, text)
    elif account.rooms_made >= state.settings.limits.rooms_per_account:
        text = f"you have made {account.rooms_made} rooms, the most this broker allows"
        state.refuse(session.peer, session, request, Code.TOO_MANY_ROOMS, text)
    else:
        members = [account] if message.kind is RoomKind.PRIVATE else []
        room = state.make_room(name, message.kind, members, account)
        for member in members:
            _announce(state, room, member, account.name, but=session)
        state.note("room_created", room=name, by=account.name)
        state.reply(session.peer, session, Done(request))


def add(state: State, session: Session, message: Add) -> None:
    room = _private_room(state, session, message.request, message.room)
    if room is None:
        return
    other = _named(state, session, message.request, message.name)
    if other is None:
        return
    if other.id not in room.members:
        member = Membership(other.id, other.name)
        state.propose_event(room.name, EntryKind.ADDED, member, session.account)
        _announce(state, room, other, session.account.name)
    state.reply(session.peer, session, Done(message.request))


def remove(state: State, session: Session, message: Remove) -> None:
    room = _private_room(state, session, message.request, message.room)
    if room is None:
        return
    other = _named(state, session, message.request, message.name)
    if other is None:
        return
    if other is not session.account and room.keeper != session.account.id:
        text = f"only {room.members.get(room.keeper)} removes members of {room.name}"
        state.refuse(session.peer, session, message.request, Code.NOT_ALLOWED, text)
        return
    if other.id in room.members:
        _end_membership(state, session, room, other)
    state.reply(session.peer, session, Done(message.request))


def leave(state: State, session: Session, message: Leave) -> None:
    name = state.room_id(session.account.id, message.room)
    room = state.rooms.get(name or "")
    if room is not None and room.kind is RoomKind.DIRECT:
        text = "a direct conversation cannot be left; close it instead"
        state.refuse(session.peer, session, message.request, Code.NOT_ALLOWED, text)
        return
    if room is not None and session.account.id in room.members:
        _end_membership(state, session, room, session.account)
    state.reply(session.peer, session, Done(message.request))


def _end_membership(state: State, session: Session, room: Room, account: Account) -> None:
    """The entry that ends it goes out under the old key; what follows, under a new one."""
    by = session.account
    state.propose_event(room.name, EntryKind.REMOVED, Membership(account.id, account.name), by)
    state.turn_key(room.name)
    left = account is by
    code = Code.LEFT if left else Code.REMOVED
    text = f"you left {room.name}" if left else f"{by.name} removed you from {room.name}"
    state.note("member_removed", room=room.name, name=account.name, by=by.name)

    def close(_: object) -> None:
        for its in state.roster.of_account(account.id):
            state.close_room(its, room, code, text)

    state.when_stored(b"", None, 0, close)


def _private_room(state: State, session: Session, request: int, ref: str) -> Room | None:
    """The private room of which this session's account is a member, refusing anything else."""
    room = state.rooms.get(ref.lower())
    if room is None or not room.may_say(session.account.id):
        state.refuse(session.peer, session, request, Code.NO_SUCH_ROOM, f"you are in no room {ref}")
    elif room.kind is not RoomKind.PRIVATE:
        text = f"{ref} is not a private room: it has no members to add or remove"
        state.refuse(session.peer, session, request, Code.NOT_ALLOWED, text)
    else:
        return room
    return None


def _named(state: State, session: Session, request: int, name: str) -> Account | None:
    account = state.accounts.named(name)
    if account is None:
        text = f"nobody is called {name} here"
        state.refuse(session.peer, session, request, Code.NO_SUCH_ACCOUNT, text)
    return account


def _announce(state: State, room: Room, account: Account, by: str, *, but: Session | None = None) -> None:
    """When it is stored, tell an account's sessions that they may open a room."""

    def tell(_: object) -> None:
        for session in state.roster.of_account(account.id):
            if session is not but:
                notice = Added(0, room.name, room.title(account.id), room.kind, by)
                state.reply_now(session.peer, notice)

    state.when_stored(b"", None, 0, tell)
