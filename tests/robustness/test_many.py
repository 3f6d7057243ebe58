"""Eight processes of four threads on twenty domains, killed in the middle, beside programs that
hold vpopmail's locks; signals; a thousand threads; a hundred thousand calls.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests import torture
from tests.conftest import Home
from tests.ledger import (
    THREADS,
    Ledger,
    Place,
    Worker,
    check,
    prepare,
    run_threads,
    until,
)
from tests.linked import REAL, bundled_alone

TOP = Path(__file__).parents[2]
DOMAINS = [f"domain{number}.com" for number in range(20)]
PROCESSES = 8

LOCKER = """
import fcntl, random, sys, threading, time
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
while not ended.is_set():
    with open(random.choice(sys.argv[1:]), "r+") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        time.sleep(random.uniform(0, 0.1))
"""
"""Holds one of the locks, as vpopmail does, for up to a tenth of a second, then another one."""


class Program:
    """A process that ends with its standard input, and begins anew when it is killed."""

    def __init__(self, stack: ExitStack, command: list[str], books: list[Path]) -> None:
        self.stack = stack
        self.command = command
        self.books = books
        self.kills = 0
        self.start()

    def start(self) -> None:
        environment = {k: x for k, x in os.environ.items() if not k.startswith("COV_CORE")}
        self.process = self.stack.enter_context(
            subprocess.Popen(self.command, stdin=subprocess.PIPE, cwd=TOP, env=environment)
        )
        self.begun = self.written()
        self.stack.callback(self.process.kill)

    def written(self) -> int:
        assert self.process.poll() is None
        return sum(book.stat().st_size for book in self.books if book.exists())

    def kill(self) -> None:
        """Kill it, if it has begun, in the middle of what it does, and begin anew."""
        if self.books and self.written() == self.begun:
            return
        self.process.kill()
        self.process.wait()
        self.kills += 1
        self.start()


@pytest.fixture
def twenty(home: Home) -> Place:
    prepare(home, DOMAINS)
    for directory in (home.path / "domains" / name for name in DOMAINS):
        (directory / ".vpasswd.lock").touch(0o600)
        os.chown(directory / ".vpasswd.lock", home.uid, home.gid)
    return Place(home.path, home.qmail, home.uid, home.gid)


@pytest.fixture
def two(home: Home) -> Place:
    prepare(home)
    return Place(home.path, home.qmail, home.uid, home.gid)


@contextmanager
def programs(place: Place, books: Path) -> Iterator[list[Program]]:
    """Run eight processes and one that holds locks; they end well at the end."""
    books.mkdir()
    home, qmail = os.fspath(place.path), os.fspath(place.qmail)
    command = [sys.executable, "-m", "tests.ledger", home, qmail, str(place.uid), str(place.gid)]
    locks = [f"{home}/domains/{name}/.vpasswd.lock" for name in DOMAINS]
    locker = [sys.executable, "-c", LOCKER, *locks, f"{qmail}/users/assign.lock"]
    with ExitStack() as stack:
        running = [Program(stack, locker, [])]
        for first in range(0, PROCESSES * THREADS, THREADS):
            own = [books / str(first + number) for number in range(THREADS)]
            arguments = [os.fspath(books), str(first), *DOMAINS]
            running.append(Program(stack, command + arguments, own))
        yield running
        for program in running:
            program.process.stdin.close()
        assert [program.process.wait(timeout=120) for program in running] == [0] * len(running)


def ledgers(place: Place, books: Path) -> list[Ledger]:
    """Return what the books say, once interrupted calls were made again."""
    return run_threads(range(PROCESSES * THREADS), place, lambda: False, DOMAINS, books)


def told(books: list[Ledger], seconds: float) -> str:
    calls = sum(ledger.calls for ledger in books)
    slowest = max(ledger.slowest for ledger in books)
    return (
        f"{PROCESSES} processes of {THREADS} threads, {calls} changes in {seconds:g} s, "
        f"none took longer than {slowest:.1f} s"
    )


@pytest.mark.torture
def test_processes(twenty: Place, tmp_path: Path) -> None:
    seconds = torture.amount(3, 60)
    with programs(twenty, tmp_path / "books") as running:
        while not all(each.written() for each in running[1:]):
            time.sleep(0.01)
        time.sleep(seconds)
    books = ledgers(twenty, tmp_path / "books")
    check(twenty, books, DOMAINS)
    torture.tell(f"{told(books, seconds)}, nothing lost")


@bundled_alone("nobody completes or undoes what a crash left")
@pytest.mark.torture
@pytest.mark.filterwarnings("ignore:vpopmail error")
def test_killed_processes(twenty: Place, tmp_path: Path) -> None:
    seconds = torture.amount(4, 60)
    chance = random.Random(1)
    with programs(twenty, tmp_path / "books") as running:
        end = time.monotonic() + seconds
        while time.monotonic() < end or not sum(each.kills for each in running[1:]):
            time.sleep(chance.uniform(0.02, 0.1))
            chance.choice(running).kill()
    kills = sum(each.kills for each in running)
    books = ledgers(twenty, tmp_path / "books")
    check(twenty, books, DOMAINS)
    torture.tell(f"{told(books, seconds)}, {kills} killed, nothing lost")


# --- signals -------------------------------------------------------------------------------------


@pytest.mark.torture
@pytest.mark.parametrize("restart", [False, True], ids=["interrupted", "restarted"])
def test_signals(two: Place, restart: bool) -> None:
    seconds = torture.amount(2, 30)
    came = Counter[str]()

    def count(number: int, frame: object) -> None:
        came[signal.Signals(number).name] += 1

    before = {number: signal.signal(number, count) for number in (signal.SIGALRM, signal.SIGUSR1)}
    for number in before:
        signal.siginterrupt(number, not restart)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    go_on = until(time.monotonic() + seconds)
    try:
        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(Worker(number, two).run, go_on) for number in range(3)]
            running.append(pool.submit(interrupt, go_on))
            books = [Worker(3, two).run(go_on)]
            # Not by a lock, which a signal does not wake where it restarts calls: while it is
            # pending, a thread that is traced by CPython 3.11 calls no function.
            while not all(each.done() for each in running):
                time.sleep(0.001)
            signal.setitimer(signal.ITIMER_REAL, 0)
            books += (each.result() for each in running[:3])
            sent = running[3].result()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
    check(two, books)
    # Handlers run between calls, which a real library makes one at a time.
    assert min(came["SIGALRM"], came["SIGUSR1"]) > (0 if REAL else 10)
    calls = sum(ledger.calls for ledger in books)
    torture.tell(f"{calls} changes, {came['SIGALRM']} + {sent} signals in {seconds:g} s")


def interrupt(go_on: Callable[[], bool]) -> int:
    """Send signals to all threads, as `kill -s` to each of their ids would."""
    sent = 0
    while go_on():
        for thread in threading.enumerate():
            if thread.ident not in (None, threading.get_ident()):
                signal.pthread_kill(thread.ident, signal.SIGUSR1)
                sent += 1
        time.sleep(0.002)
    return sent


# --- what does not grow --------------------------------------------------------------------------

GROWTH = """
import ctypes, gc, os, sys, threading, time, warnings
import vpopmail_ext as v
from vpopmail_ext import api, errors

warnings.simplefilter("ignore")
home, qmail = sys.argv[1], sys.argv[2]
calls, threads, most, resident = map(int, sys.argv[3:])
v.configure(home, qmail)
ids = os.getuid(), os.getgid()

def give_up(done, count):
    raise KeyError

def add_many(n):
    users = [(f"m{n}-{i}", "password") for i in range(3)]
    refused = [users[0]] if n % 4 == 1 else []
    try:
        api.add_users("one.com", users + refused, progress=give_up if n % 2 else None, threads=1)
    except (errors.UsersRefused, KeyError):
        return
    for name, _ in users:
        v.vpopmail_del_user(name, "one.com")

def ask(function, *arguments):
    try:
        return function(*arguments)
    except errors.VpopmailError:
        return None

def sign_in_and_note(n):
    found = ask(api.sign_in, f"u{n % 10}@one.com", "password" if n % 3 else "wrong")
    if found:
        ask(api.set_last_auth, found, f"192.0.2.{n % 256}")
        ask(api.last_auth, found)

def list_users(n):
    users = api.users("one.com")
    return next(users, None) if n % 2 else list(users)  # of some the rest is let go of

def auth_many(n):
    asked = [(f"u{n % 9}", "one.com", "password"), ("nobody", "one.com", "password")]
    answers = v.auth_many(asked, threads=1 + n % 2)
    return next(answers) if n % 3 == 0 else list(answers)

kinds = [
    add_many,
    sign_in_and_note,
    list_users,
    auth_many,
    # u9 is no user's name.
    lambda n: ask(api.set_flags, f"u{n % 10}", "one.com", n % 16),
    lambda n: ask(api.set_limits, "two.com" if n % 3 else "no.com", api.Limits(maxaliases=n % 99)),
    lambda n: ask(api.limits, "two.com"),
    lambda n: ask(api.set_alias, f"b{n % 9}", "two.com", ["&a@example.com"] * (n % 4)),
    lambda n: ask(api.remove_alias_line, f"b{n % 9}", "two.com", "&a@example.com"),
    lambda n: ask(api.rebuild, "one.com" if n % 3 else "no.com"),
    lambda n: v.vpopmail_auth_user(f"u{n % 9}", "one.com", "password"),
    lambda n: v.vpopmail_auth_user("nobody", "one.com", "password"),
    lambda n: v.vpopmail_auth_user("nobody", "no.com", "password"),
    lambda n: v.vpopmail_add_user(f"u{n % 9}", "one.com", "password"),
    lambda n: v.vpopmail_add_user(f"u{n % 9}", "no.com", "password"),
    lambda n: v.vpopmail_passwd("nobody", "one.com", "password"),
    lambda n: v.vpopmail_set_user_quota(f"u{n % 9}", "one.com", f"{n % 7}M"),
    lambda n: v.vpopmail_set_user_quota(f"u{n % 9}", "one.com", "no quota"),
    lambda n: v.vpopmail_alias_add(f"a{n % 9}", "two.com", "&a@example.com"),
    lambda n: v.vpopmail_alias_get(f"a{n % 9}", "two.com"),
    lambda n: v.vpopmail_alias_get_all("two.com"),
    lambda n: v.vpopmail_alias_del(f"a{n % 9}", "two.com"),
    lambda n: v.vpopmail_add_domain("one.com", home, *ids),
    lambda n: v.vpopmail_add_alias_domain("no.com", "alias.com"),
    lambda n: v.vpopmail_del_domain("no.com"),
    lambda n: v.vpopmail_error(),
]
rare = [
    lambda n: v.vpopmail_del_user(f"u{n % 9}", "one.com"),
    lambda n: v.vpopmail_passwd(f"u{n % 9}", "one.com", "password"),
    lambda n: v.vpopmail_add_alias_domain("one.com", "alias.com"),
    lambda n: v.vpopmail_del_domain("alias.com"),
    lambda n: v.vpopmail_alias_del_domain("two.com"),
    lambda n: v.vpopmail_add_domain("three.com", home, *ids),
    lambda n: v.vpopmail_del_domain("three.com"),
]

def work(first, count):
    for n in range(first, first + count):
        kinds[n % len(kinds)](n // len(kinds))
        if n % 100 == 0:
            rare[n // 100 % len(rare)](n)

def round_of(count):
    if threads == 1:
        return work(0, count)
    started = threading.Barrier(threads)
    def one(number):
        started.wait()
        work(number, count // threads)
    all_of_them = [threading.Thread(target=one, args=(number,)) for number in range(threads)]
    for thread in all_of_them: thread.start()
    for thread in all_of_them: thread.join()
    assert not failed

failed = []

def note_failure(failure):
    failed.append(failure)
    threading.__excepthook__(failure)

threading.excepthook = note_failure

class Allocated(ctypes.Structure):  # struct mallinfo2
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]

libc = ctypes.CDLL(None)
mallinfo = libc.mallinfo2
mallinfo.restype = Allocated

def look():
    # The copies of files that are kept in memory are there, and of the same files.
    for n in range(9):
        v.vpopmail_add_user(f"u{n}", "one.com", "password")
        v.vpopmail_set_user_quota(f"u{n}", "one.com", "1M")
        ask(api.set_flags, f"u{n}", "one.com", 0)
    v.vpopmail_alias_del_domain("two.com")
    for name in ("alias.com", "three.com"):
        v.vpopmail_del_domain(name)
    for n in range(20):
        v.vpopmail_auth_user("u0", "one.com", "password")
    # A thread that was joined is listed for a moment more.
    end = time.monotonic() + 10
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < end:
        time.sleep(0.001)
    gc.collect()
    # What malloc() keeps of it for later differs with how the threads met.
    libc.malloc_trim(0)
    pages = int(open("/proc/self/statm").read().split()[1])
    allocated = mallinfo()
    return (
        allocated.uordblks + allocated.hblkhd,
        pages * os.sysconf("SC_PAGESIZE") // 1024,
        len(os.listdir("/proc/self/fd")),
        len(os.listdir("/proc/self/task")),
    )

round_of(max(calls // 2, threads))
round_of(max(calls // 2, threads))
after = look()
for _ in range(3):  # what is lost is lost each time, not what the threads met in
    before = after
    round_of(calls)
    after = look()
    if after[0] - before[0] < most and after[1] - before[1] < resident:
        break
print(*before, *after)
"""
"""Prints allocated bytes, resident KiB, descriptors and threads: once it is warm, and after so many
calls more.
"""
RESIDENT = 4096  # KiB more than that are too much


@pytest.mark.torture
@pytest.mark.skipif(
    "VPOPMAIL_TEST_SANITIZED" in os.environ, reason="a sanitizer keeps what is freed for a while"
)
@pytest.mark.parametrize(("threads", "short"), [(1, 2_000), (1_000, 1_000)])
def test_nothing_grows(two: Place, threads: int, short: int) -> None:
    calls = round(torture.amount(short, 100_000))
    # A thousand threads run into each other more or less each time; of one a block that one kind of
    # call loses is too much.
    most = 1 << 10 if threads == 1 else 1 << 18
    command = [sys.executable, "-c", GROWTH, str(two.path), str(two.qmail)]
    command += map(str, (calls, threads, most, RESIDENT))
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=TOP)
    allocated, memory, *counts = map(int, ran.stdout.split())
    (allocated_after, memory_after, *after), counts = counts[2:], counts[:2]
    assert after == counts
    if not REAL:
        assert allocated_after - allocated < most
    assert memory_after - memory < RESIDENT
    torture.tell(
        f"{calls} calls: resident {memory} KiB before, {memory_after} KiB after; "
        f"descriptors {counts[0]}, {after[0]}; threads {counts[1]}, {after[1]}"
    )
