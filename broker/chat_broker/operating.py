"""Handlers: what only the operator may do."""

from __future__ import annotations

from chat_broker.accounts import Account, RateSet, Role, Ruling, ServerKind
from chat_broker.joining import shut_out
from chat_broker.roster import Session
from chat_broker.state import State
from chat_protocol.errors import Code
from chat_protocol.messages import Backup, Ban, Done, Rate, Report, Status, Unban


def status(state: State, session: Session, message: Status) -> None:
    head = sum(room.stored for room in state.rooms)
    figures: list[tuple[str, str | int | float]] = [
        ("software", state.settings.software),
        ("epoch", state.log.epoch.hex()),
        ("up_s", round(state.now.clock - state.started.clock)),
        ("accounts", len(state.accounts.by_id)),
        ("connected", len(state.roster.everyone)),
        ("sessions", len(state.roster)),
        ("rooms", len(state.rooms)),
        ("entries", head),
        ("lines_since_start", state.lines_stored),
        ("open_door", "yes" if state.settings.open else "no"),
        ("storage", str(state.storage_error) if state.storage_error else "ok"),
    ]
    state.reply_now(session.peer, Report(message.request, figures))


def backup(state: State, session: Session, message: Backup) -> None:
    ticket = state.next_ticket()
    state.backups[ticket] = (session.peer, session, message.request)
    state.note("backup", path=message.path)
    state.log.backup(message.path, ticket)


def ban(state: State, session: Session, message: Ban) -> None:
    account = _named(state, session, message.request, message.name)
    if account is None:
        return
    if account.role is Role.OPERATOR:
        text = "the operator cannot be banned"
        state.refuse(session.peer, session, message.request, Code.NOT_ALLOWED, text)
        return
    if not account.banned:
        state.propose_server(ServerKind.BANNED, Ruling(account.id), session.account)
        shut_out(state, account, None, Code.BANNED, "you are banned from this broker")
        state.note("banned", name=account.name)
    state.reply(session.peer, session, Done(message.request))


def unban(state: State, session: Session, message: Unban) -> None:
    account = _named(state, session, message.request, message.name)
    if account is None:
        return
    if account.banned:
        state.propose_server(ServerKind.UNBANNED, Ruling(account.id), session.account)
        state.note("unbanned", name=account.name)
    state.reply(session.peer, session, Done(message.request))


def rate(state: State, session: Session, message: Rate) -> None:
    account = _named(state, session, message.request, message.name)
    if account is None:
        return
    state.propose_server(ServerKind.RATE, RateSet(account.id, message.lines_per_s), session.account)
    state.reply(session.peer, session, Done(message.request))


def _named(state: State, session: Session, request: int, name: str) -> Account | None:
    account = state.accounts.named(name)
    if account is None:
        text = f"nobody is called {name} here"
        state.refuse(session.peer, session, request, Code.NO_SUCH_ACCOUNT, text)
    return account
