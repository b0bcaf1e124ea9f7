"""The desktop around the terminal: notifications, and a browser for an address.

Neither is there on a machine that is only reached over SSH. Then a notification does not appear and an
address is not opened, and nothing else changes.
"""

from __future__ import annotations

import asyncio
import html
import os
import sys
import webbrowser

from chat_client.tui.attention import Alert

NOTIFY_S = 3.0


def has_desktop() -> bool:
    """Whether this process runs in somebody's graphical session."""
    if sys.platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_address(url: str) -> bool:
    """Show an address in the desktop's browser; False where there is none. (A browser for terminals would
    draw over the screen.)"""
    try:
        return has_desktop() and webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False


class Notifications:
    """Notifications of the desktop. After the first that fails none is tried any more."""

    def __init__(self) -> None:
        bus = sys.platform != "linux" or "DBUS_SESSION_BUS_ADDRESS" in os.environ
        self._works = bus and "SSH_CONNECTION" not in os.environ
        self._tasks: set[asyncio.Task[None]] = set()

    def show(self, alert: Alert) -> None:
        """Show it soon, if at all."""
        if self._works:
            task = asyncio.create_task(self._show(alert))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _show(self, alert: Alert) -> None:
        try:
            from desktop_notifier import DesktopNotifier  # slow to import, and rarely needed

            async with asyncio.timeout(NOTIFY_S):
                notifier = DesktopNotifier(app_name="Simple Chat", app_icon=None)
                await notifier.send(title=alert.title, message=_plain(alert.text))
        except Exception:  # whatever a desktop, its bus or its library may come up with
            self._works = False


def _plain(text: str) -> str:
    """The desktops of Linux read a little HTML in a notification's text."""
    return html.escape(text, quote=False) if sys.platform == "linux" else text
