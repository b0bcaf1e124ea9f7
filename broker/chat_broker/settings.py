"""What an operator may set, with the values a broker starts with."""

from __future__ import annotations

from dataclasses import dataclass, field

from chat_protocol.messages import Limits


@dataclass(frozen=True)
class Settings:
    limits: Limits = field(default_factory=Limits)
    open: bool = False  # any key may enroll
    newcomer_lines: int = 50
    keep_entries: int = 0  # per room; 0: everything
    ping_s: float = 2.5
    lease_s: float = 15.0
    feed_host: str = ""  # "": the host the client reached
    feed_port: int = 5556
    software: str = "simple-chat"
    fold_every: int = 1_000  # entries of a room between two stored folds
    batch_bytes: int = 256 << 10  # a batch that waits for a busy log goes to it all the same when so big
    pending_bytes_max: int = 64 << 20  # on their way to the log; more is refused with `busy`
    accounts_max: int = 1_000_000
    directs_per_account: int = 5_000
    sessions_per_account: int = 200
