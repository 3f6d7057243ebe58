"""The mail user as an enemy of root's: swaps what lies in its directories for links elsewhere.

``python mail_user.py UID GID ORDERS``: ORDERS is a JSON file with

- ``victims``: paths in directories of this user's that are swapped, one after the other;
- ``outside``: what links that are made are to lead to;
- ``planted``: files in a directory of this user's that are hard links to what is outside. Where
  fs.protected_hardlinks is off a user can make those; here root did;
- ``domain``: the directory of a domain, its vpasswd and vpasswd.cdb among the victims;
- ``told``: pairs of a vpasswd and its cdb for it, whose users have their directories elsewhere;
- ``own``: that of them which is this user's.

Each victim is exchanged (renameat2) for a link, symbolic or planted, or for a directory of such
links, a journal for one that tells of files outside, vpasswd and its cdb together for a pair that
tells of directories elsewhere, and after a moment back. It goes on until its input ends, then says
how many it exchanged.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import select
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2
_libc = ctypes.CDLL(None, use_errno=True)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names; put the one in the place of the other where that is not there."""
    paths = os.fsencode(one), os.fsencode(other)
    if _libc.renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_EXCHANGE) == 0:
        return True
    try:
        one.rename(other)
    except OSError:
        return False
    return True


class MailUser:
    def __init__(
        self,
        victims: list[str],
        outside: list[str],
        planted: list[str],
        domain: str,
        told: list[tuple[str, str]],
        own: str,
    ) -> None:
        self.victims, self.outside = [Path(each) for each in victims], outside
        self.planted = [Path(each) for each in planted]
        self.domain, self.told, self.own = Path(domain), told, Path(own)
        self.random = random.Random(1)
        self.exchanged = 0

    def once(self) -> None:
        """Exchange a victim and exchange it back, some times."""
        if self.random.random() < 0.1:
            pairs = self.elsewhere()
        else:
            victim = self.random.choice(self.victims)
            pairs = [(self.bait(victim), victim)]
        for _ in range(self.random.randrange(1, 30)):
            for pair in pairs:
                self.exchanged += exchange(*pair)
            for _ in range(self.random.randrange(50)):
                os.getppid()
            for pair in pairs:
                exchange(*pair)
        for bait, _ in pairs:
            if bait not in self.planted:
                shutil.rmtree(bait) if bait.is_dir() and not bait.is_symlink() else bait.unlink()

    def beside(self, victim: Path) -> Path:
        return victim.parent / f".bait{self.random.randrange(1 << 30)}"

    def bait(self, victim: Path) -> Path:
        """Make what a victim is to be exchanged for."""
        bait = self.beside(victim)
        kind = self.random.randrange(4)
        if victim.name.endswith((":ready", ":change")):
            bait.write_bytes(self.journal(victim.parent))
        elif kind == 0 and self.planted:
            return self.random.choice(self.planted)
        elif kind == 1:
            self.directory(bait)
        else:
            bait.symlink_to(self.random.choice(self.outside))
        return bait

    def elsewhere(self) -> list[tuple[Path, Path]]:
        """Make a vpasswd and a cdb that tell of a directory elsewhere, and what is to be there."""
        with suppress(OSError):  # or it is there
            for part in ("cur", "new"):
                (self.own / "Maildir" / part).mkdir(parents=True, exist_ok=True)
        pairs = []
        for name, text in zip(
            ("vpasswd", "vpasswd.cdb"), self.random.choice(self.told), strict=True
        ):
            bait = self.beside(self.domain / name)
            bait.write_bytes(text.encode("latin-1"))
            pairs.append((bait, self.domain / name))
        if self.random.random() < 0.5:  # as it goes there it is one that leads further
            victim = self.own / self.random.choice((".", "Maildir", "Maildir/maildirsize"))
            pairs.append((self.bait(victim), victim))
        return pairs

    def journal(self, directory: Path) -> bytes:
        """Return a journal of a change (change.h) that would be completed outside."""
        lines = []
        for path in (Path(each) for each in self.random.sample(self.outside, 3)):
            try:
                status = path.stat()
                told = (
                    f"{status.st_ino} 0 {status.st_mtime_ns // 10**9} {status.st_mtime_ns % 10**9}"
                )
            except OSError:
                told = "1 2 3 4"
            lead = "../" * len(directory.parts) + str(path).lstrip("/")
            lines += [f"in {told} {path}", f"in {told} {lead}", f"in {told} alice/bait"]
            lines += [f"drop 0 {told} {lead}", f"drop 1 {told} secret", "remove 1 0 0 0 0 vpasswd"]
            lines += [f"add 0 {told} {lead}/new1", f"replace 1 {told} lastauth"]
            lines += [f"replace 0 {told} .qmail-info", f"remove 0 {told} .qmail-{lead}"]
        self.random.shuffle(lines)
        return "\0".join([*lines, ""]).encode()

    def directory(self, path: Path) -> None:
        """Make a directory in which all that root may look for leads outside."""
        path.mkdir(0o700)
        for name in (
            "Maildir",
            "cur",
            "new",
            "lastauth",
            "vpasswd",
            ".qmail-info",
            "alice",
            "new1",
        ):
            (path / name).symlink_to(self.random.choice(self.outside))


def main() -> None:
    uid, gid, orders = sys.argv[1:]
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
    user = MailUser(**json.loads(Path(orders).read_text()))
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        with suppress(OSError):  # root was faster, or made it its own
            user.once()
        # For a moment all is as it should be: the next call gets further.
        time.sleep(user.random.choice((0, 0, 0.002, 0.01)))
    print(user.exchanged, flush=True)


if __name__ == "__main__":
    main()
