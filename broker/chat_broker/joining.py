"""Handlers: coming in and going: Enroll, Hello, Ping, Bye, and the keys of an account."""

from __future__ import annotations

from chat_broker.accounts import (
    DEVICE_INVITES_MAX,
    KEYS_PER_ACCOUNT_MAX,
    Account,
    AccountMade,
    InviteMade,
    InviteUsed,
    KeyChange,
    LiveInvite,
    Role,
    ServerKind,
)
from chat_broker.roster import Session
from chat_broker.sends import new_instance
from chat_broker.state import State
from chat_protocol.errors import BadName, Code
from chat_protocol.messages import (
    Bye,
    DeviceInfo,
    DeviceList,
    Devices,
    Done,
    Enroll,
    Enrolled,
    Goodbye,
    Hello,
    Invite,
    Ping,
    Pong,
    Revoke,
    RoomHead,
    Welcome,
)
from chat_protocol.names import check_name


def enroll(state: State, peer: bytes, key: bytes, message: Enroll) -> None:
    """Make an account, or add a key to one. `key` is the connection's own: an invite's or the new one."""
    known = state.accounts.by_key.get(message.key)
    if known is not None:
        if known.banned:
            state.refuse(peer, None, message.request, Code.BANNED, f"{known.name} is banned here")
        elif known.name.lower() == message.name.lower():
            state.reply(peer, None, Enrolled(message.request, known.id, known.name))
        else:
            state.refuse(peer, None, message.request, Code.WRONG_NAME, f"this key belongs to {known.name}")
        return
    if message.key == state.process_invite or message.key in state.accounts.invites:
        text = "the key of an invite is nobody's own; make a new one"
        state.refuse(peer, None, message.request, Code.NOT_ALLOWED, text)
        return
    invite = state.accounts.live_invite(key, state.now.wall)
    by_own_key = state.settings.open and key == message.key
    if invite is None and key != state.process_invite and not by_own_key:
        text = "this invite is used up, expired or withdrawn; ask the operator for a new one"
        state.refuse(peer, None, message.request, Code.INVITE_INVALID, text)
    elif invite is not None and invite.account:
        _add_device(state, peer, key, message, invite)
    else:
        _make_account(state, peer, key if invite else None, message)


def _add_device(state: State, peer: bytes, key: bytes, message: Enroll, invite: LiveInvite) -> None:
    account = state.accounts.by_id[invite.account]
    if account.name.lower() != message.name.lower():
        text = f"this invite adds a device to {account.name}; start with --name {account.name}"
        state.refuse(peer, None, message.request, Code.WRONG_NAME, text)
    elif account.banned:
        state.refuse(peer, None, message.request, Code.BANNED, f"{account.name} is banned here")
    elif len(account.keys) >= KEYS_PER_ACCOUNT_MAX:
        text = f"{account.name} has {KEYS_PER_ACCOUNT_MAX} keys already; revoke one first"
        state.refuse(peer, None, message.request, Code.TOO_MANY_KEYS, text)
    else:
        state.propose_server(ServerKind.KEY_ADDED, KeyChange(account.id, message.key), account)
        state.propose_server(ServerKind.INVITE_USED, InviteUsed(key), account)
        state.note("device_added", name=account.name)
        state.reply(peer, None, Enrolled(message.request, account.id, account.name))


def _make_account(state: State, peer: bytes, invite: bytes | None, message: Enroll) -> None:
    try:
        name = check_name(message.name)
    except BadName as error:
        state.refuse(peer, None, message.request, Code.BAD_NAME, str(error))
        return
    other = state.accounts.looks_like(name)
    if other is not None:
        same = other.name.lower() == name.lower()
        text = f"the name {name} is taken" if same else f"the name {name} looks too much like {other.name}"
        state.refuse(peer, None, message.request, Code.NAME_TAKEN, f"{text}; choose another")
        return
    if len(state.accounts.by_id) >= state.settings.accounts_max:
        state.refuse(peer, None, message.request, Code.BUSY, "this broker takes no more accounts")
        return
    entry = state.propose_server(ServerKind.ACCOUNT, AccountMade(name, message.key))
    if invite is not None:
        state.propose_server(ServerKind.INVITE_USED, InviteUsed(invite))
    state.note("enrolled", name=name)
    state.reply(peer, None, Enrolled(message.request, entry.seq, name))


def hello(state: State, peer: bytes, key: bytes, message: Hello) -> None:
    """Begin a session, or take an instance's earlier one over."""
    if not state.accounts.is_settled(key):  # what there is to say of it is not stored yet
        state.when_settled(peer, None, message.request, lambda now: hello(state, peer, key, message))
        return
    account = state.accounts.by_key.get(key)
    if account is None:
        is_invite = key == state.process_invite or state.accounts.live_invite(key, state.now.wall)
        code = Code.INVITE_ONLY if is_invite else Code.NOT_ENROLLED
        text = "an invite is good for Enroll only" if is_invite else "this key has no account here"
        state.refuse_now(peer, message.request, code, text)
        return
    if account.banned:
        state.refuse_now(peer, message.request, Code.BANNED, f"{account.name} is banned here")
        return
    if account.name.lower() != message.name.lower():
        text = f"this key belongs to {account.name}, not to {message.name}"
        state.refuse_now(peer, message.request, Code.WRONG_NAME, text)
        return
    earlier = _earlier(state, peer, account, message.instance)
    if any(old.hello > message.request for old in earlier if old.peer != peer):
        # It was on its way on an old connection when the new one had begun its session already.
        text = "this client has connected again elsewhere"
        state.refuse_now(peer, message.request, Code.REPLACED, text)
        return
    if not earlier and len(state.roster.of_account(account.id)) >= state.settings.sessions_per_account:
        text = f"{account.name} has too many sessions"
        state.refuse_now(peer, message.request, Code.BUSY, text, retry_ms=5_000)
        return
    session = _take_over(state, earlier, peer, key, account, message.instance)
    session.hello = message.request
    state.reply_now(peer, _welcome(state, session, message.request))


def _earlier(state: State, peer: bytes, account: Account, instance: bytes | None) -> list[Session]:
    """The sessions that a Hello ends: this connection's earlier one, and this instance's."""
    found = [state.roster.at(peer), state.roster.instance(account.id, instance) if instance else None]
    return list(dict.fromkeys(session for session in found if session is not None))


def _take_over(
    state: State, earlier: list[Session], peer: bytes, key: bytes, account: Account, instance: bytes | None
) -> Session:
    """A session in place of earlier ones. Rooms stay open across the change, so that nobody sees the
    account go and come."""
    instance = instance or new_instance(state.now.wall, state.random(8))
    session = Session(peer, key, account, instance, state.random(16), state.random(16))
    rooms: dict[str, None] = {}
    for old in earlier:
        rooms |= old.open if old.account is account else {}
        _retire(state, old, session)
    if state.roster.add(session) and not earlier:
        state.note("came", name=account.name)
    for room in rooms:
        state.enter_room(session, room)
    return session


def _retire(state: State, old: Session, new: Session) -> None:
    for room in list(old.open):
        state.exit_room(old, room)
    state.roster.drop(old)
    if old.peer != new.peer:
        state.reply_now(old.peer, Goodbye(0, Code.REPLACED, "this client has connected again elsewhere"))


def _welcome(state: State, session: Session, request: int) -> Welcome:
    settings = state.settings
    limits = settings.limits
    return Welcome(
        request,
        token=session.token,
        instance=session.instance,
        account=session.account.id,
        name=session.account.name,
        feed_token=session.feed_token,
        verify_key=state.feed.sealer.verify_key,
        run=state.feed.run,
        epoch=state.log.epoch,
        limits=limits,
        ping_s=settings.ping_s,
        lease_s=settings.lease_s,
        feed_host=settings.feed_host,
        feed_port=settings.feed_port,
        now=state.now.wall,
        software=settings.software,
    )


def ping(state: State, session: Session, message: Ping) -> None:
    heads = []
    for name in session.open:
        feed = state.feed.room(name)
        heads.append(RoomHead(name, state.rooms[name].stored, feed.generation, feed.presence))
    state.reply_now(session.peer, Pong(message.request, state.now.wall, heads))


def bye(state: State, session: Session, message: Bye) -> None:
    state.reply_now(session.peer, Done(message.request))
    state.end_session(session, Code.LEFT, "", tell=False)


def invite(state: State, session: Session, message: Invite) -> None:
    """Whoever asks holds the secret; only the public key is kept."""
    account = session.account
    if not message.device and account.role is not Role.OPERATOR:
        text = "only the operator invites newcomers (chat-broker invite); --device adds a device of your own"
        state.refuse(session.peer, session, message.request, Code.NOT_ALLOWED, text)
        return
    bound = account.id if message.device else 0
    existing = state.accounts.invites.get(message.key)
    if existing is not None and (existing.by, existing.account) == (account.id, bound):
        state.reply(session.peer, session, Done(message.request))  # the same request again
    elif existing is not None or message.key in state.accounts.by_key or message.key == state.process_invite:
        text = "this key is in use; make a new one for each invite"
        state.refuse(session.peer, session, message.request, Code.NOT_ALLOWED, text)
    elif bound and state.accounts.device_invites(bound, state.now.wall) >= DEVICE_INVITES_MAX:
        text = f"{DEVICE_INVITES_MAX} invites for your devices are waiting; use one, or let them expire"
        state.refuse(session.peer, session, message.request, Code.TOO_MANY_KEYS, text)
    else:
        expires = state.now.wall + message.expires_s * 1000
        made = InviteMade(message.key, message.uses, expires, bound)
        state.propose_server(ServerKind.INVITE, made, account)
        state.note("invited", by=account.name, uses=message.uses, device=message.device)
        state.reply(session.peer, session, Done(message.request))


def devices(state: State, session: Session, message: Devices) -> None:
    keys = [DeviceInfo(key, added, key == session.key) for key, added in session.account.keys.items()]
    state.reply(session.peer, session, DeviceList(message.request, keys))


def revoke(state: State, session: Session, message: Revoke) -> None:
    """The key opens nothing any more: its sessions end, and the rooms it could read turn their keys."""
    owner = state.accounts.by_key.get(message.key)
    if owner is None or (owner is not session.account and session.account.role is not Role.OPERATOR):
        state.refuse(
            session.peer, session, message.request, Code.NOT_ALLOWED, "this is no key of your account"
        )
        return
    if len(owner.keys) == 1 and owner.role is Role.OPERATOR:
        state.refuse(
            session.peer, session, message.request, Code.NOT_ALLOWED, "the operator's only key stays"
        )
        return
    state.propose_server(ServerKind.KEY_REVOKED, KeyChange(owner.id, message.key), session.account)
    state.reply(session.peer, session, Done(message.request))
    shut_out(state, owner, message.key, Code.REVOKED, "this key was revoked")
    state.note("key_revoked", name=owner.name, by=session.account.name)


def shut_out(state: State, account: Account, key: bytes | None, code: Code, text: str) -> None:
    """When what was proposed is stored, end the account's sessions (those of one key, if given); the
    keys of rooms it could read turn with it."""
    for room in state.feed.held_by(account.id):
        state.turn_key(room)

    def end(_: object) -> None:
        for session in state.roster.of_account(account.id):
            if key is None or session.key == key:
                state.end_session(session, code, text)

    state.when_stored(b"", None, 0, end)
