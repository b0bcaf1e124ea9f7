"""What the machine allows: file descriptors, two for each connected client."""

from __future__ import annotations

import resource

from chat_protocol.errors import SetupError

DESCRIPTORS_MIN = 64
_OWN = 40  # the log, the listening sockets, libzmq's own


def raise_descriptor_limit() -> int:
    """Use all file descriptors the system lets this process have; the clients that makes room for.

    On a full table libzmq's accept spins instead of waiting, so too small a limit stops a start.
    Raises SetupError.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 65_536)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (ValueError, OSError):
            pass  # the soft limit stays as it is
    if soft < DESCRIPTORS_MIN:
        raise SetupError(
            f"this process may open only {soft} files, and a broker needs {DESCRIPTORS_MIN}, two more for "
            "each client; raise the limit (ulimit -n)"
        )
    return (soft - _OWN) // 2
