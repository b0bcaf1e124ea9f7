"""Look for brokers that make themselves known on the local network."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from chat_client.home import Home
from chat_protocol.address import Address
from chat_protocol.announcement import SERVICE_TYPE, Announcement, read_announcement, shown_name
from chat_protocol.errors import SetupError

SEARCH_S = 2.0
SETTLE_S = 0.4  # once a broker that is known here was found
FOUND_MAX = 64  # brokers looked at; known ones come on top
REACH_S = 1.0  # to try which address of a broker answers
PLACES_MAX = 16  # addresses tried


@dataclass
class Found:
    """What a search has found; `nonsense` counts announcements that were none, `is_crowded` says that
    there were more than are looked at."""

    announcements: list[Announcement] = field(default_factory=list)
    nonsense: int = 0
    is_crowded: bool = False


async def search(home: Home, seconds: float = SEARCH_S) -> Found:
    """Ask the local network for brokers. Takes `seconds`, or less if one that is known here answers.

    Runs in a loop of its own (`asyncio.run`), whose exception handler it silences.
    Raises SetupError if this machine cannot ask: it is on no network, or is not allowed to.
    """
    from zeroconf import Error, IPVersion, ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

    # Of others' nonsense there is no end, and a traceback about it is of no use to anybody.
    logging.getLogger("zeroconf").disabled = True
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    found, names = Found(), set[str]()
    asking: set[asyncio.Task[None]] = set()
    is_known = asyncio.Event()

    async def ask(name: str) -> None:
        try:
            info = AsyncServiceInfo(SERVICE_TYPE, name)
            if not await info.async_request(one.zeroconf, seconds * 1_000):
                return
            announcement = read_announcement(name, info.parsed_addresses(), info.port, info.properties)
        except (Error, ValueError):  # a name or record that the library does not take
            announcement = None
        if announcement is None:
            found.nonsense += 1
            return
        found.announcements.append(announcement)
        if home.knows(announcement.key):
            is_known.set()

    def heard(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is not ServiceStateChange.Added or name in names:
            return
        if len(names) >= FOUND_MAX and home.pinned_name(shown_name(name)) is None:
            found.is_crowded = True
            return
        names.add(name)
        task = asyncio.get_running_loop().create_task(ask(name))
        asking.add(task)
        task.add_done_callback(asking.discard)

    try:
        try:
            one = AsyncZeroconf(ip_version=IPVersion.All)
        except OSError:  # no IPv6 here
            one = AsyncZeroconf(ip_version=IPVersion.V4Only)
    except OSError as error:
        raise SetupError(f"this network cannot be searched for a broker: {error.strerror}") from error
    try:
        browser = AsyncServiceBrowser(one.zeroconf, SERVICE_TYPE, handlers=[heard])
        try:
            async with asyncio.timeout(seconds):
                await is_known.wait()
                await asyncio.sleep(SETTLE_S)
        except TimeoutError:
            pass
        await browser.async_cancel()
    finally:
        for task in asking:
            task.cancel()
        await one.async_close()
    found.announcements.sort(key=lambda broker: (broker.name, broker.hosts, broker.port))
    return found


async def reachable_address(twins: Sequence[Announcement]) -> Address:
    """The address of a broker that answers, among all that were announced of it; the first if none does."""
    places = [one.address(host) for one in twins for host in one.hosts][:PLACES_MAX]
    if len(places) == 1:
        return places[0]
    tries = [asyncio.create_task(_reach(place)) for place in places]
    try:
        for each in asyncio.as_completed(tries, timeout=REACH_S):
            if (place := await each) is not None:
                return place
    except TimeoutError:
        pass
    finally:
        for task in tries:
            task.cancel()
        await asyncio.gather(*tries, return_exceptions=True)
    return places[0]


async def _reach(place: Address) -> Address | None:
    """The address itself if something listens there."""
    try:
        _, writer = await asyncio.open_connection(place.host, place.port)
    except OSError:
        return None
    writer.close()
    return place
