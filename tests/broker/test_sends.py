"""What is remembered of each instance's sends, how much of it in memory, and for how long."""

from __future__ import annotations

import pytest

from chat_broker.log import Answer, Batch, MemoryLog, OnceKey, Sender, SenderKey
from chat_broker.sends import INSTANCE_KEPT_MS, Sends, new_instance, say_digest

NOW = 1_790_000_000_000
HOUR_MS = 3_600_000
ONCE = OnceKey(1, "#room", b"o" * 16)


def key(number: int = 1, born: int = NOW) -> SenderKey:
    return SenderKey(number, new_instance(born, bytes(8)), "#room")


def answer(first: int = 2) -> Answer:
    return Answer(b"digest..", first, 1, NOW)


def store(log: MemoryLog, sends: Sends, batch: Batch) -> None:
    log.append(batch)
    log.commit()
    sends.stored(batch.ticket)


def test_a_sender_is_as_it_is_after_everything_ahead_stored_or_not() -> None:
    sends = Sends(MemoryLog(), window=3)
    assert sends.sender(key()) == Sender()
    sends.record(key(), {5: answer()}, ticket=1)
    assert sends.sender(key()).last == 5
    sends.forget()
    assert sends.sender(key()) == Sender(), "what was not stored is forgotten with its batch"


def test_answers_are_kept_as_long_as_the_window_is() -> None:
    sends = Sends(MemoryLog(), window=3)
    sends.sender(key())
    for request in (1, 4, 5, 9):
        sends.record(key(), {request: answer(request)}, ticket=1)
    assert list(sends.sender(key()).answers) == [4, 5, 9]
    assert sends.sender(key()).last == 9


def test_what_a_sender_was_answered_is_stored_when_its_newest_batch_is() -> None:
    sends = Sends(MemoryLog(), window=3)
    assert sends.is_stored(key())
    sends.sender(key())
    sends.record(key(), {1: answer()}, ticket=1)
    sends.record(key(), {2: answer()}, ticket=2)
    assert not sends.is_stored(key())
    sends.stored(1)
    assert not sends.is_stored(key())
    sends.stored(2)
    assert sends.is_stored(key())


def test_only_so_many_senders_are_kept_in_memory_and_the_log_has_the_others() -> None:
    log = MemoryLog()
    sends = Sends(log, window=3, cached_max=10)
    for number in range(1, 101):
        sends.sender(key(number))
        batch = Batch(number, NOW)
        batch.senders[key(number)] = sends.record(key(number), {number: answer()}, batch.ticket)
        store(log, sends, batch)
    assert len(sends._cache) == 10
    assert [sends.sender(key(number)).last for number in range(1, 101)] == list(range(1, 101))


def test_senders_of_which_nothing_is_stored_do_not_pile_up_either() -> None:
    """Whoever is refused again and again, under ever new instances, fills nothing."""
    sends = Sends(MemoryLog(), window=3, cached_max=10)
    for number in range(1_000):
        sends.sender(key(number))
    assert len(sends._cache) == 10


def test_a_sender_whose_newest_answer_is_not_stored_stays() -> None:
    sends = Sends(MemoryLog(), window=3, cached_max=10)
    sends.sender(key(0))
    sends.record(key(0), {7: answer()}, ticket=1)
    for number in range(1, 100):
        sends.sender(key(number))
    assert sends.sender(key(0)).last == 7


def test_the_senders_not_used_for_longest_go_first() -> None:
    log = MemoryLog()
    sends = Sends(log, window=3, cached_max=2)
    for number in (1, 2, 1, 3):
        sends.sender(key(number))
    assert list(sends._cache) == [key(1), key(3)]


def test_a_once_key_is_known_before_and_after_its_batch_is_stored() -> None:
    log = MemoryLog()
    sends = Sends(log, window=3)
    assert sends.once(ONCE) is None
    batch = Batch(1, NOW, onces={ONCE: answer()})
    sends.record_once(ONCE, answer(), batch.ticket)
    assert sends.once(ONCE) == answer()
    store(log, sends, batch)
    assert not sends._onces
    assert sends.once(ONCE) == answer()


@pytest.mark.parametrize(
    ("age_ms", "last", "forgotten"),
    [
        (0, 0, False),
        (INSTANCE_KEPT_MS, 0, False),
        (INSTANCE_KEPT_MS + 1, 0, True),
        (INSTANCE_KEPT_MS + 1, 5, False),  # it is known
        (100 * INSTANCE_KEPT_MS, 0, True),
        (-HOUR_MS, 0, False),  # the broker's clock was set back a little
        (-HOUR_MS - 1, 0, True),  # nobody is born tomorrow
    ],
)
def test_an_unknown_instance_that_may_have_said_something_long_ago_is_forgotten(
    age_ms: int, last: int, forgotten: bool
) -> None:
    sends = Sends(MemoryLog(), window=3)
    one = key(born=NOW - age_ms)
    sends.sender(one)
    if last:
        sends.record(one, {last: answer()}, ticket=1)
    assert sends.is_forgotten(one, NOW) is forgotten


def test_any_sixteen_bytes_may_be_somebodys_instance() -> None:
    sends = Sends(MemoryLog(), window=3)
    for instance in (bytes(16), b"\xff" * 16, bytes(range(16))):
        assert sends.is_forgotten(SenderKey(1, instance, "#room"), NOW)


def digest(lines: list[str], once: bytes | None = None) -> bytes:
    return say_digest(lines, once)


@pytest.mark.parametrize(
    "other",
    [
        digest(["a", "c"]),
        digest(["ab"]),
        digest(["a", "b", ""]),
        digest(["a", "b"], bytes(16)),
        digest(["a", "b"], b"o" * 16),
    ],
)
def test_says_are_the_same_by_their_lines_and_once_key(other: bytes) -> None:
    assert digest(["a", "b"]) == digest(["a", "b"])
    assert digest(["a", "b"]) != other


def test_several_says_are_recorded_at_once() -> None:
    sends = Sends(MemoryLog(), window=3)
    sends.sender(key())
    sender = sends.record(key(), {request: answer(request) for request in (1, 2, 5, 7)}, ticket=1)
    assert sender.last == 7
    assert list(sender.answers) == [2, 5, 7]
