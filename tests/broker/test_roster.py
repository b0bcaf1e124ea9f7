"""Sessions: how long they live unheard, who is present where, and how much each may say."""

from __future__ import annotations

import random

import pytest

from chat_broker.accounts import Account, Role
from chat_broker.roster import Allowance, Presence, Roster, Session

LEASE_S = 15.0


def account(number: int, name: str = "", role: Role = Role.MEMBER) -> Account:
    return Account(number, name or f"person{number}", {}, role)


def session(number: int, who: Account | None = None) -> Session:
    mark = number.to_bytes(16, "big")
    return Session(b"peer%d" % number, bytes(32), who or account(number), mark, mark, mark)


def roster_of(*sessions: Session) -> Roster:
    roster = Roster(LEASE_S)
    roster.advance(100.0)
    for one in sessions:
        roster.add(one)
    return roster


def run(roster: Roster, start: float, seconds: float, step: float = 0.5) -> float:
    """The broker runs and ticks."""
    end = start + seconds
    while start < end:
        start = min(end, start + step)
        roster.advance(start)
    return start


# ---------------------------------------------------------------------- leases


def test_a_session_ends_when_it_was_not_heard_for_a_lease() -> None:
    one, two = session(1), session(2)
    roster = roster_of(one, two)
    clock = run(roster, 100.0, 10.0)
    roster.hear(two)
    clock = run(roster, clock, 4.9)
    assert roster.expired() == []
    clock = run(roster, clock, 0.1)
    assert roster.expired() == [one]
    run(roster, clock, 10.0)
    assert roster.expired() == [one, two]


def test_who_is_heard_hides_nobody_who_is_not() -> None:
    one, two, three = session(1), session(2), session(3)
    roster = roster_of(one, two, three)
    clock = run(roster, 100.0, 10.0)
    roster.hear(one)
    roster.hear(three)
    run(roster, clock, 5.0)
    assert roster.expired() == [two]


@pytest.mark.parametrize("pause_s", [2.0, 60.0, 86_400.0, -3_600.0])
def test_time_in_which_the_broker_did_not_run_ages_nobody(pause_s: float) -> None:
    roster = roster_of(session(1))
    clock = run(roster, 100.0, 13.0)
    roster.advance(clock + pause_s)
    assert roster.expired() == []


def test_a_roster_remembers_a_session_under_everything_until_it_is_dropped() -> None:
    one = session(1)
    roster = roster_of(one)
    found = (roster.at(one.peer), roster.instance(1, one.instance), roster.of_account(1))
    assert found == (one, one, [one])
    assert roster.has_feed_token(one.feed_token)
    assert roster.is_alive(one)
    roster.drop(one)
    found = (roster.at(one.peer), roster.instance(1, one.instance), roster.of_account(1))
    assert found == (None, None, [])
    assert not roster.has_feed_token(one.feed_token)
    assert not roster.is_alive(one)
    assert len(roster) == 0


def test_an_instance_is_one_only_together_with_its_account() -> None:
    one = session(1)
    assert roster_of(one).instance(2, one.instance) is None


# ---------------------------------------------------------------------- presence


def test_an_account_is_present_from_its_first_session_to_its_last() -> None:
    alice = account(1)
    presence = Presence()
    assert [presence.come(alice), presence.come(alice)] == [True, False]
    assert [presence.go(alice), len(presence), presence.go(alice), len(presence)] == [False, 1, True, 0]


def test_names_are_told_in_order_and_in_pages() -> None:
    presence, rng = Presence(), random.Random(1)
    people = [account(number, f"name{number:03}") for number in range(250)]
    rng.shuffle(people)
    for person in people:
        presence.come(person)
    gone = people[:50]
    for person in gone:
        presence.go(person)
    told: list[str] = []
    while page := presence.names(told[-1] if told else "", 60):
        told += page
    assert told == sorted(person.name for person in people[50:])
    assert presence.names("zzz") == []


def test_the_rooms_of_a_session_hear_of_it_once_for_each_account() -> None:
    alice = account(1)
    laptop, phone = session(1, alice), session(2, alice)
    roster = roster_of(laptop, phone)
    assert [roster.enter(laptop, "#a"), roster.enter(laptop, "#a"), roster.enter(phone, "#a")] == [
        True,
        False,
        False,
    ]
    assert (roster.in_room("#a"), len(roster.present("#a"))) == ([laptop, phone], 1)
    assert [roster.exit(laptop, "#a"), roster.exit(laptop, "#a"), roster.exit(phone, "#a")] == [
        False,
        False,
        True,
    ]
    assert (roster.in_room("#a"), len(roster.present("#a"))) == ([], 0)


def test_the_operators_commands_come_and_go_unseen() -> None:
    operator, alice = session(1, account(1, "operator", Role.OPERATOR)), session(2)
    roster = Roster(LEASE_S)
    assert [roster.add(operator), roster.add(alice)] == [False, True]
    assert roster.everyone.names() == ["person2"]
    assert [roster.drop(operator), roster.drop(alice)] == [False, True]
    assert roster.everyone.names() == []


# ---------------------------------------------------------------------- what may be said


@pytest.mark.parametrize(
    ("spends", "waits"),
    [
        # (at, lines), then how long each has to wait; 10 a second, up to 50
        ([(0, 50), (0, 1)], [0, 0.1]),
        ([(0, 50), (1, 10), (1, 1)], [0, 0, 0.1]),
        ([(0, 20), (0, 40)], [0, 1.0]),
        ([(0, 50), (100, 50), (100, 5)], [0, 0, 0.5]),  # never more than 50
        ([(0, 500), (1, 1), (45, 1), (45.1, 1)], [0, 44.1, 0.1, 0]),  # more than fits is paid back
        ([(0, 50), (0, 500)], [0, 5.0]),
        ([(5, 50), (4, 1)], [0, 0.1]),  # a clock that goes back gives nothing
    ],
)
def test_what_may_be_said_flows_in_at_a_rate_and_up_to_a_burst(
    spends: list[tuple[float, int]], waits: list[float]
) -> None:
    allowance = Allowance()
    assert [allowance.spend(lines, 10, 50, at) for at, lines in spends] == pytest.approx(waits)


def test_what_is_refused_costs_nothing() -> None:
    allowance = Allowance()
    allowance.spend(50, 10, 50, 0.0)
    for _ in range(100):
        assert allowance.spend(1, 10, 50, 0.0) == pytest.approx(0.1)
    assert allowance.spend(1, 10, 50, 0.1) == 0


def test_coming_again_fills_nobodys_allowance() -> None:
    alice = account(1)
    roster = roster_of(first := session(1, alice))
    first.allowance.spend(50, 10, 50, 0.0)
    roster.drop(first)
    roster.add(again := session(2, alice))
    assert again.allowance.spend(1, 10, 50, 0.0) > 0
    roster.add(beside := session(3, alice))
    assert beside.allowance.spend(50, 10, 50, 0.0) == 0, "a second session has one of its own"
    for one in (again, beside):
        roster.drop(one)
    roster.add(other := session(4))
    assert other.allowance.spend(50, 10, 50, 0.0) == 0
