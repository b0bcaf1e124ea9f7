"""Core: the hub. Messages and the time go in; replies, feed messages and the next deadline come out.

The shell's round: `receive` everything that waits, then `flush` (one batch to the log), then `tick`,
then send what `take` gives, then sleep until `next_deadline`, a message or a result of the log; on the
latter, `log_results` first. The hub opens no socket and reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from chat_broker.accounts import OPERATOR, AccountMade, KeyChange, Role, ServerKind
from chat_broker.clock import Now
from chat_broker.commands import COMMANDS, Command, May
from chat_broker.feed import Feed
from chat_broker.log import Log
from chat_broker.roster import STALL_S, Session
from chat_broker.settings import Settings
from chat_broker.state import State, no_storage
from chat_protocol.envelope import Sealer
from chat_protocol.errors import BadFrame, Code, StorageError
from chat_protocol.messages import LOBBY, AnyRequest, Message, RoomKind, Say, SessionRequest


@dataclass(slots=True)
class Outgoing:
    """What the hub wants done: `replies` to ROUTER, `feed` to PUB, `notes` to the broker's own log."""

    replies: list[tuple[bytes, Message]]
    feed: list[tuple[bytes, bytes]]
    notes: list[tuple[str, dict[str, object]]]


class Hub:
    """The broker without its sockets. `random(n)` gives n unpredictable bytes."""

    def __init__(
        self,
        log: Log,
        sealer: Sealer,
        random: Callable[[int], bytes],
        now: Now,
        settings: Settings | None = None,
    ) -> None:
        self.state = State(log, Feed(random(8), sealer, random), settings or Settings(), random, now)
        self._operator_key = b""

    def found(self, operator_key: bytes, process_invite: bytes | None) -> None:
        """Begin to serve: the operator's account and the lobby are made where they are missing."""
        self._operator_key = operator_key
        self.state.process_invite = process_invite
        self._found()

    def _found(self) -> None:
        state, key = self.state, self._operator_key
        operator = state.accounts.named(OPERATOR)
        if operator is None:
            made = AccountMade(OPERATOR, key, Role.OPERATOR)
            operator = state.accounts.by_id[state.propose_server(ServerKind.ACCOUNT, made).seq]
        elif key not in operator.keys:
            state.propose_server(ServerKind.KEY_ADDED, KeyChange(operator.id, key), operator)
        if state.rooms.get(LOBBY) is None:
            state.make_room(LOBBY, RoomKind.PUBLIC, [], operator)
        state.flush()

    @property
    def _is_founded(self) -> bool:
        return not self._operator_key or self.state.rooms.get(LOBBY) is not None

    # ------------------------------------------------------------------ who gets past the handshake

    def admits(self, key: bytes, now: Now) -> bool:
        """Whether a public key may connect to the command socket."""
        state = self._advance(now)
        account = state.accounts.by_key.get(key)
        if account is not None:
            return not account.banned
        return (
            state.settings.open
            or key == state.process_invite
            or state.accounts.live_invite(key, state.now.wall) is not None
        )

    def admits_feed(self, token: bytes) -> bool:
        """Whether a feed token is a live session's."""
        return self.state.roster.has_feed_token(token)

    # ------------------------------------------------------------------ messages and time

    def receive(self, peer: bytes, key: bytes, message: AnyRequest, now: Now) -> None:
        """One request from the connection with this routing id and this CURVE key."""
        self.receive_all(peer, key, [message], now)

    def receive_all(
        self, peer: bytes, key: bytes, requests: Sequence[AnyRequest | BadFrame], now: Now
    ) -> None:
        """Requests from one connection, in the order in which they came, some of them not to be read. What
        has become much goes to the log at once, which then works while the rest is judged."""
        state = self._advance(now)
        for run in _in_runs(requests):
            if isinstance(run, BadFrame):
                self.receive_bad(peer, run, now)
            else:
                self._receive(peer, key, run)
        if state.has_much_to_store:
            state.flush()

    def _receive(self, peer: bytes, key: bytes, run: list[AnyRequest]) -> None:
        message = run[0]
        command = COMMANDS[type(message)]
        session = self._session(peer, message)
        if session is None and command.may is not May.CONNECTION:
            text = "say Hello first: this connection has no such session"
            for message in run:
                self.state.refuse_now(peer, message.request, Code.UNKNOWN_SESSION, text)
            return
        if session is not None:
            self.state.roster.hear(session)
        if len(run) > 1 and not self._have_room(session, len(run)):
            for message in run:
                self._receive(peer, key, [message])
        elif self._may_ask(command, peer, session, message):
            self._handle(command, peer, key, session, run)

    def receive_bad(self, peer: bytes, error: BadFrame, now: Now) -> None:
        """Something that is no message came from this connection."""
        self._advance(now).refuse_now(peer, error.request, error.code, str(error)[:200])

    def flush(self, now: Now) -> None:
        """The queue is drained: what was proposed goes to the log as one batch."""
        self._advance(now).flush()

    def log_results(self, now: Now) -> None:
        """The log has results."""
        state = self._advance(now)
        state.take_results()
        state.flush()

    def tick(self, now: Now) -> None:
        """Do what is due: leases, beacons, presence notices."""
        state = self._advance(now)
        if not self._is_founded and now.clock >= state.storage_retry_at:
            self._found()
        for session in state.roster.expired():
            text = f"nothing was heard from this client for {state.roster.lease_s:g} s"
            state.end_session(session, Code.EXPIRED, text)
        state.feed.tick(
            now.clock,
            lambda name: state.rooms[name].stored,
            lambda name: len(state.roster.present(name)),
        )

    def next_deadline(self) -> float | None:
        """On the monotonic clock; None when nothing is planned."""
        deadlines = [self.state.feed.next_deadline()]
        if len(self.state.roster):
            deadlines.append(self.state.now.clock + STALL_S / 2)
        if not self._is_founded:
            deadlines.append(self.state.storage_retry_at)
        return min((at for at in deadlines if at is not None), default=None)

    @property
    def is_storing(self) -> bool:
        """Whether the log still has something to store."""
        return self.state.is_storing

    def stop(self, now: Now) -> None:
        """Say goodbye to everyone. What was taken is stored before: the shell has flushed and waited."""
        state = self._advance(now)
        for session in state.roster:
            state.end_session(session, Code.SHUTTING_DOWN, "the broker is stopping")

    def take(self) -> Outgoing:
        """What is to be done now; each thing once."""
        state = self.state
        outgoing = Outgoing(state.replies, state.feed.outgoing, state.notes)
        state.replies, state.feed.outgoing, state.notes = [], [], []
        state.sent()
        return outgoing

    # ------------------------------------------------------------------

    def _advance(self, now: Now) -> State:
        self.state.now = now
        self.state.roster.advance(now.clock)
        return self.state

    def _session(self, peer: bytes, message: AnyRequest) -> Session | None:
        """The session a request speaks for: its token counts only on the connection of its Hello."""
        session = self.state.roster.at(peer)
        if session is None or not isinstance(message, SessionRequest) or message.token != session.token:
            return None
        return session

    def _have_room(self, session: Session | None, count: int) -> bool:
        """Whether so many requests may wait for the log; if not, each is answered by itself."""
        return (
            session is not None
            and session.in_flight + count <= self.state.settings.limits.requests_in_flight
            and not session.account.banned
            and session.key in session.account.keys
        )

    def _may_ask(self, command: Command, peer: bytes, session: Session | None, message: AnyRequest) -> bool:
        """Whether the handler is to see this request; refuses it if not."""
        state, request = self.state, message.request
        if session is not None:
            if state.is_shut_out(session, request):
                return False
            if command.may is May.OPERATOR and session.account.role is not Role.OPERATOR:
                state.refuse_now(peer, request, Code.NOT_ALLOWED, "only the operator may do this")
                return False
        if command.always:
            return True
        in_flight_max = state.settings.limits.requests_in_flight
        if session is not None and session.in_flight >= in_flight_max:
            text = f"more than {in_flight_max} requests wait for their answers"
            state.refuse_now(peer, request, Code.TOO_MANY_IN_FLIGHT, text, retry_ms=100)
            return False
        if state.pending_bytes > state.settings.pending_bytes_max:
            state.refuse_now(peer, request, Code.BUSY, "the broker is catching up", retry_ms=200)
            return False
        if command.writes:
            return not state.is_log_down(peer, request) and (
                session is None or state.may_spend(session, request, 1)
            )
        return True

    def _is_still_in(self, session: Session, request: int) -> bool:
        """Whether a session whose request waited may still be answered; refuses it if it was shut out."""
        return self.state.roster.is_alive(session) and not self.state.is_shut_out(session, request)

    def _handle(
        self, command: Command, peer: bytes, key: bytes, session: Session | None, run: list[AnyRequest]
    ) -> None:
        state, message = self.state, run[0]

        def handle() -> None:
            if session is None:
                command.handle(state, peer, key, message)
            else:
                command.handle(state, session, run if command.together else message)

        def handle_later(_: Now) -> None:
            if session is None or self._is_still_in(session, message.request):
                handle()

        if command.settled:
            state.when_settled(peer, session, message.request, handle_later)
            return
        try:
            handle()
        except StorageError as error:
            state.note("storage_failed", code=str(error.code), text=str(error))
            for message in run:
                state.refuse_now(peer, message.request, error.code, no_storage(error.code), retry_ms=1_000)


def _in_runs(requests: Sequence[AnyRequest | BadFrame]) -> Iterator[list[AnyRequest] | BadFrame]:
    """Says of one session into one room that came in a row; everything else by itself."""
    run: list[AnyRequest] = []
    of: tuple[bytes, str] | None = None  # the run's session and room
    for request in requests:
        now_of = (request.token, request.room) if type(request) is Say else None
        if run and (now_of is None or now_of != of):
            yield run
            run = []
        if isinstance(request, BadFrame):
            yield request
        else:
            run.append(request)
        of = now_of
    if run:
        yield run
