"""Make the broker known on the local network, from a process of its own.

Multicast brings packets from everybody on the network. A child process reads them, so that neither their
number nor what they hold costs the broker anything: it has limits of its own, and its end is a note in
the log and nothing more. It ends with the broker, also when that is killed: the end of its stdin says so.
"""

from __future__ import annotations

import ipaddress
import socket
import subprocess
import sys
import threading

import msgspec

from chat_broker.announcing import Announced, Told
from chat_broker.server import Note

GOODBYE_S = 1.5  # that the child may take to take the announcement back
NOTE_BYTES_MAX = 4_096


class Announcer:
    """Announces a broker from `start` to `stop`; neither waits for the network or raises."""

    def __init__(self, what: Announced, note: Note) -> None:
        self._what = what
        self._note = note
        self._child: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None
        self._is_stopping = False

    def start(self) -> None:
        """Begin; what comes of it is noted as `announced` or `not_announced`."""
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "chat_broker.announcing"],  # -P: nothing from where we stand
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the broker, which ends it
            )
        except OSError as error:
            self._not_announced(error.strerror or str(error))
            return
        self._listener = threading.Thread(target=self._listen, args=(self._child,), daemon=True)
        self._listener.start()
        try:
            assert self._child.stdin is not None
            self._child.stdin.write(msgspec.json.encode(self._what) + b"\n")
            self._child.stdin.flush()
        except OSError:
            pass  # it has ended already, as its listener will see

    def stop(self) -> None:
        """Let the child take the announcement back; it does so while the broker closes."""
        self._is_stopping = True
        if self._child is not None and self._child.stdin is not None:
            try:
                self._child.stdin.close()
            except OSError:
                pass  # it has ended before

    def wait(self) -> None:
        """Wait until the child has ended, and end it if that takes too long."""
        if self._child is None:
            return
        try:
            self._child.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._listener is not None:
            self._listener.join(GOODBYE_S)

    def _listen(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        with child.stdout:
            while line := child.stdout.readline(NOTE_BYTES_MAX):
                try:
                    told = msgspec.json.decode(line, type=Told)
                except msgspec.DecodeError:
                    continue
                self._note(
                    told.event, {k: v for k, v in msgspec.structs.asdict(told).items() if k != "event"}
                )
        code = child.wait()
        if code and not self._is_stopping:
            self._not_announced(f"the process that announces ended with {code}")

    def _not_announced(self, reason: str) -> None:
        self._note("not_announced", {"reason": f"{reason}; clients elsewhere need the chat:// URL"})


def where_it_listens(host: str) -> list[str] | None:
    """The addresses to announce for a broker that is bound to `host`; none in the list means every address
    of this machine, None that it listens on loopback alone and nobody else could reach it."""
    try:
        found = [ipaddress.ip_address(host)]
    except ValueError:
        try:
            infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            return []  # the name of an interface
        found = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos]
    if any(ip.is_unspecified for ip in found):
        return []
    return [str(ip) for ip in dict.fromkeys(found) if not ip.is_loopback] or None
