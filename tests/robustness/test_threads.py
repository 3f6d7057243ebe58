"""Many threads and processes on one installation; forks in the middle; vpopmail's own locks."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import vpopmail_ext as v
from tests import cdb, clib, torture
from tests.conftest import Home
from tests.ledger import (
    SHARED,
    SUCCESS,
    Ledger,
    Worker,
    add_domain,
    call,
    check,
    prepare,
    run_process,
    run_threads,
    until,
)
from tests.linked import REAL, bundled_alone
from vpopmail_ext import api
from vpopmail_ext.errors import Code

PATIENCE = 60 if REAL else 5
"""Seconds. A real library looks for a lock every two seconds, one call after the other."""


@pytest.fixture
def shared(home: Home) -> Home:
    """An installation with the domains that all threads use."""
    prepare(home)
    return home


def descriptors() -> list[str]:
    """Return what this process has open, without what it opens to look.

    The one queue of changes that authentication keeps is left out as well.
    """
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    assert found.count("anon_inode:inotify") <= 1
    return sorted(path for path in found if not path.startswith(("/proc/", "anon_inode:inotify")))


# --- the tests -----------------------------------------------------------------------------------


def test_many_aliases_are_read_by_several_threads(shared: Home) -> None:
    domain = SHARED[0]
    directory = Path(api.domain(domain).directory)
    for number in range(2000):
        path = directory / f".qmail-many:{number:04}"
        path.write_text("".join(f"&{line}@example.com\n" for line in range(number % 3 + 1)))
        os.chown(path, shared.uid, shared.gid)
    before = descriptors()
    found = v.vpopmail_alias_get_all(domain)
    many = {name: lines for name, lines in found.items() if name.startswith("many.")}
    assert list(many) == [f"many.{number:04}" for number in range(2000)]
    assert all(len(lines) == int(name[-4:]) % 3 + 1 for name, lines in many.items())
    assert descriptors() == before


@pytest.mark.torture
def test_eight_threads(shared: Home) -> None:
    before = descriptors(), os.getcwd(), umask()
    seconds = torture.amount(4, 60)
    ledgers = run_threads(range(8), shared, until(time.monotonic() + seconds))
    check(shared, ledgers)
    torture.tell(f"{sum(ledger.calls for ledger in ledgers)} changes in {seconds:g} s, none lost")
    assert (descriptors(), os.getcwd(), umask()) == before
    # A real library's calls wait for one another, and sync by themselves.
    assert all(ledger.calls > (0 if REAL else 10) for ledger in ledgers)


def umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def test_four_processes_of_two_threads(shared: Home) -> None:
    numbers = [range(at, at + 2) for at in range(0, 8, 2)]
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(run_process, two, shared, 3) for two in numbers]
    check(shared, [ledger for each in running for ledger in each.result()])


@pytest.mark.skipif(
    "VPOPMAIL_TEST_SANITIZED" in os.environ,
    reason="a child may find gcc's AddressSanitizer with its locks held, and waits for ever",
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forks_in_the_middle(shared: Home, tmp_path: Path) -> None:
    children = []
    with ThreadPoolExecutor(4) as pool:
        go_on = until(time.monotonic() + 4)
        running = [pool.submit(Worker(number, shared).run, go_on) for number in range(4)]
        for number in range(8):
            time.sleep(0.2)
            process = os.fork()
            if process == 0:
                in_child(number, tmp_path / f"child{number}")
            children.append(process)
        ledgers = [each.result() for each in running]
    statuses = [os.waitpid(process, 0)[1] for process in children]
    failures = [path.read_text() for path in tmp_path.glob("child*")]
    assert (statuses, failures) == ([0] * 8, [])
    users = {(SHARED[0], f"child{number}"): ("new", "5S") for number in range(8)}
    check(shared, [*ledgers, Ledger(users=users)])


def in_child(number: int, report: Path) -> None:
    """Make calls in a process that was forked from one with threads, and end it."""
    status = 1
    try:
        assert [path for path in descriptors() if path.endswith(".lock")] == []
        started = time.monotonic()
        user = f"child{number}", SHARED[0]
        assert call(v.vpopmail_add_user, *user, "old") == SUCCESS
        assert call(v.vpopmail_passwd, *user, "new") == SUCCESS
        assert call(v.vpopmail_set_user_quota, *user, "5") == SUCCESS
        assert v.vpopmail_auth_user(*user, "new") is True
        assert call(v.vpopmail_add_alias_domain, SHARED[0], f"child{number}.net") == SUCCESS
        assert call(v.vpopmail_del_domain, f"child{number}.net") == SUCCESS
        assert time.monotonic() - started < 15
        # If it kept a lock of its parent's, that one would have to wait now.
        time.sleep(1)
        status = 0
    except BaseException:
        report.write_text(traceback.format_exc())
    finally:
        os._exit(status)


HOLDER = """
import fcntl, os, sys
held = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.lockf(held, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have another process hold a lock, as vpopmail does, until its stdin is closed."""
    command = [sys.executable, "-c", HOLDER, os.fspath(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


def all_wait(calls: list[Future[str]]) -> bool:
    time.sleep(0.4)
    return not any(each.done() for each in calls)


@pytest.fixture
def two_domains(home: Home) -> Home:
    for name in SHARED:
        add_domain(home, name)
        for user in ("ann", "bob", "gone"):
            assert v.vpopmail_add_user(user, name, "password")
    return home


def user_calls(domain: str) -> list[tuple[Callable[..., bool], str, str, str]]:
    return [
        (v.vpopmail_add_user, "new", domain, "password"),
        (v.vpopmail_passwd, "ann", domain, "changed"),
        (v.vpopmail_set_user_quota, "bob", domain, "5M"),
    ]


@pytest.mark.parametrize("end", ["released", "killed"])
def test_a_lock_of_a_domain_s_users(two_domains: Home, pool: ThreadPoolExecutor, end: str) -> None:
    lock = two_domains.path / "domains" / SHARED[0] / ".vpasswd.lock"
    with holding(lock) as holder:
        waiting = [pool.submit(call, *each) for each in user_calls(SHARED[0])]
        waiting.append(pool.submit(call, v.vpopmail_del_user, "gone", SHARED[0]))
        assert all_wait(waiting)
        if not REAL:  # whose calls wait for one another
            started = time.monotonic()
            # The other domain's, and what needs no lock.
            for each in user_calls(SHARED[1]):
                assert call(*each) == SUCCESS
            assert call(v.vpopmail_del_user, "gone", SHARED[1]) == SUCCESS
            assert v.vpopmail_auth_user("ann", SHARED[0], "password") is True
            assert call(v.vpopmail_alias_add, "info", SHARED[0], "&a@b.c") == SUCCESS
            assert time.monotonic() - started < 5
            assert not any(each.done() for each in waiting)
        if end == "killed":
            holder.send_signal(signal.SIGKILL)
        else:
            holder.communicate()
        assert [each.result(timeout=PATIENCE) for each in waiting] == [SUCCESS] * 4
    assert v.vpopmail_auth_user("ann", SHARED[0], "changed") is True


@bundled_alone("where the user is was read before the wait")
def test_a_user_that_moved_while_its_deletion_waited(
    two_domains: Home, pool: ThreadPoolExecutor
) -> None:
    directory = two_domains.path / "domains" / SHARED[0]
    before, after = directory / "gone", directory / "0/gone"
    with holding(directory / ".vpasswd.lock") as holder:
        waiting = pool.submit(call, v.vpopmail_del_user, "gone", SHARED[0])
        assert all_wait([waiting])
        # As if it had been deleted and added, when the next directory was the one to fill.
        after.parent.mkdir(0o700)
        os.chown(after.parent, two_domains.uid, two_domains.gid)
        before.rename(after)
        text = (directory / "vpasswd").read_bytes()
        text = text.replace(os.fsencode(before), os.fsencode(after))
        (directory / "vpasswd").write_bytes(text)
        (directory / "vpasswd.cdb").write_bytes(cdb.of("vpasswd", text))
        holder.communicate()
        assert waiting.result(timeout=5) == SUCCESS
    assert not after.exists()


@pytest.mark.parametrize("end", ["released", "killed"])
@pytest.mark.parametrize("file", ["users/assign", "control/rcpthosts", "control/virtualdomains"])
def test_a_lock_of_the_domains(
    two_domains: Home, pool: ThreadPoolExecutor, file: str, end: str
) -> None:
    ids = two_domains.uid, two_domains.gid
    with holding(two_domains.qmail / f"{file}.lock") as holder:
        waiting = [
            pool.submit(call, v.vpopmail_add_domain, "new.com", os.fspath(two_domains.path), *ids),
            pool.submit(call, v.vpopmail_add_alias_domain, SHARED[0], "alias.net"),
            pool.submit(call, v.vpopmail_del_domain, SHARED[1]),
        ]
        assert all_wait(waiting)
        for each in user_calls(SHARED[0]) if not REAL else ():
            assert call(*each) == SUCCESS
        assert not any(each.done() for each in waiting)
        if end == "killed":
            holder.send_signal(signal.SIGKILL)
        else:
            holder.communicate()
        assert [each.result(timeout=PATIENCE) for each in waiting] == [SUCCESS] * 3
    rcpthosts = (two_domains.qmail / "control/rcpthosts").read_text()
    assert rcpthosts == "alias.net\nnew.com\none.com\n"


@bundled_alone("a call has no two locks at the same time")
def test_others_see_our_locks(two_domains: Home, pool: ThreadPoolExecutor) -> None:
    with holding(two_domains.qmail / "control/virtualdomains.lock") as holder:
        # It has the lock of assign by the time that it waits for this one.
        waiting = pool.submit(call, v.vpopmail_add_alias_domain, SHARED[0], "alias.net")
        assert all_wait([waiting])
        with (two_domains.qmail / "users/assign.lock").open("r+") as lock:
            with pytest.raises(BlockingIOError):
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            holder.communicate()
            assert waiting.result(timeout=PATIENCE) == SUCCESS
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@bundled_alone("how long it waits can't be told")
@pytest.mark.skipif(
    os.environ.get("VPOPMAIL_EXT_SANITIZE") == "thread", reason="not with ThreadSanitizer"
)
def test_a_lock_is_not_waited_for_any_longer(two_domains: Home, pool: ThreadPoolExecutor) -> None:
    """In short: the library is told to wait for a second, not for 20."""
    directory, assign = two_domains.path / "domains" / SHARED[0], two_domains.qmail / "users/assign"
    before = (directory / "vpasswd").read_bytes(), assign.read_bytes()
    library, texts = clib.lib(), clib.ffi.new("char[]", b"text")
    home, ids = os.fsencode(two_domains.path), (two_domains.uid, two_domains.gid)
    assert library.vpopmail_set_home(home, os.fsencode(two_domains.qmail)) == 0
    domain = clib.ffi.new("char[]", SHARED[0].encode())
    name = clib.ffi.new("char[]", b"ann")
    fields = {f"pw_{field}": texts for field in ("passwd", "gecos", "dir", "shell")}
    pw = clib.ffi.new("struct vqpasswd *", {"pw_name": name, **fields})
    step, none = clib.ffi.new("const char **"), clib.ffi.NULL
    library.lock_wait_seconds, kept = 1, library.lock_wait_seconds
    assert kept == 20
    try:
        with holding(directory / ".vpasswd.lock"), holding(assign.with_name("assign.lock")):
            started = time.monotonic()
            waiting = [
                pool.submit(library.vauth_setpw, pw, domain),
                pool.submit(library.vpopmail_add_domain, b"new.com", home, *ids, none, step),
            ]
            told = [each.result(timeout=15) for each in waiting]
            took = time.monotonic() - started
    finally:
        library.lock_wait_seconds = kept
    assert told == [Code.VA_COULD_NOT_UPDATE_FILE] * 2
    assert took >= 1
    assert ((directory / "vpasswd").read_bytes(), assign.read_bytes()) == before


@pytest.mark.torture
@pytest.mark.skipif(not torture.FACTOR, reason="waits for 20 s; make torture does")
def test_a_lock_that_is_not_let_go_of(two_domains: Home, pool: ThreadPoolExecutor) -> None:
    directory, assign = two_domains.path / "domains" / SHARED[0], two_domains.qmail / "users/assign"
    before = (directory / "vpasswd").read_bytes(), assign.read_bytes()
    arguments = os.fspath(two_domains.path), two_domains.uid, two_domains.gid
    with holding(directory / ".vpasswd.lock"), holding(assign.with_name("assign.lock")):
        started = time.monotonic()
        waiting = [pool.submit(call, *each) for each in user_calls(SHARED[0])]
        waiting += [
            pool.submit(call, v.vpopmail_del_user, "gone", SHARED[0]),
            pool.submit(call, v.vpopmail_add_domain, "new.com", *arguments),
            pool.submit(call, v.vpopmail_del_domain, SHARED[1]),
            pool.submit(call, v.vpopmail_add_alias_domain, SHARED[0], "alias.net"),
        ]
        changes = 0
        while time.monotonic() < started + 19:
            assert call(v.vpopmail_passwd, "ann", SHARED[1], f"password {changes}") == SUCCESS
            assert v.vpopmail_auth_user("ann", SHARED[0], "password") is True
            assert not any(each.done() for each in waiting)
            changes += 1
        told = [each.result(timeout=10) for each in waiting]
        took = time.monotonic() - started
    assert told == ["Could not update file"] * len(waiting)
    assert took < 25
    assert ((directory / "vpasswd").read_bytes(), assign.read_bytes()) == before
    for each in user_calls(SHARED[0]):
        assert call(*each) == SUCCESS
    torture.tell(f"{len(waiting)} calls waited for {took:.1f} s, {changes} calls of another domain")
