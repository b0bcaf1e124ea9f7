"""The desktop around the terminal: notifications, and a browser for an address.

Neither is there on a machine that is only reached over SSH. Then a notification does not appear and an
address is not opened, and nothing else changes.
"""

from __future__ import annotations

import asyncio
import html
import logging
import os
import sys
import webbrowser
from typing import TYPE_CHECKING

from chat_client.tui.attention import Alert

if TYPE_CHECKING:
    from desktop_notifier import DesktopNotifier

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


class _Failures(logging.Handler):
    """The library logs what fails, and what is logged would stand in the middle of the screen."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def emit(self, record: logging.LogRecord) -> None:
        self.seen = self.seen or record.levelno >= logging.WARNING


class Notifications:
    """Notifications of the desktop. After the first that fails none is tried any more."""

    def __init__(self) -> None:
        bus = sys.platform != "linux" or "DBUS_SESSION_BUS_ADDRESS" in os.environ
        self._works = bus and "SSH_CONNECTION" not in os.environ
        self._notifier: DesktopNotifier | None = None
        self._failures = _Failures()
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
                if self._notifier is None:
                    _hush(self._failures)
                    self._notifier = DesktopNotifier(app_name="Simple Chat", app_icon=None)
                await self._notifier.send(title=alert.title, message=_plain(alert.text))
            self._works = not self._failures.seen
        except Exception:  # whatever a desktop, its bus or its library may come up with
            self._works = False


def _hush(handler: logging.Handler) -> None:
    logger = logging.getLogger("desktop_notifier")
    logger.propagate = False
    logger.addHandler(handler)


def _plain(text: str) -> str:
    """The desktops of Linux read a little HTML in a notification's text."""
    return html.escape(text, quote=False) if sys.platform == "linux" else text
