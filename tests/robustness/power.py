"""What a power cut leaves: of a run of system calls, only what was synced or may have been written.

A file system with a journal (ext4, XFS, Btrfs) writes what is done to directories in its order, at
the latest when any file of it is synced; what is in a file only when that file is. So after a cut
the directories are as they were at one moment between the last sync and the cut, and the files hold
what they held when they were last synced: nothing where they never were. Owners and modes are
those of that moment, or, at the earliest one, what each had when it was itself last synced. Where
vpopmail's home and qmail's directory lie on two such file systems, each is at a moment of its own.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from tests.robustness import strike
from tests.robustness.installations import identity

SYNCS = ("fsync", "fdatasync", "syncfs")
WRITES = ("write", "pwrite64", "writev", "ftruncate")
OF_NAMES = ("mkdirat", "renameat", "renameat2", "unlinkat", "linkat", "symlinkat")
OF_NAMES += ("fchmod", "fchmodat", "fchown", "fchownat", "utimensat")
"""Those after which every file holds what it held."""
_DIRECTORY = re.compile(rb" (\d+) 0 \d+ \d+ ")
"""What a journal has of one."""
NOTHING = -1
"""An inode that no file has."""
Directories = dict[int, dict[str, int]]
"""By inode: the names in a directory and their inodes."""


class _File(NamedTuple):
    mode: int
    uid: int
    gid: int
    modified: int
    content: bytes | None  # None: a directory


class Disk:
    """What is on one file system, and what would be after a cut."""

    def __init__(self, top: Path, kept: Path) -> None:
        self.top, self.kept = top, kept
        self.moments: list[Directories] = []
        self.owned: list[dict[int, _File]] = []
        """Whose what was, at each of these moments."""
        self.now: dict[int, _File] = {}
        self.linked: set[int] = set()
        self.synced: dict[int, _File] = {}
        self.durable = 0
        """The first moment at which the directories can be after a cut."""
        self.remade: dict[int, Path] = {}
        """Directories that a cut brought back, by the inode that they had."""
        self.number, self.device = os.stat(top).st_ino, os.stat(top).st_dev
        self.look()
        self.synced = dict(self.now)

    def look(self, written: int | None = None) -> None:
        """Note what there is; where only one file has been written to, of the others the names."""
        directories: Directories = {}
        waiting = [os.fspath(self.top)]
        while waiting:
            path = waiting.pop()
            names = directories[os.stat(path).st_ino] = {}
            for entry in os.scandir(path):
                status = entry.stat(follow_symlinks=False)
                number = names[entry.name] = status.st_ino
                content = None
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif written not in (None, number) and number in self.now:
                    content = self.now[number].content
                else:
                    content = Path(entry.path).read_bytes()
                    # So that it can be had back once its last name has gone. A lock file with a
                    # second name would be refused; that one is as good as another.
                    if not entry.name.endswith(".lock") and number not in self.linked:
                        os.link(entry.path, self.kept / str(number))
                        self.linked.add(number)
                self.now[number] = _File(
                    status.st_mode & 0o7777,
                    status.st_uid,
                    status.st_gid,
                    status.st_mtime_ns,
                    content,
                )
        self.moments.append(directories)
        self.owned.append(dict(self.now))

    def sync(self, number: int) -> bool:
        """Note that a file or directory of this inode is synced; False where it is elsewhere."""
        if number != self.number and not any(
            number == inode for names in self.moments[-1].values() for inode in names.values()
        ):
            return False
        self.durable = len(self.moments) - 1
        self.synced[number] = self.now.get(number, _File(0o700, 0, 0, 0, None))
        return True

    def sync_all(self) -> None:
        """Note that all of it is synced."""
        self.durable = len(self.moments) - 1
        self.synced = dict(self.now)

    def cut(self, early: float) -> None:
        """Make of what is there what is left: of names and owners all, or, with 1, what is sure."""
        last = len(self.moments) - 1
        moment = last - round((last - self.durable) * early)
        owned = {**self.owned[moment], **(self.synced if early == 1 else {})}
        pool = self.kept / "directories"
        pool.mkdir()
        # All is taken apart, the deepest first, and put together anew from the same inodes.
        for path, below, files in os.walk(self.top, topdown=False):
            for name in files:
                os.unlink(f"{path}/{name}")
            for name in below:
                number = os.lstat(f"{path}/{name}").st_ino
                os.rename(f"{path}/{name}", pool / str(number))
        self._build(self.number, self.top, self.moments[moment], owned, pool)
        shutil.rmtree(self.kept)
        self.kept.mkdir()

    def _build(
        self,
        number: int,
        path: Path,
        directories: Directories,
        owned: dict[int, _File],
        pool: Path,
    ) -> None:
        for name, inode in directories[number].items():
            place, was = path / name, owned[inode]
            if inode in directories:
                if (pool / str(inode)).exists():
                    os.rename(pool / str(inode), place)
                else:
                    place.mkdir()
                    self.remade[inode] = place
                self._build(inode, place, directories, owned, pool)
            elif name.endswith(".lock"):
                place.write_bytes(b"")
                continue
            else:
                os.link(self.kept / str(inode), place)
                left = self.synced.get(inode, was._replace(content=b""))
                if place.read_bytes() != left.content:
                    assert left.content is not None
                    place.write_bytes(left.content)
                    os.utime(place, ns=(left.modified, left.modified))
            os.chown(place, was.uid, was.gid)
            place.chmod(was.mode)


class Power:
    """Watches a process and cuts its power before one of its calls."""

    def __init__(self, home: Path, qmail: Path, point: int) -> None:
        apart = home.stat().st_dev != qmail.stat().st_dev
        self.disks = []
        for top in (home, qmail) if apart else (home.parent,):
            kept = top.parent / f"{top.name}-kept"
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir()
            self.disks.append(Disk(top, kept))
        self._point, self._count = point, -1
        self._written: int | None = NOTHING

    def judge(self, call: strike.Call) -> int:
        """Note what was done before the call; kill at the point."""
        if not call.changes:
            return 0
        self._count += 1
        for disk in self.disks:
            disk.look(self._written)
        if self._count == self._point:
            return strike.KILL
        file = call.file() if call.name in (*SYNCS, *WRITES) else None
        self._written = NOTHING
        if call.name in WRITES:
            self._written = file.st_ino if file else None
        elif call.name not in (*OF_NAMES, *SYNCS) and not call.makes:
            self._written = None
        elif file is not None and call.name == "syncfs":
            (synced,) = (disk for disk in self.disks if disk.device == file.st_dev)
            synced.sync_all()
        elif file is not None:
            assert any(disk.sync(file.st_ino) for disk in self.disks), "synced elsewhere"
        return 0

    def cut(self, early: tuple[float, ...]) -> None:
        """Leave of each disk all that was done to names and owners, or, with 1, what is durable."""
        for disk, how_early in zip(self.disks, early, strict=True):
            disk.look()
            disk.cut(how_early)
            shutil.rmtree(disk.kept)
        # A directory that is brought back has another inode here; a disk would have it as it was.
        remade = {inode: path for disk in self.disks for inode, path in disk.remade.items()}
        journals = (path for disk in self.disks for path in disk.top.rglob(".tmp:ready"))
        for journal in journals if remade else ():
            journal.write_bytes(
                _DIRECTORY.sub(
                    lambda told: (
                        b" %s " % identity(remade[int(told[1])]).encode()
                        if int(told[1]) in remade
                        else told[0]
                    ),
                    journal.read_bytes(),
                )
            )
