"""The machine: cores for server and load, what processes use, and what the report says about it."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_KIB = os.sysconf("SC_PAGESIZE") // 1024


@dataclass(frozen=True)
class Cores:
    """Where servers run, and where all load runs. On one core both share it, and nothing is comparable."""

    server: int
    load: int

    @property
    def are_apart(self) -> bool:
        return self.server != self.load


def cores() -> Cores:
    """The first and the last core that this process may use, asked before anything is pinned."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[-1])


def pin(core: int) -> None:
    """Keep this process, and what it starts from now on, on one core."""
    os.sched_setaffinity(0, {core})


def raise_descriptor_limit(wanted: int) -> int:
    """Allow this process as many open files as it needs, as far as the system does; what it got."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return soft
    for limits in ((wanted, max(wanted, hard)), (min(wanted, hard), hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            return limits[0]
        except (ValueError, OSError):
            continue  # only root may go over the hard limit
    return soft


def cpu_s(pid: int) -> float:
    """Seconds of CPU, user and system, that a process has used with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def exact_cpu_s(pid: int) -> float:
    """The same in nanoseconds, of the threads that live: for short whiles in which no thread ends."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def peak_kib(pid: int) -> int:
    """The most memory that a process has had resident, in KiB."""
    return _status_kib(pid, "VmHWM")


def resident_kib(pid: int) -> int:
    return _status_kib(pid, "VmRSS")


def _status_kib(pid: int, name: str) -> int:
    for row in Path(f"/proc/{pid}/status").read_text().splitlines():
        if row.startswith(name + ":"):
            return int(row.split()[1])
    return 0


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def describe(folder: Path) -> dict[str, str]:
    """What the report says of the machine; `folder` is where the servers store."""
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE_KIB / 2**20
    return {
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "disk": _filesystem(folder),
        "python": platform.python_version(),
    }


def _processor() -> str:
    for row in Path("/proc/cpuinfo").read_text().splitlines():
        if row.startswith("model name"):
            return row.partition(":")[2].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    df = shutil.which("df")
    if df is None:
        return "unknown"
    done = subprocess.run([df, "--output=fstype", str(folder)], capture_output=True, text=True, check=False)
    return done.stdout.split("\n")[1].strip() if done.returncode == 0 else "unknown"
