"""Testing kit: a broker in the test process, fake people, and your bot among them.

    from chat_testing import chat_test
    from my_bot import bot

    @chat_test(bot)
    async def test_it_rolls(chat):
        alice = await chat.person("alice")
        await alice.say("!roll")
        assert "alice rolled" in (await alice.hears("dice")).text

pytest runs such a test as any other; no plugin is needed. Everything is real, the encryption and the log on
disk included, and everything is gone when the test ends.
"""

from __future__ import annotations

from chat_testing.broker import LocalBroker
from chat_testing.chat import LocalChat, chat_test, running_chat
from chat_testing.person import Person

__all__ = ["LocalBroker", "LocalChat", "Person", "chat_test", "running_chat"]
