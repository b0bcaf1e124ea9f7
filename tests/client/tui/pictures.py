"""Pictures of the full screen for docs/: a real broker, people who talk, and Bob's screen.

python -m tests.client.tui.pictures docs/screens
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from chat_client import ChatClient
from chat_client.outcome import Outcome
from chat_client.preferences import Keeper
from chat_client.tui.app import ChatScreen
from tests.integration.bench import Bench, Broker, until

FONTS = '"SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace'

Act = Callable[["Picture"], Coroutine[Any, Any, None]]


class Picture:
    """Bob's screen, and the others who are there."""

    def __init__(
        self, bench: Bench, broker: Broker, app: ChatScreen, pilot: Pilot[Outcome], bob: ChatClient
    ) -> None:
        self.bench, self.broker, self.app, self.pilot, self.bob = bench, broker, app, pilot, bob

    @property
    def text(self) -> str:
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    async def sees(self, text: str) -> None:
        await until(text, lambda: text in self.text)

    async def types(self, text: str) -> None:
        for letter in text:
            await self.pilot.press("space" if letter == " " else letter if letter.isalnum() else "comma")


async def talk(bench: Bench, broker: Broker) -> None:
    """What was said before Bob came."""
    async with (
        bench.sdk("alice", broker) as alice,
        bench.sdk("carol", broker) as carol,
        bench.sdk("ci", broker) as ci,
        bench.sdk("bob", broker, rooms=()) as bob,
    ):
        await alice.create("#ops")
        await alice.create("#garden")
        await alice.say("morning all")
        await ci.say("build 811 failed: tests/test_link.py (2 of 640)", hops=1)
        await alice.say(
            "that is the flaky one, it sleeps instead of waiting:\n\n    time.sleep(0.1)\n    assert up"
        )
        await carol.say("make it wait for the thing, with a limit, and let it say what it waited for")
        await bob.say("+1, and I can look at it after lunch")
        await alice.say("too late, it is done")
        await ci.say("build 812 is green https://ci.example.org/runs/812", hops=1)


async def lobby(picture: Picture) -> None:
    bench, broker = picture.bench, picture.broker
    alice, carol, dice = (bench.sdk(name, broker, rooms=("#lobby",)) for name in ("alice", "carol", "dice"))
    async with alice, carol, dice, bench.sdk("dora", broker), bench.sdk("emil", broker):
        for room in ("#ops", "#garden"):
            await picture.bob.open(room)
        await carol.say("coffee in ten minutes?", "@bob")
        await picture.sees("○ carol" if "Direct" in picture.text else "carol")
        picture.app.app_focus = False
        await carol.say("thank you! 🎉 お疲れ様でした")
        await alice.say("bob: who rolls for lunch?")
        await carol.say("!roll")
        await dice.say("carol rolled 4", hops=1)
        await alice.say("bob, can you look at db2? the disk is nearly full", "#ops")
        await carol.say("the tomatoes are in", "#garden")
        await carol.say("and the beans", "#garden")
        await picture.sees("new since you looked")
        picture.app.app_focus = True
        picture.bob.post("four it is. I book the table by the window")
        await picture.sees("by the window")
        await picture.sees("@1" if picture.app.size.width > 60 else "elsewhere")
        picture.app._composer.focus()
        await picture.types("by the way, alice")
        await picture.pilot.pause(0.4)


async def trouble(picture: Picture) -> None:
    picture.bob.post("the last line before the cable came out")
    await picture.sees("came out")
    picture.broker.kill()
    await picture.sees("no link")
    picture.app._composer.focus()
    await picture.types("and this one waits for the link")
    await picture.pilot.press("enter")
    await picture.sees("not sent yet")
    await picture.sees("retrying in")


async def take(bench: Bench, size: tuple[int, int], theme: str, act: Act) -> str:
    """One picture, of a chat of its own."""
    broker = bench.broker(data=bench.folder / "data")
    await talk(bench, broker)
    async with bench.sdk("bob", broker, rooms=("#lobby",), remember=True) as bob:
        app = ChatScreen(bob, "#lobby", Keeper(), theme=theme)
        async with app.run_test(size=size) as pilot:
            picture = Picture(bench, broker, app, pilot, bob)
            await picture.sees("build 812 is green")
            await act(picture)
            drawn = _picture(app)
    broker.kill()
    return drawn


def _picture(app: ChatScreen) -> str:
    """The screen as an image that fetches nothing to be looked at."""
    svg = app.export_screenshot(title="chat-client --name bob")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("font-family: Fira Code, monospace;", f"font-family: {FONTS};")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name, size, theme, act in PICTURES:
            bench = Bench(Path(scratch) / name)
            try:
                drawn = asyncio.run(take(bench, size, theme, act))
            finally:
                bench.close()
            (folder / f"{name}.svg").write_text(drawn)
            print(folder / f"{name}.svg")


PICTURES = (
    ("screen-dark", (112, 32), "dark", lobby),
    ("screen-light", (80, 24), "light", lobby),
    ("screen-narrow", (40, 24), "dark", trouble),
)

if __name__ == "__main__":
    main(Path(sys.argv[1]))
