"""A disk whose power fails: what SQLite and the log wrote through it and did not sync is forgotten at random.

Files live twice here, as they are now and as they were synced last. `Disk.cut` makes of the two what a
machine might find after a power cut:

- of the sectors written since the last sync any subset has reached the disk, in any of the versions
  written meanwhile, one of them torn in the middle;
- a file that grew or shrank has its old length, its new one, or one between;
- of the changes to the folder (new, removed and renamed files) since it was synced the first few were
  made, as file systems with a journal keep their order. Syncing a new file keeps its name, too.

The files are really there as well, for SQLite's locks and shared memory; what stands in them is not
looked at. SQLite comes through a VFS; what Python does beside it (`os.fsync`, `rename`, `unlink`) is
watched while the disk is mounted, by all threads, so mount one at a time.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import apsw

if TYPE_CHECKING:
    from typing_extensions import Buffer

SECTOR = 512
_numbers = count()


class _File:
    """One file, as it is and as it was synced."""

    def __init__(self, content: bytes = b"") -> None:
        self._now = bytearray(content)
        self._synced = bytearray(content)
        self._written: dict[int, list[bytes]] = {}  # unsynced sectors, all their versions

    def write(self, data: bytes, offset: int) -> None:
        hole = offset - len(self._now)
        if hole > 0:
            data, offset = bytes(hole) + data, len(self._now)
        self._now[offset : offset + len(data)] = data
        for sector in range(offset // SECTOR, -(-(offset + len(data)) // SECTOR)):
            version = bytes(self._now[sector * SECTOR : (sector + 1) * SECTOR])
            self._written.setdefault(sector, []).append(version)

    def resize(self, size: int) -> None:
        if size > len(self._now):
            self.write(bytes(size - len(self._now)), len(self._now))
        del self._now[size:]

    def sync(self) -> None:
        del self._synced[len(self._now) :]
        self._synced.extend(bytes(len(self._now) - len(self._synced)))
        for sector in self._written:
            place = slice(sector * SECTOR, min((sector + 1) * SECTOR, len(self._now)))
            self._synced[place] = self._now[place]
        self._written.clear()

    def after_cut(self, rng: random.Random) -> bytes:
        """What may be left of it."""
        left = bytearray(self._synced)
        left.extend(bytes(max(0, len(self._now) - len(left))))
        sizes = sorted((len(self._synced), len(self._now)))
        size = rng.choice([*sizes, rng.randint(*sizes)])
        share = rng.choice([0.0, rng.random(), rng.random(), 1.0])
        arrived = [sector for sector in self._written if rng.random() < share]
        for sector in arrived:
            _put(left, sector, rng.choice(self._written[sector]))
        if self._written and rng.random() < 0.5:
            sector = rng.choice(list(self._written))
            _put(left, sector, self._written[sector][-1][: rng.randrange(SECTOR)])
        return bytes(left[:size])


def _put(content: bytearray, sector: int, data: bytes) -> None:
    content[sector * SECTOR : sector * SECTOR + len(data)] = data


class _Change(NamedTuple):
    """A change to the folder: a name that went, a name that came."""

    gone: str
    come: str
    file: _File


class Disk:
    """The disk under a folder, whose power fails at the step `cut_at` (a write, sync, rename, …).

    Nobody notices: work goes on, on a disk that is no longer looked at. `after_cut` is what the machine
    finds when it starts again, by file name; None until then. With `heeds_sync` False it is a disk that
    only says that it synced.
    """

    def __init__(
        self, folder: Path, rng: random.Random, *, cut_at: int = 1 << 60, heeds_sync: bool = True
    ) -> None:
        self.folder = folder
        self.vfs = f"powercut-{next(_numbers)}"
        self.after_cut: dict[str, bytes] | None = None
        self.steps = 0
        self._rng = rng
        self._cut_at = cut_at
        self._heeds_sync = heeds_sync
        self._lock = threading.RLock()
        self._names = {
            path.name: _File(path.read_bytes())
            for path in sorted(folder.iterdir())
            if not path.name.endswith(("-shm", ".lock"))
        }
        self._synced_names = dict(self._names)
        self._changes: list[_Change] = []

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Meanwhile, connections made with `vfs` and what Python syncs, renames and removes go through it."""
        vfs = _Vfs(self)
        fsync, rename, unlink = os.fsync, os.rename, os.unlink

        def watched_fsync(descriptor: int) -> None:
            fsync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if path == self.folder:
                self.sync_folder()
            elif path.parent == self.folder:
                self.sync(self.file(path.name))

        def watched_rename(old: str | Path, new: str | Path, **options: Any) -> None:
            rename(old, new, **options)
            if Path(new).parent == self.folder:
                self.rename(Path(old).name, Path(new).name)

        def watched_unlink(path: str | Path, **options: Any) -> None:
            unlink(path, **options)
            if Path(path).parent == self.folder:
                self.remove(Path(path).name)

        with (
            mock.patch("os.fsync", watched_fsync),
            mock.patch("os.rename", watched_rename),
            mock.patch("os.unlink", watched_unlink),
        ):
            yield
        vfs.unregister()

    def cut(self) -> None:
        """The power fails now, unless it has failed already."""
        with self._lock:
            if self.after_cut is None:
                names = dict(self._synced_names)
                for change in self._changes[: self._rng.randint(0, len(self._changes))]:
                    _apply(change, names)
                self.after_cut = {name: file.after_cut(self._rng) for name, file in names.items()}

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self._cut_at:
            self.cut()

    # ------------------------------------------------------------------ what happens to files

    def file(self, name: str) -> _File:
        """The file of that name, which is a new one if there was none."""
        with self._lock:
            if name not in self._names:
                self._change(_Change("", name, _File()))
            return self._names[name]

    def write(self, file: _File, data: bytes, offset: int) -> None:
        with self._lock:
            file.write(data, offset)
            self._step()

    def resize(self, file: _File, size: int) -> None:
        with self._lock:
            file.resize(size)
            self._step()

    def sync(self, file: _File) -> None:
        with self._lock:
            self._step()
            if self._heeds_sync:
                file.sync()
                self._keep_changes(
                    max((i for i, one in enumerate(self._changes) if one.file is file), default=-1)
                )

    def rename(self, old: str, new: str) -> None:
        self._change(_Change(old, new, self.file(old)))

    def remove(self, name: str) -> None:
        self._change(_Change(name, "", self.file(name)))

    def sync_folder(self) -> None:
        with self._lock:
            self._step()
            if self._heeds_sync:
                self._keep_changes(len(self._changes) - 1)

    def _change(self, change: _Change) -> None:
        with self._lock:
            _apply(change, self._names)
            self._changes.append(change)
            self._step()

    def _keep_changes(self, last: int) -> None:
        for change in self._changes[: last + 1]:
            _apply(change, self._synced_names)
        del self._changes[: last + 1]


def _apply(change: _Change, names: dict[str, _File]) -> None:
    names.pop(change.gone, None)
    if change.come:
        names[change.come] = change.file


class _Vfs(apsw.VFS):
    """SQLite's way to a Disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.vfs, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        if name is None or flags[0] & apsw.SQLITE_OPEN_DELETEONCLOSE:
            return apsw.VFSFile("", name, flags)
        path = name if isinstance(name, str) else name.filename()
        return _VfsFile(self._disk, self._disk.file(Path(path).name), name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self._disk.remove(Path(filename).name)
        if syncdir:
            self._disk.sync_folder()


class _VfsFile(apsw.VFSFile):
    def __init__(
        self, disk: Disk, file: _File, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._disk = disk
        self._file = file
        super().__init__("", name, flags)

    def xWrite(self, data: Buffer, offset: int) -> None:
        super().xWrite(data, offset)
        self._disk.write(self._file, bytes(data), offset)

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._disk.resize(self._file, newsize)

    def xSync(self, flags: int) -> None:
        self._disk.sync(self._file)
