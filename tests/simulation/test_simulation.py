"""Many clients and a broker through minutes of faults, each run from a seed.

`SEED=17 pytest tests/simulation` repeats one run exactly, and shows the whole of it if it fails;
`SEEDS=5000 pytest tests/simulation` runs as many.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable

import pytest

from chat_broker import reading, saying
from chat_broker.feed import Feed, RoomFeed
from chat_broker.marks import Marks
from chat_broker.roster import Session as BrokerSession
from chat_broker.state import State
from chat_client.markers import Markers
from chat_client.outbox import Outbox, Saying
from chat_client.rooms import FollowedRooms
from chat_client.sequencer import Sequencer
from chat_protocol.messages import Entry, Said, Stored
from tests.simulation.history import Violation
from tests.simulation.world import World

SEEDS = int(os.environ.get("SEEDS", "500"))
CHOSEN = os.environ.get("SEED")


@pytest.mark.parametrize("seed", [int(CHOSEN)] if CHOSEN else range(SEEDS))
def test_every_promise_holds(seed: int) -> None:
    World(seed, trace_lines=None if CHOSEN else 150).run()


def test_a_seed_tells_everything_about_a_run() -> None:
    """Also in another process, where sets of strings have another order."""
    script = "from tests.simulation.test_simulation import digest; print(digest(7))"
    environment = {**os.environ, "PYTHONHASHSEED": "17", "PYTHONPATH": os.pathsep.join(["", *sys.path])}
    command = [sys.executable, "-c", script]
    printed = subprocess.check_output(command, env=environment, text=True, timeout=30)
    assert printed.strip() == digest(7) == digest(7)


def digest(seed: int) -> str:
    return hashlib.sha256(World(seed).run().history.trace().encode()).hexdigest()


# --------------------------------------------------------------------------- would it notice?

Break = Callable[[pytest.MonkeyPatch], None]


def publish_before_commit(patch: pytest.MonkeyPatch) -> None:
    flush = State.flush

    def flush_and_publish(self: State) -> None:
        runs = list(self._open.runs)
        flush(self)
        for run in runs:
            self._publish(run)

    patch.setattr(State, "flush", flush_and_publish)


def acknowledge_before_commit(patch: pytest.MonkeyPatch) -> None:
    def said(self: State, session: BrokerSession, stored: list[Stored]) -> None:
        self.reply_now(session.peer, Said(stored[-1].request, self.log.epoch, stored))

    patch.setattr(State, "said", said)


def store_every_request(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(saying, "_answered_before", lambda *_: False)
    patch.setattr(saying, "_is_out_of_turn", lambda *_: False)


def store_in_any_order(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(saying, "_is_out_of_turn", lambda *_: False)


def forget_nothing(patch: pytest.MonkeyPatch) -> None:
    """As if what an instance said a week ago were still known."""
    patch.setattr(saying, "_is_forgotten", lambda *_: False)


def say_again_under_another_id(patch: pytest.MonkeyPatch) -> None:
    def resend_all(self: Outbox) -> None:
        lines = [line for saying in self._unanswered.values() for line in saying.lines]
        self._unanswered.clear()
        self._queue.extendleft(reversed(lines))

    patch.setattr(Outbox, "resend_all", resend_all)


def say_again_as_another_instance(patch: pytest.MonkeyPatch) -> None:
    def new_instance(self: Outbox) -> list[Saying]:
        self.accepted = 0
        return []

    patch.setattr(Outbox, "new_instance", new_instance)


def tell_of_no_heads(patch: pytest.MonkeyPatch) -> None:
    def beacon(self: Feed, feed: RoomFeed, *_: object) -> None:
        feed.beacon_at = None

    patch.setattr(Feed, "_beacon", beacon)
    patch.setattr(FollowedRooms, "pong", lambda *_: None)


def move_on_before_the_gap_is_closed(patch: pytest.MonkeyPatch) -> None:
    def offer(self: Sequencer, entries: list[Entry]) -> list[Entry]:
        shown = [entry for entry in entries if entry.seq > self.cursor]
        self.cursor = max(self.cursor, *(entry.seq for entry in entries)) if entries else self.cursor
        self.saw_head(self.cursor)
        return shown

    patch.setattr(Sequencer, "offer", offer)


def turn_no_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(State, "turn_key", lambda *_: None)


def take_any_cursor(patch: pytest.MonkeyPatch) -> None:
    """As if every history were the same."""
    patch.setattr(reading, "_refused_cursor", lambda *_: False)


def let_changes_cancel_out(patch: pytest.MonkeyPatch) -> None:
    """Presence: as if nobody had been shown who is here meanwhile."""
    patch.setattr(Feed, "picture", lambda self, name: self.room(name).presence)


def let_markers_go_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Marks, "move", lambda *_: True)


def tell_of_markers_before_commit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Marks, "stored", lambda self, key: self._at(key).moved)
    patch.setattr(State, "when_stored", lambda self, peer, session, request, effect: effect(self.now))


def mark_once_and_forget(patch: pytest.MonkeyPatch) -> None:
    """As if no Mark were ever lost."""
    patch.setattr(Markers, "offline", Markers.forget)


@pytest.mark.parametrize(
    ("break_it", "seeds"),
    [
        (publish_before_commit, 3),
        (acknowledge_before_commit, 3),
        (store_every_request, 20),
        (store_in_any_order, 20),
        (forget_nothing, 200),
        (say_again_under_another_id, 20),
        (say_again_as_another_instance, 200),
        (tell_of_no_heads, 20),
        (move_on_before_the_gap_is_closed, 20),
        (turn_no_key, 20),
        (take_any_cursor, 200),
        (let_changes_cancel_out, 200),
        (let_markers_go_back, 20),
        (tell_of_markers_before_commit, 20),
        (mark_once_and_forget, 50),
    ],
)
def test_what_is_broken_is_noticed(monkeypatch: pytest.MonkeyPatch, break_it: Break, seeds: int) -> None:
    """Within this many seeds."""
    break_it(monkeypatch)
    with pytest.raises(Violation):
        run_all(range(seeds))


def run_all(seeds: Iterable[int]) -> None:
    for seed in seeds:
        World(seed).run()
