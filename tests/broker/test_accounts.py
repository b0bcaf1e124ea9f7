"""The broker's own log folded: who there is, by which key, what they were invited to and banned from."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from chat_broker.accounts import (
    AccountMade,
    Accounts,
    InviteMade,
    InviteUsed,
    KeyChange,
    RateSet,
    Role,
    RoomMade,
    Ruling,
    ServerKind,
    server_body,
)
from chat_protocol.messages import Entry, Message, RoomKind

NOW = 1_790_000_000_000


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


class Story:
    """Accounts, and entries told to them one after another."""

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.entries: list[Entry] = []

    def tell(self, kind: ServerKind, body: Message, by: int = 0) -> int:
        entry = Entry(len(self.entries) + 1, NOW + len(self.entries), by, "", kind, server_body(body))
        self.entries.append(entry)
        self.accounts.apply(entry)
        return entry.seq

    def account(self, name: str, number: int) -> int:
        return self.tell(ServerKind.ACCOUNT, AccountMade(name, key(number)))


def test_an_accounts_id_is_the_seq_of_the_entry_that_made_it() -> None:
    story = Story()
    ids = [story.account(name, number) for number, name in enumerate(("alice", "bob", "carol"))]
    assert ids == [1, 2, 3]
    assert [story.accounts.by_key[key(number)].id for number in range(3)] == ids


@pytest.mark.parametrize(
    ("name", "named", "looks_like"),
    [
        ("bob", True, True),
        ("Bob", True, True),
        ("BOB", True, True),
        ("b0b", False, True),
        ("bo.b", False, True),
        ("8ob", False, True),
        ("bobby", False, False),
    ],
)
def test_names_are_found_in_any_case_and_look_alikes_are_noticed(
    name: str, named: bool, looks_like: bool
) -> None:
    story = Story()
    story.account("bob", 1)
    assert (story.accounts.named(name) is not None) is named
    assert (story.accounts.looks_like(name) is not None) is looks_like


def test_a_key_belongs_to_its_account_from_when_it_is_added_until_it_is_revoked() -> None:
    story = Story()
    bob = story.account("bob", 1)
    story.tell(ServerKind.KEY_ADDED, KeyChange(bob, key(2)))
    assert story.accounts.by_key[key(2)].id == bob
    assert story.accounts.by_id[bob].keys == {key(1): NOW, key(2): NOW + 1}
    story.tell(ServerKind.KEY_REVOKED, KeyChange(bob, key(1)))
    assert key(1) not in story.accounts.by_key
    assert list(story.accounts.by_id[bob].keys) == [key(2)]


def test_an_invite_lives_until_it_is_used_up_or_expired() -> None:
    story = Story()
    story.tell(ServerKind.INVITE, InviteMade(key(9), uses=2, expires=NOW + 1_000))
    alive = [story.accounts.live_invite(key(9), NOW + ms) is not None for ms in (0, 999, 1_000)]
    assert alive == [True, True, False]
    for left in (True, False):
        story.tell(ServerKind.INVITE_USED, InviteUsed(key(9)))
        assert (story.accounts.live_invite(key(9), NOW) is not None) is left
    assert story.accounts.live_invite(key(8), NOW) is None


def test_dead_invites_are_let_go_of_when_a_new_one_is_made() -> None:
    story = Story()
    for number in range(100):
        story.tell(ServerKind.INVITE, InviteMade(key(number), uses=1, expires=NOW + number + 10))
    assert len(story.accounts.invites) == 10  # each entry is a millisecond later


def test_a_key_is_settled_when_the_newest_entry_about_it_is_stored() -> None:
    story = Story()
    bob = story.account("bob", 1)
    assert not story.accounts.is_settled(key(1))
    assert story.accounts.is_settled(key(2))  # nothing is known of it
    story.accounts.settle(1)
    assert story.accounts.is_settled(key(1))
    story.tell(ServerKind.BANNED, Ruling(bob))
    assert not story.accounts.is_settled(key(1))
    story.tell(ServerKind.KEY_ADDED, KeyChange(bob, key(2)))
    story.accounts.settle(2)
    assert [story.accounts.is_settled(key(number)) for number in (1, 2)] == [True, False]


def test_rulings_rates_and_rooms_made_are_the_accounts() -> None:
    story = Story()
    bob = story.account("bob", 1)
    story.tell(ServerKind.BANNED, Ruling(bob))
    story.tell(ServerKind.RATE, RateSet(bob, 7))
    story.tell(ServerKind.ROOM, RoomMade("#a", RoomKind.PUBLIC), by=bob)
    story.tell(ServerKind.ROOM, RoomMade("@1:1", RoomKind.DIRECT), by=bob)
    account = story.accounts.by_id[bob]
    assert (account.banned, account.lines_per_s, account.rooms_made, account.directs_made) == (True, 7, 1, 1)
    story.tell(ServerKind.UNBANNED, Ruling(bob))
    assert not account.banned
    assert story.accounts.rooms == {"#a": RoomKind.PUBLIC, "@1:1": RoomKind.DIRECT}


def test_an_entry_of_a_kind_from_a_later_version_is_counted_and_left_alone() -> None:
    accounts = Accounts()
    accounts.apply(Entry(1, NOW, 0, "", 999, Raw(b"\x90")))
    assert accounts.head == 1
    assert not accounts.by_id


def told_at_random(seed: int, count: int) -> Story:
    """A story in which everything happens, in an order that makes sense."""
    rng, story = random.Random(seed), Story()
    story.tell(ServerKind.ACCOUNT, AccountMade("operator", key(0), Role.OPERATOR))
    for number in range(1, count):
        ids = list(story.accounts.by_id)
        one, invites = rng.choice(ids), list(story.accounts.invites)
        keys = list(story.accounts.by_id[one].keys)
        match rng.randrange(9):
            case 0 | 1:
                story.account(f"person{number}", number)
            case 2:
                story.tell(ServerKind.KEY_ADDED, KeyChange(one, key(number)))
            case 3 if len(keys) > 1:
                story.tell(ServerKind.KEY_REVOKED, KeyChange(one, rng.choice(keys)))
            case 4:
                kind = rng.choice(list(RoomKind))
                story.tell(ServerKind.ROOM, RoomMade(f"#r{number}", kind), by=one)
            case 5:
                bound = rng.choice([0, one])
                story.tell(ServerKind.INVITE, InviteMade(key(number), 2, NOW + number + 20, bound), by=one)
            case 6 if invites:
                story.tell(ServerKind.INVITE_USED, InviteUsed(rng.choice(invites)))
            case 7:
                story.tell(rng.choice([ServerKind.BANNED, ServerKind.UNBANNED]), Ruling(one))
            case _:
                story.tell(ServerKind.RATE, RateSet(one, number))
    return story


@given(st.integers(0, 1_000), st.integers(1, 80), st.integers(0, 80))
def test_a_fold_and_the_entries_after_it_are_the_whole_story(seed: int, count: int, folded: int) -> None:
    story = told_at_random(seed, count)
    first = Accounts()
    for entry in story.entries[:folded]:
        first.apply(entry)
    again = Accounts.unfold(first.fold())
    for entry in story.entries[folded:]:
        again.apply(entry)
    assert again.fold() == story.accounts.fold()
    assert again.by_key == story.accounts.by_key
    assert again.invites == story.accounts.invites
