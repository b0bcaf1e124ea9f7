"""Notifications and browsers, which may not be there."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import types
import webbrowser

import pytest

from chat_client.tui import desktop
from chat_client.tui.attention import Alert
from chat_client.tui.desktop import Notifications, open_address


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)


def show(*alerts: Alert) -> Notifications:
    async def run() -> Notifications:
        notifications = Notifications()
        for alert in alerts:
            notifications.show(alert)
            await asyncio.gather(*notifications._tasks)
        return notifications

    return asyncio.run(run())


def library(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> list[dict[str, str]]:
    """Put another library in place of the one that speaks to desktops; what it was told to show."""
    sent: list[dict[str, str]] = []

    class DesktopNotifier:
        def __init__(self, **_: object) -> None:
            pass

        async def send(self, **what: str) -> None:
            sent.append(what)
            if error is not None:
                raise error

    module = types.ModuleType("desktop_notifier")
    module.DesktopNotifier = DesktopNotifier  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "desktop_notifier", module)
    return sent


@pytest.mark.usefixtures("bus")
def test_a_notification_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    sent = library(monkeypatch)
    show(Alert("alice in #lobby", "<b>bob</b> & you"))
    assert sent == [{"title": "alice in #lobby", "message": "&lt;b&gt;bob&lt;/b&gt; &amp; you"}]


@pytest.mark.usefixtures("bus")
def test_after_one_that_fails_none_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = library(monkeypatch, error=RuntimeError("no such bus"))
    show(Alert("a", "b"), Alert("c", "d"))
    assert len(sent) == 1


@pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="there is no dbus-daemon")
def test_a_desktop_gets_the_notification(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bus of its own, with a desktop on it that writes down what it is told to show."""
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    command = ["dbus-daemon", "--session", "--nofork", "--print-address=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
        try:
            assert daemon.stdout is not None
            monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", daemon.stdout.readline().strip())
            assert asyncio.run(_shown_by_a_desktop(Alert("alice in #lobby", "bob?"))) == [
                "alice in #lobby: bob?"
            ]
        finally:
            daemon.kill()


async def _shown_by_a_desktop(alert: Alert) -> list[str]:
    from dbus_fast import BusType
    from dbus_fast.aio import MessageBus
    from dbus_fast.service import ServiceInterface, dbus_method

    shown: list[str] = []

    def notify(_, app, old, icon, title, text, actions, hints, limit):  # type: ignore[no-untyped-def]
        shown.append(f"{title}: {text}")
        return 1

    takes = {
        "app": "s",
        "old": "u",
        "icon": "s",
        "title": "s",
        "text": "s",
        "actions": "as",
        "hints": "a{sv}",
    }
    notify.__annotations__ = takes | {"limit": "i", "return": "u"}

    def capabilities(_: object) -> list[str]:
        return ["body"]

    capabilities.__annotations__ = {"return": "as"}

    def server(_: object) -> list[str]:
        return ["Desk", "Simple Chat", "1", "1.2"]

    server.__annotations__ = {"return": "ssss"}
    methods = {"GetServerInformation": dbus_method("GetServerInformation")(server)}
    methods |= {
        "Notify": dbus_method("Notify")(notify),  # type: ignore[arg-type]  # it takes any arguments
        "GetCapabilities": dbus_method("GetCapabilities")(capabilities),
    }
    desk = type("Desk", (ServiceInterface,), methods)("org.freedesktop.Notifications")
    bus = await MessageBus(bus_type=BusType.SESSION).connect()
    bus.export("/org/freedesktop/Notifications", desk)
    await bus.request_name("org.freedesktop.Notifications")
    notifications = Notifications()
    notifications.show(alert)
    await asyncio.gather(*notifications._tasks)
    for one in (bus, notifications._notifier._backend.bus):  # type: ignore[union-attr]  # nobody else ends it
        one.disconnect()
        await one.wait_for_disconnect()
    assert notifications._works
    return shown


@pytest.mark.usefixtures("bus")
@pytest.mark.skipif(sys.platform != "linux", reason="needs a bus that is not there")
def test_the_library_itself_without_a_desktop_is_harmless() -> None:
    assert not show(Alert("a", "b"))._works


def test_without_a_bus_the_library_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    sent = library(monkeypatch)
    show(Alert("a", "b"))
    assert not sent


def test_an_address_opens_only_on_a_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def opens(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", opens)
    monkeypatch.setattr(desktop, "has_desktop", lambda: False)
    assert not open_address("https://example.org")
    monkeypatch.setattr(desktop, "has_desktop", lambda: True)
    assert open_address("https://example.org")
    assert opened == ["https://example.org"]
