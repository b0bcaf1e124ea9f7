"""Find the broker on the local network, where none is named and none runs on this machine.

What is announced is a hint that anybody may give. A person compares the key's fingerprint once; from then
on the key is pinned. Scripts are told what to do instead.
"""

from __future__ import annotations

import asyncio
import sys

import click
from msgspec.structs import replace

from chat_client.choice import LISTED_MAX, Choice, in_words, listing, sort_out
from chat_client.cli_options import Common
from chat_client.finding import default_home, has_local_broker
from chat_client.home import Home
from chat_protocol.address import fingerprint, parse_address
from chat_protocol.announcement import Announcement
from chat_protocol.errors import BadAddress, SetupError, Unreachable

NO_BROKER = "start one (chat-broker start), or name one with --broker or CHAT_BROKER"
NAMED_MAX = 5  # brokers named in a sentence


def locate(common: Common) -> None:
    """Let `common` name a broker of the local network, if it names none and none runs on this machine.

    Raises Unreachable where there is none, or none that may be used.
    """
    if common.broker or common.name is None or not common.searches or has_local_broker():
        return
    from chat_client.search import reachable_address

    home = Home(common.home or default_home())
    choice = _search(home, asks=_at_a_terminal())
    if not choice.candidates:
        which = "no other announces" if choice.impostors else "none announces"
        raise Unreachable(f"no broker is known, and {which} itself on this network: {NO_BROKER}")
    if _at_a_terminal():
        one = _chosen(choice)
        invite = _trusted(one, home, common.name, known=bool(choice.known))
    else:
        one, invite = _only(choice), None
    address = replace(asyncio.run(reachable_address(choice.twins(one))), invite=invite)
    home.check_pin(address)
    home.pin(address)
    home.pin_name(one.name, one.key)
    common.broker = str(address)


def _at_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _say(text: str) -> None:
    click.echo(text, err=True)


def _ask(question: str) -> str:
    """What a person types; "" if they would rather leave."""
    click.echo(question, err=True, nl=False)
    try:
        return input().strip()
    except EOFError:
        click.echo(err=True)
        return ""


# --------------------------------------------------------------------------- looking


def _search(home: Home, *, asks: bool) -> Choice:
    from chat_client.search import search

    if asks:
        _say("Looking for a broker on this network ...")
    try:
        found = asyncio.run(search(home))
    except SetupError as error:
        raise Unreachable(f"no broker is known: {NO_BROKER} ({error})") from error

    def pinned(one: Announcement) -> bytes | None:
        return home.pinned_name(one.name) or home.pinned(one.address().place)

    choice = sort_out(found.announcements, home.knows, pinned)
    for one, before in choice.impostors[:NAMED_MAX]:
        _say(
            f"chat-client: {in_words(one)} announces another key ({one.fingerprint}) than it had before "
            f"({fingerprint(before)}), and is not used: somebody may pretend to be it, or it was set up "
            f"anew. Ask its operator; if all is right, delete its lines from {home.known_brokers}."
        )
    if found.nonsense:
        _say(f"chat-client: announcements on this network that make no sense were left out: {found.nonsense}")
    if found.is_crowded:
        _say("chat-client: more brokers are announced on this network than anybody would run: take care.")
    return choice


def _only(choice: Choice) -> Announcement:
    """For a script: the one broker that is known. Raises Unreachable with what to do if there is no such."""
    candidates, first = choice.candidates, choice.candidates[0]
    if len(choice.known) == 1:
        return first
    names = ", ".join(f"{in_words(one)} (key {one.fingerprint})" for one in candidates[:NAMED_MAX])
    if len(candidates) > NAMED_MAX:
        names += f" and {len(candidates) - NAMED_MAX} more"
    if choice.known:
        known = f"several brokers that are known announce themselves on this network: {names}"
        raise Unreachable(f"{known}; choose one, such as --broker '{first.address()}'")
    found = f"nobody has confirmed here the key of what announces itself on this network, {names}"
    if any(one.is_open for one in candidates):
        raise Unreachable(f"{found}: run chat-client once at a terminal, or name a broker with --broker")
    raise Unreachable(
        f"{found}: ask the operator for an invite (chat-broker invite prints a chat:// URL), and give that "
        "URL with --broker"
    )


def _chosen(choice: Choice) -> Announcement:
    """For a person: the one broker, or the one they choose."""
    candidates = choice.candidates
    if len(candidates) == 1:
        return candidates[0]
    _say(f"{len(candidates)} brokers announce themselves on this network:")
    for row in listing(candidates):
        _say(row)
    last = min(len(candidates), LISTED_MAX)
    while typed := _ask(f"Which one? 1 to {last}, or press Enter to leave: "):
        if typed.isdecimal() and 1 <= int(typed) <= last:
            return candidates[int(typed) - 1]
    raise Unreachable("no broker was chosen")


# --------------------------------------------------------------------------- trusting


def _trusted(one: Announcement, home: Home, name: str, *, known: bool) -> bytes | None:
    """Let a person say that a broker's key is the right one; the invite, if they have brought one.

    Raises Unreachable or BadAddress if nobody says so.
    """
    if known:
        _say(f"Found {in_words(one)}, which is known here.")
        return None
    _say(f"Found {in_words(one)}. The fingerprint of its key is")
    _say(f"\n    {one.fingerprint}\n")
    if not one.is_open and not home.is_enrolled(one.key, name):
        return _invite(one)
    _say("Compare it with what its operator reads out: chat-broker status shows it there.")
    if _ask("Type yes if it is the same: ").lower() != "yes":
        raise Unreachable("the key was not confirmed, and nothing was connected")
    return None


def _invite(one: Announcement) -> bytes:
    """The invite that somebody has been given: its URL names the right key, too."""
    _say("Only who has an invite may come in: ask its operator for one. There, chat-broker invite")
    _say("prints a chat:// URL, which names the same key.")
    url = _ask("Paste that URL, or press Enter to leave: ")
    if not url:
        raise Unreachable(f"{one.name} lets in only who has an invite; its operator makes one")
    invited = parse_address(url)
    if invited.invite is None:
        raise BadAddress("this URL holds no invite; chat-broker invite prints one that does")
    if invited.key != one.key:
        other = fingerprint(invited.key) if invited.key else "none"
        raise BadAddress(
            f"this URL is for another broker (its key is {other}) than the one found ({one.fingerprint}); "
            "give it with --broker if that is the one you want"
        )
    return invited.invite
