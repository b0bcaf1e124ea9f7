"""Three honest people who talk in the lobby while others attack; run as a program of its own.

    python honest.py URL HOMES LINES_PER_S

It talks until its standard input ends, waits until everybody has seen every line, and writes what happened
as one JSON object: a `History`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from chat_client import ChatClient
from chat_client.events import Line, Link, LinkChanged

PEOPLE = ("honest.ann", "honest.bea", "honest.cyd")
SETTLE_S = 20.0
Seen = tuple[str, str, int, float]


@dataclass
class History:
    """Times are monotonic seconds, the same for all processes of a machine."""

    sent: dict[str, float] = field(default_factory=dict)  # text -> when
    stored: dict[str, int] = field(default_factory=dict)  # text -> seq
    seen: dict[str, list[Seen]] = field(default_factory=dict)  # person -> (sender, text, seq, when)
    offline: list[tuple[str, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @staticmethod
    def read(text: str) -> History:
        raw = json.loads(text)
        raw["seen"] = {name: [tuple(one) for one in seen] for name, seen in raw["seen"].items()}
        return History(**raw)

    def latencies(self, begin: float, end: float) -> list[float]:
        """From saying to being seen by another, of the lines sent in that time, in order of size."""
        return sorted(
            when - self.sent[text]
            for name, seen in self.seen.items()
            for sender, text, _, when in seen
            if sender != name and begin <= self.sent.get(text, -1.0) < end
        )

    def counts(self, begin: float, end: float) -> dict[str, int]:
        """What became of the lines sent in that time: acknowledged, lost, doubled, disordered."""
        said = [text for text, when in self.sent.items() if begin <= when < end and text in self.stored]
        lost = doubled = disordered = 0
        for name in PEOPLE:
            seen = [one for one in self.seen.get(name, []) if one[0] in PEOPLE]
            places: dict[str, list[int]] = {}
            for _, text, seq, _ in seen:
                places.setdefault(text, []).append(seq)
            lost += sum(text not in places for text in said)
            doubled += sum(len(places.get(text, [])) > 1 for text in said)
            before = 0
            for _, text, seq, _ in seen:
                disordered += begin <= self.sent.get(text, -1.0) < end and seq <= before
                before = max(before, seq)
        return {"acknowledged": len(said), "lost": lost, "doubled": doubled, "disordered": disordered}

    def forged(self) -> list[str]:
        """Lines under an honest name that its owner did not say."""
        return [
            f"{sender}: {text}"
            for seen in self.seen.values()
            for sender, text, _, _ in seen
            if sender in PEOPLE and (text not in self.sent or not text.startswith(f"{sender} "))
        ]


async def _listen(chat: ChatClient, history: History) -> None:
    seen = history.seen.setdefault(chat.name, [])
    was_live = False
    async for event in chat.events():
        match event:
            case Line():
                seen.append((event.sender, event.text, event.seq, time.monotonic()))
            case LinkChanged(link=Link.LIVE):
                was_live = True
            case LinkChanged(link=Link.OFFLINE) if was_live:
                history.offline.append((chat.name, time.monotonic()))


async def _talk(chat: ChatClient, history: History, pause_s: float, stop: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as saying:
        number = 0
        while not stop.is_set():
            number += 1
            saying.create_task(_say(chat, history, f"{chat.name} {number}"))
            await asyncio.sleep(pause_s)


async def _say(chat: ChatClient, history: History, text: str) -> None:
    history.sent[text] = time.monotonic()
    try:
        history.stored[text] = (await chat.say(text)).seq
    except Exception as error:
        history.failed.append(f"{text}: {error}")


async def talk(url: str, homes: Path, lines_per_s: float) -> History:
    """Talk until standard input ends."""
    history, stop = History(), asyncio.Event()
    async with AsyncExitStack() as stack:
        chats = [await stack.enter_async_context(ChatClient(name, url, home=homes / name)) for name in PEOPLE]
        listening = [asyncio.create_task(_listen(chat, history)) for chat in chats]
        print("talking", flush=True)
        talking = [_talk(chat, history, len(PEOPLE) / lines_per_s, stop) for chat in chats]
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        ended.add_done_callback(lambda _: stop.set())
        await asyncio.gather(*talking)
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until and not _all_seen(history):
            await asyncio.sleep(0.05)
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    return history


def _all_seen(history: History) -> bool:
    return all(
        len({text for _, text, _, _ in history.seen[name]} & history.stored.keys()) == len(history.stored)
        for name in PEOPLE
    )


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(talk(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))))))
