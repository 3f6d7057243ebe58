"""Give vpopmail's domains and files to another uid and gid.

It is what the PHP extension's README tells an administrator to do by hand: with qmail-send stopped,
back up, rewrite ``users/assign`` and its cdb, re-own the files, verify. A journal beside assign
tells how an interrupted run began, so that the same command finishes it.

The order of writes, with ``users/assign.lock`` held: the backup, whole; ``chown-journal``, synced,
from which on every run ends as this one would have; the owners in the trees; ``assign``;
``users/cdb``. Each of the two replaces the old one whole, so qmail finds the old ids or the new
ones. Then the file systems of the trees are synced, which may be others than that of the journal,
and only then the journal goes.

Only what belongs to the old uid or gid is touched, by an open descriptor and never through a link:
whatever the mail user has put into the trees, no one else's file changes its owner.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

from vpopmail_ext import calls, processes, users_cdb
from vpopmail_ext.info import home_dir, info, qmail_dir

JOURNAL = "chown-journal"
_LOCK_SECONDS = 20.0
_AT = os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(Exception):
    """It can't be done, or not be finished now; the text says why and what to do."""


class Ids(NamedTuple):
    """A user id and a group id."""

    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"


class Report(NamedTuple):
    """What was changed, or would be."""

    old: Ids
    new: Ids
    domains: int
    """Lines of ``users/assign``."""
    files: int
    """Files, directories and links."""
    backup: str
    """The directory with assign, its cdb and the owners as they were; empty after a dry run."""


class _Journal(NamedTuple):
    old: Ids
    new: Ids
    backup: str


def chown(uid: int, gid: int, *, dry_run: bool = False) -> Report:
    """Give vpopmail's files and domains to `uid` and `gid`; `Refused` where that can't be begun.

    Root may do it, while qmail-send does not run; it can't start meanwhile either. Domains that
    belong to other ids than vpopmail's stay theirs. OSError tells what failed on the way: the same
    call, made again, goes on from there.
    """
    new = Ids(uid, gid)
    users = os.path.join(qmail_dir(), "users")
    if os.geteuid() != 0:
        raise Refused("only root can give files to another user; run it with sudo")
    calls.domains()  # which completes a change that was interrupted, before assign is read
    with ExitStack() as held:
        held.enter_context(_stopped_qmail())
        directory = held.enter_context(_directory(users))
        held.enter_context(_locked(directory))
        journal = _read_journal(directory)
        old, backup = _begin(new) if journal is None else _go_on(journal, new)
        assign = _read(directory, "assign")
        given, domains = users_cdb.give(assign, old, new)
        trees = [home_dir().encode(), *users_cdb.paths(assign)]
        if dry_run:
            return Report(old, new, domains, sum(1 for _ in _belonging(trees, old)), "")
        if journal is None:
            _back_up(directory, backup, _belonging(trees, old))
            text = json.dumps(_Journal(old, new, backup))
            _write(directory, JOURNAL, [text.encode()], 0o600)
        given_files = _belonging(trees, old, lambda fd, status: _give(fd, status, old, new))
        files = sum(1 for _ in given_files)
        _write(directory, "assign", [given], 0o644)
        _write(directory, "cdb", [users_cdb.compile_assign(given)], 0o644)
        left = next(_belonging(trees, old, enter=_syncing()), None)
        if left is not None:
            raise Refused(
                f"{left[0]} still belongs to {old}: something goes on making files; "
                "stop what runs as the old user (POP3 and IMAP servers), then run this again"
            )
        if _read(directory, "cdb") != users_cdb.compile_assign(_read(directory, "assign")):
            raise Refused("something else changes users/assign or its cdb; run this again")
        os.unlink(JOURNAL, dir_fd=directory)
        os.fsync(directory)
        return Report(old, new, domains, files, os.path.join(users, backup))


def _begin(new: Ids) -> tuple[Ids, str]:
    domains = os.path.join(home_dir(), "domains")
    with _tree(os.fsencode(domains)) as fd:
        status = _status(fd) if fd >= 0 else None
    old = Ids(status.st_uid, status.st_gid) if status else Ids(info().uid, info().gid)
    if old == new:
        raise Refused(f"{domains} belongs to {new} already; there is nothing to do")
    if 0 in (old.uid, new.uid):
        raise Refused(
            f"from {old} to {new}: vpopmail's files are not to be root's, nor root's to go"
        )
    return old, time.strftime("before-chown-%Y%m%d-%H%M%S")


def _go_on(journal: _Journal, new: Ids) -> tuple[Ids, str]:
    if journal.new != new:
        raise Refused(
            f"a change to {journal.new} was interrupted; finish it first: "
            f"vpopmail-ext chown --uid {journal.new.uid} --gid {journal.new.gid}"
        )
    return journal.old, journal.backup


# --- nobody else ----------------------------------------------------------------------------------


@contextmanager
def _stopped_qmail() -> Iterator[None]:
    """See to it that qmail-send does not run, and can't start."""
    program = os.path.join(qmail_dir(), "bin/qmail-send")
    why = "qmail-send runs; stop it first, or mail that it delivers meanwhile may bounce or be lost"
    if processes.running(program):
        raise Refused(why)
    try:
        # It holds this lock as long as it runs, and gives up where another holds it.
        mutex = os.open(os.path.join(qmail_dir(), "queue/lock/sendmutex"), os.O_WRONLY | _AT)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(mutex, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Refused(why) from None
    finally:
        os.close(mutex)


@contextmanager
def _locked(directory: int) -> Iterator[None]:
    """Hold the lock that vpopmail takes for a change of assign."""
    lock = os.open("assign.lock", os.O_RDWR | os.O_CREAT | _AT, 0o600, dir_fd=directory)
    try:
        if os.fstat(lock).st_mode & 0o600 != 0o600:  # made just now, with a umask that denies it
            os.fchmod(lock, 0o600)
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise Refused("another program is changing domains; try again") from None
                time.sleep(0.1)
        yield
    finally:
        os.close(lock)


# --- the trees ------------------------------------------------------------------------------------

_Act = Callable[[int, os.stat_result], None]


def _belonging(
    trees: list[bytes], old: Ids, act: _Act | None = None, enter: _Act | None = None
) -> Iterator[tuple[str, Ids]]:
    """Give each file, directory and link of the trees that is the old owner's, with its owner.

    `act` is called with its descriptor (O_PATH) before it is given, `enter` with that of each
    directory, whoever owns it.
    """

    def found(fd: int, status: os.stat_result, path: bytes) -> Iterator[tuple[str, Ids]]:
        if _is_of(status, old):
            if act is not None:
                act(fd, status)
            yield os.fsdecode(path), Ids(status.st_uid, status.st_gid)

    seen: set[tuple[int, int]] = set()
    for tree in trees:
        with _tree(tree) as top:
            waiting = [b""] if top >= 0 else []
            while waiting:
                path = waiting.pop()
                with _opened(path or b"/.", top) as fd:
                    status = _status(fd) if fd >= 0 else None
                    if status is None or (status.st_dev, status.st_ino) in seen:
                        continue
                    seen.add((status.st_dev, status.st_ino))
                    if enter is not None:
                        enter(fd, status)
                    yield from found(fd, status, tree + path)
                    for name in map(os.fsencode, os.listdir(f"/proc/self/fd/{fd}")):
                        with _opened(b"/" + name, fd) as entry:
                            status = _status(entry) if entry >= 0 else None
                            if status is not None and stat.S_ISDIR(status.st_mode):
                                waiting.append(path + b"/" + name)
                            elif status is not None:
                                yield from found(entry, status, tree + path + b"/" + name)


@contextmanager
def _tree(path: bytes) -> Iterator[int]:
    """Open a directory, -1 where there is none; who made a link on the way has to be root."""
    with ExitStack() as held:

        def opened(name: bytes, at: int | None = None) -> int:
            fd = os.open(name or b".", os.O_PATH | _AT, dir_fd=at)
            held.callback(os.close, fd)
            return fd

        at, rest, links = opened(b"/"), path.split(b"/"), 40
        try:
            while rest:
                fd = opened(rest.pop(0), at)
                status = _status(fd)
                if not stat.S_ISLNK(status.st_mode):
                    at = fd
                    continue
                target = os.readlink(b"", dir_fd=fd)
                links -= 1
                if status.st_uid != 0 or not links:
                    raise Refused(
                        f"on the way to {os.fsdecode(path)} a link of uid {status.st_uid} leads to "
                        f"{os.fsdecode(target)}; only root's are followed: see to it, and make it "
                        "root's by chown -h"
                    )
                rest[:0] = target.split(b"/")
                at = opened(b"/") if target.startswith(b"/") else at
        except (FileNotFoundError, NotADirectoryError):
            at = -1
        yield at


@contextmanager
def _opened(path: bytes, at: int) -> Iterator[int]:
    """Open what is at a path below an open directory, -1 where it went; no link is followed."""
    fd = at
    try:
        for name in path.split(b"/")[1:]:
            above, fd = fd, -1
            try:
                fd = os.open(name, os.O_PATH | _AT, dir_fd=above)
            finally:
                if above != at:
                    os.close(above)
    except (FileNotFoundError, NotADirectoryError):
        pass
    try:
        yield fd
    finally:
        if fd >= 0:
            os.close(fd)


def _is_of(status: os.stat_result, old: Ids) -> bool:
    # A second name of a file may be one that somebody else had put here.
    single = stat.S_ISDIR(status.st_mode) or status.st_nlink == 1
    return status.st_uid == old.uid or (status.st_gid == old.gid and single)


def _status(fd: int) -> os.stat_result:
    return os.fstat(fd)


def _give(fd: int, status: os.stat_result, old: Ids, new: Ids) -> None:
    uid = new.uid if status.st_uid == old.uid else -1
    gid = new.gid if status.st_gid == old.gid else -1
    here = f"/proc/self/fd/{fd}"  # the open file itself, be it a link
    os.chown(here, uid, gid)
    if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        os.chmod(here, stat.S_IMODE(status.st_mode))  # which chown took away


def _syncing() -> _Act:
    """Return what syncs a directory's whole file system, each once."""
    import ctypes  # which takes long, and no other command needs it

    synced = set[int]()
    library = ctypes.CDLL(None, use_errno=True)

    def sync(fd: int, status: os.stat_result) -> None:
        if status.st_dev in synced:
            return
        directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | _AT, dir_fd=fd)
        try:
            if library.syncfs(directory) != 0:
                error = ctypes.get_errno()
                raise OSError(error, os.strerror(error), os.readlink(f"/proc/self/fd/{fd}"))
        finally:
            os.close(directory)
        synced.add(status.st_dev)

    return sync


# --- files beside assign --------------------------------------------------------------------------


@contextmanager
def _directory(path: str) -> Iterator[int]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Refused(f"there is no {path}; is {qmail_dir()} qmail's directory?") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _read(directory: int, name: str) -> bytes:
    try:
        with open(os.open(name, os.O_RDONLY | _AT, dir_fd=directory), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _read_journal(directory: int) -> _Journal | None:
    text = _read(directory, JOURNAL)
    if not text:
        return None
    old, new, backup = json.loads(text)
    return _Journal(Ids(*old), Ids(*new), backup)


def _back_up(directory: int, name: str, owners: Iterator[tuple[str, Ids]]) -> None:
    with suppress(FileExistsError):  # begun a moment ago, and interrupted
        os.mkdir(name, 0o700, dir_fd=directory)
    backup = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _AT, dir_fd=directory)
    try:
        os.fchmod(backup, 0o700)  # whatever the umask is
        for file in ("assign", "cdb"):
            _write(backup, file, [_read(directory, file)], 0o600)
        # A line each: uid, gid, path.
        lines = (json.dumps([*ids, path]).encode() + b"\n" for path, ids in owners)
        _write(backup, "owners", lines, 0o600)
    finally:
        os.close(backup)


def _write(directory: int, name: str, data: Iterable[bytes], mode: int) -> None:
    """Replace a file whole: written and synced beside the old one, then renamed."""
    beside = f".tmp:{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _AT
    with open(os.open(beside, flags, mode, dir_fd=directory), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.writelines(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(beside, name, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)
